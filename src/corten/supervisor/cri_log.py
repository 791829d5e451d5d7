"""A container's output on disk as Kubernetes reads it: the format of the Container Runtime Interface.

An entry is one line:

    2026-11-28T19:00:00.123456789Z stdout F what was written

F ends a line of the container's, P is a piece of one that is longer than 16 KiB, or that has no end when the container
has ended. Bytes are kept as they are. The file is never rotated here: the kubelet renames it and asks for `reopen`.
"""

from __future__ import annotations

import os
import time

from corten.supervisor.logfile import PIECE, LogFile, timestamp


class CriLog(LogFile):
    """The same writer with other records."""

    def __init__(self, path: str) -> None:
        super().__init__(path, 0, 1)

    def reopen(self) -> None:
        """Go on in the file that has the path now, or make it. OSError, and the old one is kept."""
        if not self._path:
            return
        before = self._fd
        try:
            self._open()
        except OSError:
            self._fd = before
            raise
        if before >= 0:
            os.close(before)

    def _records(self, stream: str, lines: bytes, pieces: list[bytes]) -> None:
        head = f"{timestamp(time.time_ns())} {stream} ".encode()
        whole, part = head + b"F ", head + b"P "
        entries = []
        for line in lines.split(b"\n")[:-1]:
            while len(line) > PIECE:
                entries.append(part + line[:PIECE])
                line = line[PIECE:]
            entries.append(whole + line)
        entries += [part + piece for piece in pieces]
        if self._lost:
            entries.insert(0, whole + b"[corten: %d bytes of this log could not be written]" % self._lost)
        entries.append(b"")
        self._append(b"\n".join(entries), len(lines) + sum(map(len, pieces)))


def log_of(path: str, max_size: int, max_file: int, attrs: str, format: str) -> LogFile:
    """The writer that a request asks for; see `requests.Log`."""
    return CriLog(path) if format == "cri" else LogFile(path, max_size, max_file, attrs)
