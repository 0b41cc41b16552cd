"""The log of a run: the first and the last of what its processes print, however much that is."""

from __future__ import annotations

import os
import threading
from typing import IO

HALF = 2**17
"""Bytes that are kept of the beginning, and as many of the end."""


class Log:
    """Reads what is written to a pipe into a file, until every process that holds the other end has ended.

    A full disk costs the rest of the log and stops nobody: the pipe is read on.

    Args:
        file: open for writing, empty; closed at the end.
        half: bytes that are kept of the beginning, and of the end.
    """

    def __init__(self, file: IO[bytes], half: int = HALF) -> None:
        self._file, self._half = file, half
        self._pipe, self.writer = os.pipe()
        self._thread = threading.Thread(target=self._read, daemon=True)

    def begin(self) -> None:
        """Read from now on; the writing end is left to the process that was given it."""
        os.close(self.writer)
        self._thread.start()

    def end(self, patience: float = 5.0) -> None:
        """Wait until all is in the file, or some seconds, should a process that has left its group still print."""
        self._thread.join(patience)

    def _read(self) -> None:
        written, lost, last = 0, 0, bytearray()
        with os.fdopen(self._pipe, "rb", buffering=0) as pipe:
            while chunk := pipe.read(65536):
                first = chunk[: self._half - written]
                written += len(first)
                self._write(first)
                last += chunk[len(first) :]
                lost += max(0, len(last) - self._half)
                del last[: -self._half]
        if lost:
            self._write(f"\n[{lost} bytes left out]\n".encode())
        self._write(bytes(last))
        try:
            self._file.close()
        except OSError:
            return

    def _write(self, content: bytes) -> None:
        try:
            self._file.write(content)
            self._file.flush()
        except OSError:  # a full disk
            return
