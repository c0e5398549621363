"""The script for Slurm in docs/scale.md, run as the tasks of a job array."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from adamtune.storage.studies import read_study

PAGE = Path(__file__).parents[1] / "docs" / "scale.md"
STUDY = """
name: s
storage: journal:{folder}/study.log
task: {{name: mlp, dataset: diabetes, hidden: [4], batch_size: 128, epochs: 5}}
optimizer: adam
space: {{lr: {{low: 1.0e-3, high: 1.0e-1, log: true}}}}
search: {{trials: 30, confirm: off}}
"""


@pytest.mark.slow
def test_the_tasks_of_a_job_array_share_a_study(tmp_path: Path) -> None:
    script = re.search(r"^```bash\n(#!/bin/bash\n.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    assert script
    (tmp_path / "job.sh").write_text(script[1])
    (tmp_path / "study.yaml").write_text(STUDY.format(folder=tmp_path))
    program = tmp_path / "bin" / "adamtune"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m adamtune "$@"\n')
    program.chmod(0o755)
    environment = os.environ | {
        "PATH": f"{program.parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(PAGE.parents[1]),
    }
    tasks = [
        subprocess.Popen(
            ["bash", "job.sh"],
            cwd=tmp_path,
            env=environment | {"SLURM_ARRAY_TASK_ID": str(number), "SLURM_CPUS_PER_TASK": "1"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in (1, 2)
    ]
    said = [each.communicate(timeout=300)[1] for each in tasks]
    assert [each.returncode for each in tasks] == [0, 0], said
    trials = read_study(f"journal:{tmp_path}/study.log", "s").trials
    assert [each.number for each in trials] == list(range(30))
    assert {each.state for each in trials} <= {"complete", "pruned", "diverged"}
