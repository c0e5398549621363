"""What ``--log-to`` costs a search: the same study with a live export and without, in turns.

    python -m benchmarks.exports

Processor time and wall time of `adamtune search`, from its start to its end, the process that exports
included; the median of the rounds.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from statistics import median

from benchmarks.command_line import parser
from benchmarks.processes import ROOT, processor_seconds
from benchmarks.tables import machine, table

STUDY = ROOT / "configs" / "quickstart.yaml"


def main() -> None:
    """Prints the table."""
    arguments = parser("exports", __doc__)
    arguments.add_argument("--to", default="tensorboard", help="the tracker; tensorboard by default")
    arguments.add_argument("--trials", type=int, default=500, help="500 by default")
    arguments.add_argument("--rounds", type=int, default=3, help="3 by default")
    given = arguments.parse_args()
    search = ["-m", "adamtune", "search", STUDY, "--confirm", "off", "--trials", given.trials]
    figures: dict[str, list[tuple[float, float]]] = {"without": [], f"to {given.to}": []}
    for number in range(given.rounds):
        for name, found in figures.items():
            with tempfile.TemporaryDirectory() as folder:
                place = [] if name == "without" else ["--log-to", f"{given.to}:{Path(folder) / 'runs'}"]
                began = time.perf_counter()
                processor = processor_seconds(*search, "--storage", Path(folder) / f"{number}.db", *place)
                found.append((processor, time.perf_counter() - began))
    rows = [[name, *(median(each) for each in zip(*found, strict=True))] for name, found in figures.items()]
    print(machine(), table(["export", "processor, s", "wall, s"], rows), sep="\n\n")


if __name__ == "__main__":
    main()
