"""A program on a pseudo-terminal: what is typed, and what is on the screen."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Mapping, Sequence
from typing import Self

from e2e_parts.patience import PATIENCE, until

_WHERE = "\x1b[6n"  # "where is the cursor?", which terminals answer: busybox's shell asks with each prompt


class Terminal:
    """`command` as the foreground session of a new terminal of `size` rows and columns."""

    def __init__(self, command: Sequence[str], env: Mapping[str, str], size: tuple[int, int] = (24, 80)) -> None:
        self.fd, inner = pty.openpty()
        self.seen = ""
        self._set_size(*size)
        self.first_modes = self.modes
        self._process = subprocess.Popen(
            command,
            stdin=inner,
            stdout=inner,
            stderr=inner,
            env=env,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(inner)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(60)
        os.close(self.fd)

    def _set_size(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def resize(self, rows: int, columns: int) -> None:
        self._set_size(rows, columns)

    def type(self, keys: str) -> None:
        os.write(self.fd, keys.encode())

    def expect(self, pattern: str, timeout: float = PATIENCE) -> re.Match[str]:
        """Read until `pattern` shows; what came before it, and it, are taken out of `seen`."""
        deadline = time.monotonic() + timeout
        while (match := re.search(pattern, self.seen)) is None:
            left = deadline - time.monotonic()
            assert left > 0 and self._read(left), f"no {pattern!r} in {self.seen!r}"
        self.seen = self.seen[match.end() :]
        return match

    def insist(self, key: str, pattern: str) -> None:
        """Type `key` until `pattern` shows: a shell that is just starting a program takes it for itself."""

        def shown() -> bool:
            self.type(key)
            try:
                self.expect(pattern, 0.5)
            except AssertionError:
                return False
            return True

        until(shown)

    def shows(self, text: str, timeout: float) -> bool:
        """Whether `text` comes to be seen in that time."""
        deadline = time.monotonic() + timeout
        while text not in self.seen:
            left = deadline - time.monotonic()
            if left <= 0 or not self._read(left):
                return False
        return True

    def _read(self, timeout: float) -> bool:
        if not select.select([self.fd], [], [], timeout)[0]:
            return False
        try:
            piece = os.read(self.fd, 65536)
        except OSError:  # EIO: no process has the other side open any more
            return False
        text = piece.decode(errors="replace")
        for _ in range(text.count(_WHERE)):
            os.write(self.fd, b"\x1b[24;1R")
        self.seen += text.replace(_WHERE, "")
        return bool(piece)

    def ended(self, timeout: float) -> bool:
        """Whether the program ends in that time."""
        deadline = time.monotonic() + timeout
        while self._process.poll() is None and time.monotonic() < deadline:
            self._read(0.05)
        return self._process.poll() is not None

    def wait(self, timeout: float = PATIENCE) -> int:
        """The exit code; what is still shown on the way goes to `seen`."""
        deadline = time.monotonic() + timeout
        while self._process.poll() is None:
            assert time.monotonic() < deadline, f"still running; seen: {self.seen!r}"
            self._read(0.05)
        while self._read(0.05):
            pass
        return self._process.returncode

    @property
    def modes(self) -> list[object]:
        return list(termios.tcgetattr(self.fd))
