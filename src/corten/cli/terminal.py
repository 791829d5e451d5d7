"""The user's terminal: its size, raw mode that is always undone, and signals as bytes of a pipe."""

from __future__ import annotations

import os

from corten.cli import signals
from corten.cli.errors import CommandError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import FrameType, TracebackType
    from typing import Any


def is_terminal(fd: int) -> bool:
    return os.isatty(fd)


def size(fd: int) -> tuple[int, int]:
    """(height, width) in characters; (0, 0) when it is no terminal."""
    try:
        found = os.get_terminal_size(fd)
    except OSError:
        return 0, 0
    return found.lines, found.columns


class Raw:
    """Raw mode of a terminal for the length of a `with`: keys arrive one by one, also Ctrl-C and Ctrl-Z.

    `fd` None does nothing. The mode is put back whatever happens inside.
    """

    def __init__(self, fd: int | None) -> None:
        self._fd = fd
        self._saved: list[Any] | None = None

    def __enter__(self) -> Raw:
        if self._fd is None:
            return self
        import termios

        self._saved = termios.tcgetattr(self._fd)
        mode = termios.tcgetattr(self._fd)
        # cfmakeraw(3), which Python 3.11's tty module does in part only.
        iflag = termios.IGNBRK | termios.BRKINT | termios.PARMRK | termios.ISTRIP
        iflag |= termios.INLCR | termios.IGNCR | termios.ICRNL | termios.IXON
        mode[0] &= ~iflag
        mode[1] &= ~termios.OPOST
        mode[2] = (mode[2] & ~(termios.CSIZE | termios.PARENB)) | termios.CS8
        mode[3] &= ~(termios.ECHO | termios.ECHONL | termios.ICANON | termios.ISIG | termios.IEXTEN)
        mode[6][termios.VMIN], mode[6][termios.VTIME] = 1, 0
        termios.tcsetattr(self._fd, termios.TCSANOW, mode)
        return self

    def __exit__(self, *_: object) -> None:
        self.restore()

    def restore(self) -> None:
        if self._saved is None or self._fd is None:
            return
        import termios

        try:
            termios.tcsetattr(self._fd, termios.TCSANOW, self._saved)
        except termios.error:
            # The terminal is gone (hangup); there is nothing left to put back.
            pass
        self._saved = None


_ASKS_TO_END = (signals.NUMBERS["INT"], signals.NUMBERS["TERM"])
ENOUGH = 3  # requests to end, as docker's client counts them


class SignalPipe:
    """Signals as bytes: `fileno` turns readable, `take` gives their numbers. Handlers are put back by `close`.

    The third INT or TERM raises CommandError in whatever is being done, also while an answer is waited for: a program
    that takes no notice, and a daemon that does not answer, do not hold the terminal.
    """

    def __init__(self, numbers: Iterable[int]) -> None:
        self._requests_to_end = 0
        self._read, self._write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._former: dict[int, Any] = {}
        self._former_wakeup = signals.wake(self._write)
        for number in numbers:
            self._former[number] = signals.handle(number, self._noted)

    def __enter__(self) -> SignalPipe:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def fileno(self) -> int:
        return self._read

    def _noted(self, number: int, _frame: FrameType | None) -> None:
        """A handler must exist for the number to be written to the pipe; the pipe's reader does the rest."""
        if number in _ASKS_TO_END:
            self._requests_to_end += 1
            if self._requests_to_end == ENOUGH:
                raise CommandError(f"\ngot {ENOUGH} SIGTERM/SIGINTs, forcefully exiting")

    def take(self) -> list[int]:
        try:
            return [number for number in os.read(self._read, 4096) if number in self._former]
        except BlockingIOError:
            return []

    def close(self) -> None:
        signals.wake(self._former_wakeup)
        for number, handler in self._former.items():
            signals.handle(number, handler if handler is not None else signals.DEFAULT)
        self._former.clear()
        os.close(self._read)
        os.close(self._write)


def die_by(number: int) -> None:
    """End as the signal would have ended us, so that a shell sees it."""
    signals.handle(number, signals.DEFAULT)
    os.kill(os.getpid(), number)
