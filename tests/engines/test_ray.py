"""Workers on a Ray cluster; without Ray, only what says so."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from contextlib import closing
from importlib.util import find_spec

import pytest

from adamtune.engines.distributed.engine import Distributed
from adamtune.engines.distributed.ray_pool import RayPool
from adamtune.engines.plan import Plan
from adamtune.errors import UsageError
from adamtune.tasks.loaded import LoadedTask

from .test_distributed import assert_close, expected, train
from .training import some

HAS_RAY = find_spec("ray") is not None
needs_ray = pytest.mark.skipif(not HAS_RAY, reason="needs the package ray")


@pytest.mark.skipif(HAS_RAY, reason="Ray is installed")
def test_without_ray_the_error_says_what_to_install() -> None:
    with pytest.raises(UsageError, match=r"Ray is not installed: pip install 'adamtune\[ray\]'"):
        RayPool("local", 2, 1, 0, None)


@needs_ray
@pytest.mark.slow
def test_an_address_that_cannot_be_reached_is_an_error() -> None:
    with pytest.raises(UsageError, match=r"Ray at 127\.0\.0\.1:1 cannot be used"):
        RayPool("127.0.0.1:1", 2, 1, 0, None)


@needs_ray
@pytest.mark.slow
def test_actors_train_and_are_replaced(tasks: Mapping[str, LoadedTask]) -> None:
    """An actor is killed. Ray leaves no variable and no handler in this process."""
    before = dict(os.environ), signal.getsignal(signal.SIGTERM)
    members = [each for task in tasks.values() for each in some(task, 2)]
    plan = Plan("population", len(members), 1, "cpu", "")
    pool = RayPool("local", 2, 1, 0, None)
    with closing(pool), closing(Distributed(pool, plan, rounds=True, state_seconds=0.01)) as engine:

        def kill(count: int) -> None:
            place = engine._places[1]
            if count >= len(members) and place.members and not place.lost:
                pool._ray.kill(place.worker._actor)  # type: ignore[attr-defined]

        found = train(engine, members, kill)
        assert [each.lost for each in engine.statuses()] == [0, 1]
    assert_close(found, expected(members))
    assert signal.getsignal(signal.SIGTERM) == before[1]
    changed = set(os.environ.items()) ^ set(before[0].items())
    assert {name for name, _ in changed} <= {"TORCHINDUCTOR_CACHE_DIR"}  # torch sets it
