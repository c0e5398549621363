"""The environment of all tests, and what some need of the machine: a PostgreSQL server, a small disk."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

# Else every process that a test starts compiles adamtune again, and pytest all tests in every run.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
# Threads inside operations of small models only wait for each other; read where torch is imported.
os.environ["OMP_NUM_THREADS"] = "1"

settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

BINARIES = sorted(Path("/usr/lib/postgresql").glob("*/bin"))


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study database without studies, to be copied: Optuna takes long to create one."""
    from adamtune.storage.local.database import create

    path = tmp_path_factory.mktemp("database") / "empty.db"
    create(path)
    return path


@pytest.fixture
def postgres(postgres_server: str) -> str:
    """The URL of an empty database on a server of this machine."""
    import sqlalchemy

    from adamtune.storage.server.connection import with_driver

    engine = sqlalchemy.create_engine(with_driver(postgres_server))
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text("DROP SCHEMA public CASCADE"))
        connection.execute(sqlalchemy.text("CREATE SCHEMA public"))
    engine.dispose()
    return postgres_server


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of four megabytes."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = shutil.which("mount")
    if mount is None or os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root")
    mounted = subprocess.run(
        [mount, "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode != 0:
        pytest.skip(f"a small file system cannot be mounted here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A new server on a free loopback port; the URL of its database."""
    pytest.importorskip("psycopg2", reason="needs `pip install psycopg2-binary`")
    if not BINARIES:
        pytest.skip("needs Debian's postgresql in /usr/lib/postgresql")
    folder = tmp_path_factory.mktemp("postgres")
    who = _as_postgres()
    for parent in [folder, *folder.parents]:
        if parent.stat().st_uid == os.geteuid() and parent != Path("/"):
            parent.chmod(parent.stat().st_mode | 0o711)
    if who:
        shutil.chown(folder, "postgres")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    data = str(folder / "data")
    subprocess.run(
        [BINARIES[-1] / "initdb", "-D", data, "-U", "adamtune", "-A", "trust", "--no-sync", "-E", "UTF8"],
        check=True, capture_output=True, cwd=folder, **who,
    )  # fmt: skip
    options = ["-k", str(folder), "-h", "127.0.0.1", "-p", str(port), "-F"]
    process = subprocess.Popen(
        [BINARIES[-1] / "postgres", "-D", data, *options], cwd=folder, stderr=subprocess.DEVNULL, **who
    )
    try:
        _wait_for(port)
        yield f"postgresql://adamtune@127.0.0.1:{port}/postgres"
    finally:
        process.send_signal(signal.SIGINT)  # without waiting for clients to leave
        process.wait(30)


def _as_postgres() -> dict[str, object]:
    """PostgreSQL does not run as root."""
    if os.geteuid() != 0:
        return {}
    user = pwd.getpwnam("postgres")
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def _wait_for(port: int) -> None:
    for _ in range(300):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                time.sleep(0.5)
                return
        time.sleep(0.1)
    pytest.fail("PostgreSQL did not start")
