"""What becomes of people's models: in lockstep or not, how right, and how fast.

    python -m benchmarks.zoo                             # about 10 minutes on 2 cores
    python -m benchmarks.zoo LSTM "mlp with dropout"

For each model of ``benchmarks/zoo_models.py``: whether the plan trains it in lockstep, or why not; the
relative difference of all parameters and buffers to a plain loop in torch after 20 steps in float64; and the
cost of a member-step beside a plain loop in as many processes as there are cores, in the same run, both with
as many evaluations. Models of ``timm`` and ``transformers`` are left out where these are not installed.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from statistics import geometric_mean
from threading import Barrier
from time import perf_counter
from typing import Any

import torch
from torch import nn

from adamtune.engines.base import Member
from adamtune.engines.plan import cores, make_plan
from adamtune.engines.population.engine import Population
from adamtune.engines.start import build
from adamtune.optimizers.registry import OPTIMIZERS
from adamtune.schedules.registry import SCHEDULES
from adamtune.tasks.loaded import LoadedTask, load
from adamtune.tasks.pytree import map_rows, take_rows
from adamtune.tasks.randomness import batch_indices, derive, initial_module
from benchmarks.command_line import parser
from benchmarks.steady import engine_rate
from benchmarks.tables import machine, table
from benchmarks.zoo_models import MODELS, ROWS, Zoo

COMPARED = 20
SMALL = 300_000


def main() -> None:
    options = parser("zoo", __doc__)
    options.add_argument("models", nargs="*", help="their names; all by default")
    options.add_argument("--seconds", type=float, default=2.0, help="of each measurement; 2 by default")
    arguments = options.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    print(f"{machine()}\n", flush=True)
    rows = list(figures(arguments))
    header = (
        "model",
        "weights",
        "lockstep",
        "difference",
        "members",
        "adamtune, µs",
        "plain, µs",
        "times plain",
    )
    print("\n" + table(header, [row[:-1] for row in rows]))
    small = [row[-1] for row in rows if row[1] < SMALL]
    print(f"\n{sum(row[2] == 'yes' for row in rows)} of {len(rows)} in lockstep;", end=" ")
    print(f"geometric mean below {SMALL} weights: {geometric_mean(small):.2f} times plain")


def figures(arguments: argparse.Namespace) -> Iterator[tuple[Any, ...]]:
    """A row for each model, printed as soon as it is known."""
    for name in arguments.models or MODELS:
        try:
            task = load(Zoo(name=name, batch_size=MODELS[name].batch))
            weights = sum(each.numel() for each in initial_module(task, 0, 0).parameters())
        except ImportError as error:
            print(f"{name}: left out ({error})", flush=True)
            continue
        plan = make_plan(task, "auto", "auto", "cpu", 1)
        lockstep = plan.engine == "population"
        why = "lockstep" if lockstep else plan.why
        different = f"{difference(task):.0e}" if lockstep else "-"
        plan = plan.for_trials(256, 1, "auto")
        ours = 1e6 / engine_rate(build(plan), task, arguments.seconds)
        theirs = 1e6 / plain_rate(name, arguments.seconds)
        row = (
            name,
            weights,
            "yes" if lockstep else "no",
            different,
            plan.slots,
            ours,
            theirs,
            theirs / ours,
            theirs / ours,
        )
        print(
            f"{name}: {why}; {different}; {ours:.1f} µs, plain {theirs:.1f}: {theirs / ours:.2f}", flush=True
        )
        yield row


def member(task: LoadedTask, number: int) -> Member:
    """A member with a learning rate of its own; two of three have the same replicate."""
    settings = OPTIMIZERS["adamw"].defaults | {"lr": 1e-3 * (number + 1)}
    constant = SCHEDULES["constant"].defaults
    return Member(number, number // 2, 0, task, "adamw", settings, "constant", constant)


def difference(task: LoadedTask) -> float:
    """The largest relative difference of a member to a plain loop in float64: parameters and buffers."""
    zoo = load(Zoo(name=task.task.name, steps=2 * COMPARED, batch_size=task.batch_size))  # type: ignore[attr-defined]
    members = [member(zoo, number) for number in range(3)]
    engine = Population(3, dtype=torch.float64)
    engine.admit(members)
    while (state := engine.state())["groups"][0]["steps"][0] != COMPARED:
        engine.advance()
    (group,) = state["groups"]
    worst = 0.0
    for row, place in enumerate(group["members"]):
        model = plain_float64(members[place])
        pairs = []
        for name, value in (*model.named_parameters(), *model.named_buffers()):
            kept = group["tensors"].get(f"parameter.{name}", group["tensors"].get(f"kept.{name}"))
            pairs.append((kept[row].detach().flatten(), value.detach().flatten()))
        ours, theirs = (
            torch.cat(
                [torch.view_as_real(each).flatten() if each.is_complex() else each.double() for each in side]
            )
            for side in zip(*pairs, strict=True)
        )
        worst = max(worst, float((ours - theirs).norm() / theirs.norm()))
    return worst


def plain_float64(each: Member) -> nn.Module:
    """The member's model after the compared steps, by torch alone."""
    model = initial_module(each.task, 0, each.replicate).double()
    for parameter in model.parameters():
        if parameter.is_complex():
            parameter.data = parameter.data.to(torch.complex128)
    optimizer = torch.optim.AdamW(model.parameters(), lr=each.hyperparameters["lr"])
    rows = map_rows(lambda tensor: tensor.double() if tensor.is_floating_point() else tensor, each.task.train)
    for step in range(COMPARED):
        torch.manual_seed(derive(0, "step", each.replicate, step))
        (index,) = batch_indices(each.task, 0, each.replicate, step, step + 1)
        optimizer.zero_grad()
        each.task.loss(model, take_rows(rows, index)).backward()
        optimizer.step()
    return model


def plain_rate(name: str, seconds: float) -> float:
    """Steps a second of a plain loop, summed over a process for each core that train at the same time."""
    context = get_context("spawn")
    with context.Manager() as manager:
        barrier = manager.Barrier(cores())
        with ProcessPoolExecutor(cores(), mp_context=context) as pool:
            return sum(pool.map(_plain_steps, [name] * cores(), [seconds] * cores(), [barrier] * cores()))


def _plain_steps(name: str, seconds: float, barrier: Barrier) -> float:
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    task = load(Zoo(name=name, batch_size=MODELS[name].batch))
    model = initial_module(task, 0, 0)
    real = all(each.is_floating_point() for each in model.parameters())
    optimizer = torch.optim.AdamW(model.parameters(), fused=real)
    barrier.wait()
    began, steps = perf_counter(), 0
    while perf_counter() - began < seconds:
        for index in torch.randperm(ROWS).split(task.batch_size):
            optimizer.zero_grad()
            task.loss(model, take_rows(task.train, index)).backward()
            optimizer.step()
            steps += 1
            if steps % task.evaluate_every == 0:
                model.eval()
                # The losses of physics take gradients themselves.
                with torch.set_grad_enabled(name.startswith("physics")):
                    for score in task.scores(model, task.validation).values():
                        float(score)
                model.train()
    return steps / (perf_counter() - began)


if __name__ == "__main__":
    main()
