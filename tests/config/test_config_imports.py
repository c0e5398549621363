from __future__ import annotations

import subprocess
import sys
from pathlib import Path

CONFIGS = Path(__file__).parents[2] / "configs"
HEAVY = ("torch", "optuna", "pandas", "numpy", "sklearn", "scipy", "rich")


def test_reading_a_study_imports_nothing_heavy():
    code = (
        "import sys; from pathlib import Path; from adamtune.config import load_study, schema\n"
        f"load_study(Path({str(CONFIGS / 'digits-cnn.yaml')!r})); schema()\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
