"""The log of a process: a file of bounded size."""

from __future__ import annotations

from pathlib import Path

MOST_BYTES = 2**20
"""A log keeps so many of its first bytes and, beyond these, so many of its last."""


class Log:
    """A file to which the output of a process is appended.

    Where it grows beyond three times ``MOST_BYTES``, bytes in its middle are left out. It is made at the
    first output.

    Args:
        path: the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._left_out = 0

    def write(self, data: bytes) -> None:
        """Appends output."""
        with self.path.open("ab") as file:
            file.write(data)
            size = file.tell()
        if size > 3 * MOST_BYTES:
            self._shorten()

    def _shorten(self) -> None:
        content = self.path.read_bytes()
        first, middle = content[:MOST_BYTES], content[MOST_BYTES:-MOST_BYTES]
        gap = self._gap()
        self._left_out += len(middle) - (len(gap) if middle.startswith(gap) else 0)
        self.path.write_bytes(first + self._gap() + content[-MOST_BYTES:])

    def _gap(self) -> bytes:
        return f"\n... {self._left_out} bytes are left out here ...\n".encode() if self._left_out else b""

    def last_lines(self, count: int) -> list[str]:
        """The last lines that are not blank, in UTF-8 where it is; none if there was no output."""
        if not self.path.exists():
            return []
        with self.path.open("rb") as file:
            file.seek(max(0, self.path.stat().st_size - 200 * count))
            text = file.read().decode(errors="replace")
        lines = [
            "".join(each if each.isprintable() else " " for each in line).rstrip()
            for line in text.splitlines()
        ]
        return [line for line in lines if line][-count:]
