"""A shell where a step has failed, on our terminal: an answer to the daemon's question `shell`."""

from __future__ import annotations

import os
import select

from corten.cli import signals
from corten.cli.output import STDOUT, err, write_all
from corten.cli.terminal import Raw, SignalPipe, is_terminal, size
from corten.spec import build_frames as f

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

STDIN = 0
_PIECE = 1 << 16
WITHOUT = "--debug-shell needs a terminal: standard input and standard output have to be one"


def possible() -> bool:
    """Whether there is a terminal for it."""
    return is_terminal(STDIN) and is_terminal(STDOUT)


class Shell:
    """`why` says what has failed; `before` is called first, so that nothing else is drawn."""

    def __init__(self, why: str, before: Callable[[], None]) -> None:
        before()
        err(f"\n{why}\nThis is a shell in the state before that step. The build goes on to its end when you leave it.")
        self.fd = -1
        self._poll = select.epoll()
        self._signals = SignalPipe([signals.NUMBERS["WINCH"]])
        self._raw = Raw(STDIN).__enter__()
        for fd in (STDIN, self._signals.fileno()):
            self._poll.register(fd, select.EPOLLIN)

    def next(self) -> tuple[int, bytes] | None:
        if self.fd < 0:
            self.fd = self._poll.fileno()
            return f.SIZE, f.size(*size(STDIN))
        for fd, _ in self._poll.poll(0, 1):
            if fd == STDIN:
                data = os.read(STDIN, _PIECE)
                return (f.DATA, data) if data else (f.END, b"")
            self._signals.take()
            return f.SIZE, f.size(*size(STDIN))
        return None

    def take(self, kind: int, data: bytes) -> None:
        if kind == f.DATA:
            write_all(STDOUT, data)

    def end(self) -> tuple[int, bytes] | None:
        return None

    def close(self) -> None:
        self.fd = -1
        self._poll.close()
        self._raw.restore()
        self._signals.close()
