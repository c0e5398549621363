"""The same baseline on Ray Tune with OptunaSearch; says so and ends when Ray is not installed.

python -m benchmarks.plain_ray cnn --trials 64 --processes 2
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from importlib.util import find_spec
from typing import Any

from benchmarks import STARTED


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.plain_ray", description=__doc__)
    parser.add_argument("task", choices=["mlp", "cnn", "transformer"])
    parser.add_argument("--settings", type=json.loads, default={}, help="the task's settings, as JSON")
    parser.add_argument("--trials", type=int, required=True)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    if find_spec("ray") is None:
        print("Ray is not installed, nothing was measured: pip install 'ray[tune]'", file=sys.stderr)
        return
    results = search(arguments)
    seconds = time.time() - STARTED
    values = [result.metrics["val_loss"] for result in results]
    print(
        json.dumps(
            {
                "benchmark": "plain_ray",
                "task": arguments.task,
                "trials": len(values),
                "processes": arguments.processes,
                "seconds": round(seconds, 3),
                "trials_per_minute": round(60 * len(values) / seconds, 1),
                "best": min(values),
            }
        )
    )


def search(arguments: argparse.Namespace) -> Any:
    """The finished ``ray.tune.ResultGrid``."""
    import ray
    from ray import tune
    from ray.tune.search.optuna import OptunaSearch

    # "local": not a cluster that happens to run on this machine.
    ray.init("local", num_cpus=arguments.processes, include_dashboard=False, logging_level="ERROR")
    constants = {"task": arguments.task, "settings": arguments.settings, "seed": arguments.seed}
    tuner = tune.Tuner(
        tune.with_resources(tune.with_parameters(run_trial, constants=constants), {"cpu": 1}),
        tune_config=tune.TuneConfig(
            search_alg=OptunaSearch(space=space, metric="val_loss", mode="min", seed=arguments.seed),
            num_samples=arguments.trials,
            max_concurrent_trials=arguments.processes,
            reuse_actors=True,
        ),
    )
    return tuner.fit()


def space(trial: Any) -> None:
    """Defines the searched parameters; a function of a module, because Ray pickles it."""
    from benchmarks.plain_training import suggest

    suggest(trial)


def run_trial(config: dict[str, Any], constants: dict[str, Any]) -> None:
    """One trial in a Ray worker."""
    import torch
    from ray import tune

    from adamtune.tasks.registry import TASKS
    from benchmarks.plain_training import train

    torch.set_num_threads(1)
    task = TASKS[constants["task"]].build(constants["settings"])
    for step, value in train(task, config, constants["seed"]):
        tune.report({"val_loss": value if math.isfinite(value) else 1e30, "step": step})


if __name__ == "__main__":
    main()
