"""TensorBoard's own readers give back the runs that were written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
from tensorboard.context import RequestContext
from tensorboard.data.provider import RunTagFilter
from tensorboard.plugins.base_plugin import TBContext
from tensorboard.plugins.hparams import api_pb2, get_experiment, list_session_groups
from tensorboard.plugins.hparams.backend_context import Context

from adamtune.exports.runs import Run
from adamtune.exports.tensorboard import FILE, TensorboardTarget, folder_name

from .records import NAME, ended, runs_of, states

STUDY = folder_name(NAME)
SUCCESS, FAILURE = api_pb2.STATUS_SUCCESS, api_pb2.STATUS_FAILURE


class Read(NamedTuple):
    """What TensorBoard has of a folder."""

    provider: MultiplexerDataProvider
    hparams: Context

    def scalars(self) -> dict[str, dict[str, dict[int, float]]]:
        """The points of each run."""
        found = self.provider.read_scalars(
            RequestContext(), experiment_id="", plugin_name="scalars", downsample=10_000
        )
        return {
            run: {tag: {each.step: each.value for each in points} for tag, points in tags.items()}
            for run, tags in found.items()
        }

    def text(self, run: str) -> str:
        found = self.provider.read_tensors(
            RequestContext(),
            experiment_id="",
            plugin_name="text",
            downsample=10,
            run_tag_filter=RunTagFilter(runs=[run]),
        )
        (point,) = found[run]["about"]
        return str(point.numpy.item().decode())

    def sessions(self) -> dict[str, Any]:
        """The session of each trial, as the HParams page lists them."""
        request = api_pb2.GetExperimentRequest(include_metrics=True)
        experiment = get_experiment.Handler(RequestContext(), self.hparams, "", request).run()
        wanted = api_pb2.ListSessionGroupsRequest(
            slice_size=100,
            allowed_statuses=api_pb2.Status.values(),
            col_params=[api_pb2.ColParams(metric=each.name) for each in experiment.metric_infos],
        )
        answer = list_session_groups.Handler(RequestContext(), self.hparams, "", wanted).run()
        return {each.name: each for each in answer.session_groups}


def read(folder: Path) -> Read:
    events = EventMultiplexer(tensor_size_guidance={"scalars": 0}).AddRunsFromDirectory(str(folder))
    events.Reload()
    provider = MultiplexerDataProvider(events, str(folder))
    return Read(provider, Context(TBContext(data_provider=provider)))


def write(folder: Path, runs: list[Run]) -> list[bool]:
    target = TensorboardTarget(str(folder), NAME)
    return [target.write(each) for each in runs]


def in_float32(points: Mapping[str, Mapping[int, float]]) -> dict[str, dict[int, float]]:
    return {
        name: {step: float(np.float32(each)) for step, each in own.items()} for name, own in points.items()
    }


def value(field: Any) -> Any:
    """A hyperparameter of a session."""
    return getattr(field, field.WhichOneof("kind"))


def test_scalars_are_read_back_equal(tmp_path: Path) -> None:
    runs = runs_of(states())
    write(tmp_path, runs)
    found = read(tmp_path).scalars()
    for run in runs[1:]:
        wanted = in_float32({name: each for name, each in run.points.items() if each})
        np.testing.assert_equal(found.get(f"{STUDY}/trial-{run.trial:05}", {}), wanted)


def test_the_hparams_page_has_every_trial_that_ended(tmp_path: Path) -> None:
    runs = runs_of(states())
    write(tmp_path, runs)
    sessions = read(tmp_path).sessions()
    assert sessions.keys() == {"trial 0", "trial 1", "trial 2", "trial 3", "trial 4"}
    for run in runs[1:6]:
        found = {name: value(each) for name, each in sessions[run.name].hparams.items()}
        texts = {"hidden": "[64, 32]", "note": "null"} if run.trial == 0 else {}
        assert found == {"state": run.state, **run.params, **texts}
    metrics = {each.name.tag: each.value for each in sessions["trial 2"].metric_values}
    assert metrics == {name: own[230] for name, own in in_float32(runs[3].points).items()}
    statuses = [each.sessions[0].status for _, each in sorted(sessions.items())]
    assert statuses == [SUCCESS, FAILURE, SUCCESS, SUCCESS, FAILURE]


def test_tags_are_a_text(tmp_path: Path) -> None:
    write(tmp_path, runs_of(ended()))
    found = read(tmp_path)
    assert "- **diverged_at**: 24\n" in found.text(f"{STUDY}/trial-00001")
    assert f"- **study**: {NAME}\n" in found.text(STUDY)


def test_a_second_export_writes_nothing(tmp_path: Path) -> None:
    assert all(write(tmp_path, runs_of(states())))
    assert not any(write(tmp_path, runs_of(states())))


def test_the_order_of_settings_makes_no_difference(tmp_path: Path) -> None:
    """A map of protocol buffers has no order, and another one in each process."""
    run = replace(runs_of(states())[1], params={f"setting {number}": number for number in range(100)})
    backwards = replace(run, params=dict(reversed(run.params.items())))
    assert write(tmp_path, [run]) == [True]
    assert write(tmp_path, [backwards]) == [False]


def test_a_trial_that_goes_on_is_appended_to(tmp_path: Path) -> None:
    """A TensorBoard that has the file open reads on in it."""
    write(tmp_path, runs_of(states()))
    file = tmp_path / STUDY / "trial-00005" / FILE
    before, inode = file.read_bytes(), file.stat().st_ino
    assert write(tmp_path, runs_of(ended())) == [True, *[False] * 5, True]
    assert file.read_bytes().startswith(before)
    assert file.stat().st_ino == inode
    assert read(tmp_path).scalars()[f"{STUDY}/trial-00005"]["val_loss"] == pytest.approx({23: 0.5, 46: 0.4})


def test_a_trial_that_is_another_replaces_the_old(tmp_path: Path) -> None:
    """As of a study that was deleted and made anew."""
    write(tmp_path, runs_of(states()))
    other = states(intermediate={23: 0.7})
    assert write(tmp_path, runs_of(other)) == [*[False] * 6, True]
    assert read(tmp_path).scalars()[f"{STUDY}/trial-00005"] == {"val_loss": {23: pytest.approx(0.7)}}
    assert [each.name for each in (tmp_path / STUDY / "trial-00005").iterdir()] == [FILE]


def test_studies_have_folders_of_their_own() -> None:
    assert folder_name("digits-cnn") == "digits-cnn"
    assert len({folder_name(each) for each in ("a/b", "a_b", "a b", "..")}) == 4
    assert "/" not in folder_name("../../x")
