"""The two implementations of the pass on arbitrary coefficients, and what the pass refuses."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from adamtune.engines.native.loader import load_library
from adamtune.engines.population import update, update_in_c
from adamtune.engines.population.coefficients import (
    NEUTRAL,
    Coefficients,
    Terms,
    coefficients_like,
    pack,
    terms,
)
from adamtune.engines.population.update_blocks import bind_blocks, update_blocks_
from adamtune.engines.population.update_state import NO_STATE, Part, State, grow_state

EVERYTHING = Terms(*[True] * len(Terms._fields))
needs_compiler = pytest.mark.skipif(update_in_c.c_functions() is None, reason="no C compiler here")


def random_coefficients(members: int, seed: int) -> Coefficients:
    """Any terms together, far beyond what the rules need; each field is neutral for some members."""
    torch.manual_seed(seed)
    fields = {name: torch.rand(members, dtype=torch.float64) for name in NEUTRAL}
    fields["low"] *= 0.1
    fields["high"] += 0.2
    fields["scale_first"] = fields["scale_first"].round()
    fields["max_decay"] = fields["max_decay"].round()
    for name, values in fields.items():
        values[torch.rand(members) < 0.3] = NEUTRAL[name]
    fields["clip_norm"][:] = NEUTRAL["clip_norm"]  # sums are added in another order
    unscaled = fields["sq_gain"] == 0
    for name in ("grad_avg_gain", "max_decay", "root", "floor", "low", "high"):
        fields[name][unscaled] = NEUTRAL[name]
    return coefficients_like(torch.ones(members), fields)


@needs_compiler
@settings(max_examples=60)
@given(
    seed=st.integers(0, 2**32),
    members=st.integers(1, 40),
    n=st.sampled_from([1, 2, 7, 16, 33, 257, 9000]),
    dtype=st.sampled_from([torch.float32, torch.float64]),
    exponent=st.integers(-18, 12),
)
def test_both_passes_are_equal_to_the_last_bit(
    seed: int, members: int, n: int, dtype: torch.dtype, exponent: int
) -> None:
    coefficients = random_coefficients(members, seed)
    packed, needed = pack(coefficients, dtype), terms(coefficients)
    start = torch.randn(members, n, dtype=dtype)
    runs = []
    for step in (update.update_, update_blocks_):
        torch.manual_seed(seed)
        x, state = start.clone(), grow_state(NO_STATE, start, EVERYTHING)
        for _ in range(3):
            gradient = torch.randn(members, n, dtype=dtype) * 10.0**exponent
            gradient[:, 0] = 0
            step(x, gradient, state, packed, needed)
        state.max_exp_avg_sq[coefficients.max_decay == 0] = 0
        runs.append((x, *state))
    finite = runs[1][0].isfinite().all(1)  # a NaN row need not agree in buffers it does not use
    for ours, theirs in zip(*runs, strict=True):
        assert torch.equal(ours[finite], theirs[finite])
    assert torch.equal(runs[0][0].isfinite(), runs[1][0].isfinite())


@needs_compiler
@settings(max_examples=40)
@given(
    seed=st.integers(0, 2**32),
    sizes=st.lists(st.sampled_from([1, 2, 7, 8, 16, 33, 257, 9000]), min_size=1, max_size=4),
    dtype=st.sampled_from([torch.float32, torch.float64]),
    exponent=st.integers(-18, 12),
)
def test_both_passes_clip_as_torch_does(
    seed: int, sizes: list[int], dtype: torch.dtype, exponent: int
) -> None:
    torch.manual_seed(seed)
    limits = torch.tensor([1.0, torch.inf, 1e-3, 10.0, 1e3])
    members = len(limits)
    fields = {"from_gradient": torch.ones(members), "clip_norm": limits}
    coefficients = coefficients_like(torch.ones(members), fields)
    gradients = [torch.randn(members, n, dtype=dtype) * 10.0**exponent for n in sizes]
    gradients[0][3, 0], gradients[-1][4, -1] = torch.nan, torch.inf
    bind = update.bind_update, bind_blocks
    for make in bind:
        starts = [torch.zeros(members, n, dtype=dtype) for n in sizes]
        parts = [Part(x, g, NO_STATE) for x, g in zip(starts, gradients, strict=True)]
        make(parts, pack(coefficients, dtype), terms(coefficients))()
        for row, limit in enumerate(limits):
            own = [torch.nn.Parameter(x[row]) for x in starts]
            for each, gradient in zip(own, gradients, strict=True):
                each.grad = gradient[row].clone()
            torch.nn.utils.clip_grad_norm_(own, float(limit))
            for x, each in zip(starts, own, strict=True):
                assert each.grad is not None
                torch.testing.assert_close(-x[row], each.grad, equal_nan=True, rtol=1e-5, atol=0)


def test_neutral_coefficients_do_nothing() -> None:
    packed = pack(coefficients_like(torch.ones(3)), torch.float32)
    x = torch.randn(3, 5)
    before = x.clone()
    update_blocks_(x, torch.randn(3, 5), grow_state(NO_STATE, x, EVERYTHING), packed, EVERYTHING)
    assert torch.equal(x, before)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"gradient": torch.zeros(3, 4, dtype=torch.float32)}, "want a gradient of that shape"),
        ({"packed": torch.zeros(3, 2, dtype=torch.float32)}, "coefficients"),
        ({"gradient": torch.zeros(3, 5, dtype=torch.float64)}, "float64"),
        ({"gradient": torch.zeros(5, 3, dtype=torch.float32).t()}, "contiguous"),
        ({"state": State(None, None, None, None)}, "no exp_avg"),
        ({"state": State(*[torch.zeros(2, 5)] * 4)}, r"exp_avg is \(2, 5\)"),
    ],
)
def test_what_does_not_fit_is_refused(change: dict[str, object], message: str) -> None:
    torch.set_default_dtype(torch.float32)
    x = torch.zeros(3, 5)
    good = {
        "gradient": torch.zeros(3, 5),
        "state": grow_state(NO_STATE, x, EVERYTHING),
        "packed": torch.zeros(3, len(NEUTRAL)),
    }
    with pytest.raises(ValueError, match=message):
        update.update_(x, **{**good, **change}, needed=EVERYTHING)


@pytest.fixture
def _fresh_library(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("ADAMTUNE_COMPILER", raising=False)
    monkeypatch.setattr(update_in_c, "c_functions", update_in_c.c_functions.__wrapped__)


@pytest.mark.usefixtures("_fresh_library")
class TestCompiler:
    def test_none_turns_the_c_pass_off(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("ADAMTUNE_COMPILER", "none")
        assert not update_in_c.c_handles(torch.zeros(1, 1))

    def test_a_missing_compiler_is_said_and_survived(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.setenv("ADAMTUNE_COMPILER", "no-such-compiler")
        with caplog.at_level(logging.WARNING):
            assert update_in_c.c_functions() is None
        assert "no-such-compiler" in caplog.text

    def test_a_failing_compiler_is_said_and_survived(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
    ) -> None:
        broken = tmp_path / "broken.c"
        broken.write_text("this is not C")
        monkeypatch.setattr(update_in_c, "SOURCE", broken)
        with caplog.at_level(logging.WARNING):
            assert update_in_c.c_functions() is None
        assert "broken.c is not used" in caplog.text
        assert "failed with exit code 1" in caplog.text

    @needs_compiler
    def test_it_compiles_once(self, tmp_path: Path) -> None:
        assert load_library(update_in_c.SOURCE, update_in_c.FLAGS)
        (first,) = (tmp_path / "adamtune").iterdir()
        made = first.stat().st_mtime_ns
        assert load_library(update_in_c.SOURCE, update_in_c.FLAGS)
        assert list((tmp_path / "adamtune").iterdir()) == [first]
        assert first.stat().st_mtime_ns == made


def test_the_c_file_has_the_fields_of_python() -> None:
    enum = update_in_c.SOURCE.read_text().split("enum {")[1].split("}")[0]
    names = [each.strip().lower() for each in enum.split(",")]
    assert names == [*Coefficients._fields, "fields"]
