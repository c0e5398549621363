"""adamtune until a value is reached; prints one JSON line.

    python -m benchmarks.reach study.yaml --target 0.5

The search ends as soon as a complete trial is at least as good. If the study file's trials are used
up before, the study is extended, as a user would: twice the trials, until --at-most.
"""

from __future__ import annotations

import json
import math
import signal
import time
from pathlib import Path
from typing import Any

from adamtune.config import load_study
from adamtune.search.progress import Progress
from benchmarks import STARTED
from benchmarks.command_line import parser


def main() -> None:
    options = parser("reach", __doc__)
    options.add_argument("study_file", type=Path)
    options.add_argument("--target", type=float, required=True, help="a value of the objective")
    options.add_argument("--at-most", type=int, default=0, metavar="TRIALS", help="the file's by default")
    options.add_argument("--seconds", type=float, default=math.inf, help="given up that long after the start")
    arguments = options.parse_args()
    print(json.dumps(reach(arguments.study_file, arguments.target, arguments.at_most, arguments.seconds)))


def reach(study_file: Path, target: float, at_most: int, seconds: float) -> dict[str, Any]:
    """When the target was reached (None: never), and how far the search went; seconds since the start."""
    from adamtune.search.run import run

    reached: list[float] = []
    ended: list[float] = []

    def observe(progress: Progress) -> None:
        passed = time.time() - STARTED
        if ended:
            return
        if progress.best is not None and progress.best.final_value <= target:
            reached.append(passed)
        if reached or passed > seconds:
            ended.append(passed)
            signal.raise_signal(signal.SIGINT)  # the search ends cleanly

    trials = load_study(study_file).search.trials
    while True:
        outcome = run(load_study(study_file, {"search.trials": trials}), observe)
        if ended or trials >= at_most:
            break
        trials = min(2 * trials, at_most)
    best = outcome.progress.best
    return {
        "benchmark": "reach",
        "target_seconds": reached[0] if reached else None,
        "seconds": time.time() - STARTED,
        "trials": outcome.progress.done,
        "best": None if best is None else best.final_value,
    }


if __name__ == "__main__":
    main()
