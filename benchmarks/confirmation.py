"""What the confirmation of a study costs, in wall time of its search.

    python -m benchmarks.confirmation                    # both plans, every task: about 8 minutes
    python -m benchmarks.confirmation mlp --trials 64 --plans small

A study of each reference task with its default settings, in the space of configs/digits-cnn.yaml, against
the default of AdamW; nothing is put back (search.ablate is off). search: its seconds until the confirmation
begins. % of trainings, % of time: the confirmation's, of the search's.
"""

from __future__ import annotations

import tempfile
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from adamtune.analysis.verdict import verdict
from adamtune.config import parse_study
from adamtune.search.run import run
from adamtune.storage.studies import read_study
from benchmarks.command_line import add_settings, add_tasks, parser
from benchmarks.studies import NAME, TASKS, study_file
from benchmarks.tables import machine, table
from benchmarks.verdict_studies import timed

PLANS = ("small", "full")
HEADER = ("task", "plan", "outcome", "trainings", "search", "confirmation", "% of trainings", "% of time")


def main() -> None:
    """Prints a row for each task and plan."""
    options = arguments()
    print(f"{machine()}; {options.trials} trials\n", flush=True)
    rows = [cost(task, plan, options) for task in options.tasks or TASKS for plan in options.plans]
    print(table(HEADER, rows))


def arguments(given: Sequence[str] | None = None) -> Namespace:
    """The command line's."""
    options = parser("confirmation", __doc__)
    add_tasks(options, TASKS)
    add_settings(options)
    options.add_argument("--trials", type=int, default=64, help="64 by default")
    options.add_argument("--plans", nargs="+", choices=PLANS, default=PLANS, metavar="PLAN")
    return options.parse_args(given)


def cost(task: str, plan: str, options: Namespace) -> tuple[object, ...]:
    """A row: what the confirmation of a study of the task takes by the plan."""
    search = {"trials": options.trials, "confirm": plan, "ablate": "off"}
    with tempfile.TemporaryDirectory() as folder:
        storage = str(Path(folder, "study.db"))
        config = parse_study(study_file(task, options.settings, search, storage=storage), __name__)
        searched, confirmed = timed(lambda observe: run(config, observe))
        found = verdict(read_study(storage, NAME))
    assert found is not None
    done = 0 if found.confirmation is None else found.confirmation.done
    return (
        *(task, plan, found.outcome, done, searched, confirmed),
        *(100 * done / options.trials, 100 * confirmed / searched),
    )


if __name__ == "__main__":
    main()
