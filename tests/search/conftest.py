"""A folder with an empty study database (Optuna creates one, the tests get copies)."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from .studies import searched, study


@pytest.fixture
def folder(empty_database: Path, tmp_path: Path) -> Path:
    shutil.copy(empty_database, tmp_path / "studies.db")
    return tmp_path


@pytest.fixture
def another(empty_database: Path, tmp_path: Path) -> Path:
    """A second folder of that kind."""
    other = tmp_path / "another"
    other.mkdir()
    shutil.copy(empty_database, other / "studies.db")
    return other


@pytest.fixture(scope="session")
def _eight_trials(empty_database: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finished")
    shutil.copy(empty_database, folder / "studies.db")
    searched(study(folder))
    return folder / "studies.db"


@pytest.fixture
def finished(_eight_trials: Path, tmp_path: Path) -> Path:
    """A folder whose ``study`` has its eight trials."""
    shutil.copy(_eight_trials, tmp_path / "studies.db")
    return tmp_path
