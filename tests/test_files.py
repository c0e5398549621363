"""The cache, and what becomes of a file that it cannot hold."""

from __future__ import annotations

import logging
import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import adamtune.files
from adamtune.cli.main import run
from adamtune.engines.native.loader import kernel_library, load_library
from adamtune.files import use_cached

needs_compiler = pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")


@pytest.fixture(autouse=True)
def _warn_again() -> Iterator[None]:
    """A warning that another test caused is not left out."""
    adamtune.files._warn.cache_clear()
    yield
    adamtune.files._warn.cache_clear()


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "adamtune"


class Maker:
    """Writes a file of five bytes, and counts how often."""

    made = 0

    def __call__(self, path: Path) -> None:
        self.made += 1
        path.write_bytes(b"12345")


def test_a_file_is_made_once(cache: Path) -> None:
    make = Maker()
    for _ in range(2):
        assert use_cached("made.bin", make, Path.read_bytes) == b"12345"
    assert make.made == 1
    assert [each.name for each in cache.iterdir()] == ["made.bin"]


@pytest.mark.parametrize("content", [b"", b"123"])
def test_a_damaged_file_is_made_again(cache: Path, content: bytes) -> None:
    def read(path: Path) -> bytes:
        if len(path.read_bytes()) != 5:
            raise OSError("file too short")
        return path.read_bytes()

    cache.mkdir()
    (cache / "made.bin").write_bytes(content)
    assert use_cached("made.bin", Maker(), read) == b"12345"
    assert (cache / "made.bin").read_bytes() == b"12345"


def test_a_cache_that_cannot_be_written_is_named_once_and_done_without(
    cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cache.write_text("a file in the folder's place")
    make = Maker()
    for _ in range(2):
        assert use_cached("made.bin", make, Path.read_bytes) == b"12345"
    assert make.made == 2
    (said,) = (each.getMessage() for each in caplog.records)
    assert f"The cache folder cannot be used ({cache}" in said
    assert "XDG_CACHE_HOME" in said


def test_a_full_cache_is_named_and_done_without(
    small_disk: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(small_disk))
    large = bytes(8_000_000)
    assert use_cached("large.bin", lambda path: path.write_bytes(large), Path.read_bytes) == large
    assert "No space left on device" in caplog.text
    assert not [*small_disk.rglob("*.bin")]


def test_a_file_that_can_be_used_nowhere_raises_what_its_user_says(cache: Path) -> None:
    def refuse(path: Path) -> None:
        raise OSError("not a library")

    with pytest.raises(OSError, match="not a library"):
        use_cached("made.bin", Maker(), refuse)


# Compiled libraries


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("ADAMTUNE_COMPILER", raising=False)
    path = tmp_path / "seven.c"
    path.write_text("int seven(void) { return 7; }\n")
    return path


@needs_compiler
def test_a_library_is_loaded_although_the_cache_cannot_be_written(
    cache: Path, source: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cache.write_text("a file in the folder's place")
    library = load_library(source, ())
    assert library is not None
    assert library.seven() == 7
    assert "The cache folder cannot be used" in caplog.text
    assert "compiler" not in caplog.text


@needs_compiler
def test_a_library_is_loaded_although_nothing_may_run_from_the_cache(
    small_disk: Path, source: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    subprocess.run(["mount", "-o", "remount,noexec", str(small_disk)], check=True)
    monkeypatch.setenv("XDG_CACHE_HOME", str(small_disk))
    library = load_library(source, ())
    assert library is not None
    assert library.seven() == 7
    assert "The cache folder cannot be used" in caplog.text
    assert "failed to map segment" in caplog.text


@needs_compiler
def test_a_library_that_can_be_loaded_from_nowhere(
    cache: Path, source: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(path: str) -> None:
        raise OSError("failed to map segment from shared object")

    monkeypatch.setattr("ctypes.CDLL", refuse)
    assert load_library(source, ()) is None
    assert "it was compiled, but cannot be loaded (failed to map segment" in caplog.text
    assert "cache" not in caplog.text


@pytest.mark.parametrize(
    ("compiler", "reason"),
    [
        (
            "no-such-compiler",
            "the C compiler no-such-compiler ($ADAMTUNE_COMPILER) cannot be run: No such file",
        ),
        ("/dev/null", "the C compiler /dev/null ($ADAMTUNE_COMPILER) cannot be run: Permission denied"),
        ("false", "the C compiler false ($ADAMTUNE_COMPILER) failed with exit code 1"),
    ],
)
def test_the_compiler_is_named_where_it_is_the_problem(
    cache: Path,
    source: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    compiler: str,
    reason: str,
) -> None:
    monkeypatch.setenv("ADAMTUNE_COMPILER", compiler)
    with caplog.at_level(logging.WARNING):
        assert load_library(source, ()) is None
    assert f"seven.c is not used, torch operations do its work slower: {reason}" in caplog.text
    assert "cache" not in caplog.text


# A user without a home folder, as in a container


def unknown_user(number: int) -> None:
    raise KeyError(f"getpwuid(): uid not found: {number}")


@pytest.mark.parametrize("compiler", ["none", pytest.param("cc", marks=pytest.mark.slow)])
def test_a_user_without_a_home_folder_can_search(
    tmp_path: Path,
    compiler: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert pwd.getpwuid(os.getuid())  # is what the program asks
    monkeypatch.setattr(pwd, "getpwuid", unknown_user)
    monkeypatch.setenv("ADAMTUNE_COMPILER", compiler)
    for name in ("HOME", "XDG_CACHE_HOME", "USER", "LOGNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    kernel_library.cache_clear()
    text = "name: s\ntask: {name: mlp, epochs: 2, hidden: [4]}\nsearch: {trials: 3}\n"
    Path("study.yaml").write_text(text)
    try:
        assert run(["search", "study.yaml"]) == 0, capsys.readouterr().err
    finally:
        kernel_library.cache_clear()
    assert caplog.text.count("(the home folder of this user is not known)") == 1
    assert "compiler" not in caplog.text
    assert run(["report", "s"]) == 0
    assert "3 complete" in capsys.readouterr().out
    assert run(["report", "s", "--storage", "~/a.db"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "there is no home folder for ~" in err
