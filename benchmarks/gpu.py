"""Training on a GPU: populations, beside the plain torch loop on the same GPU. Ends at once without one.

    python -m benchmarks.gpu                             # about 2 minutes
    python -m benchmarks.gpu mlp --population 1024 --processes 4

Both sides keep the data on the GPU and evaluate as often. Each figure is the median over the rounds;
each ratio is the median of the rounds' ratios.
"""

from __future__ import annotations

import argparse

from benchmarks.command_line import add_rounds, add_settings, add_tasks, parser
from benchmarks.studies import TASKS, measured_settings
from benchmarks.tables import machine, table

TRIALS = 4096
"""Of the study that the population is planned for: enough for the largest that `auto` takes."""


def main() -> None:
    arguments = parse()
    import torch

    from benchmarks.steady import HEADER, Workload, side_by_side

    if not torch.cuda.is_available():
        print("There is no CUDA device here, nothing was measured.")
        return
    print(f"{torch.cuda.get_device_name()}; {machine()}; {arguments.rounds} rounds\n", flush=True)
    rows = [
        side_by_side(
            Workload(
                task,
                task,
                measured_settings(task, arguments.settings),
                TRIALS,
                arguments.population or "auto",
            ),
            *(arguments.processes, "cuda", arguments.rounds, arguments.seconds),
        )
        for task in arguments.tasks or TASKS
    ]
    title = (
        f"Steady state, wall time of a member-step: adamtune, and plain in {arguments.processes} processes"
    )
    print(f"{title}\n\n{table(HEADER, rows)}")


def parse() -> argparse.Namespace:
    options = parser("gpu", __doc__)
    add_tasks(options, TASKS)
    add_settings(options)
    options.add_argument("--population", type=int, metavar="MEMBERS", help="auto by default")
    options.add_argument("--processes", type=int, default=1, help="of the plain loop; 1 by default")
    add_rounds(options)
    return options.parse_args()


if __name__ == "__main__":
    main()
