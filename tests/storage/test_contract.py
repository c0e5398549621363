"""Optuna's own contract for storages, run against ours (``storage`` is the fixture of this folder)."""

from __future__ import annotations

from optuna.testing.pytest_storages import StorageTestCase


class TestLocalStorage(StorageTestCase):
    pass
