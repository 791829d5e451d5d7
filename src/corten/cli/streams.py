"""Moving bytes between the user's descriptors and an upgraded connection, in one thread, until the output ends.

Input is passed on only as fast as the daemon takes it, and output is read meanwhile, so neither side can block the
other. The end of input half-closes the connection; the output goes on.
"""

from __future__ import annotations

import _socket
import os
import select

from corten.cli.output import STDOUT, show_frames, write_all
from corten.client.stdcopy import Frames

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from corten.cli.terminal import SignalPipe
    from corten.client.api import Upgraded
    from corten.spec.detach_keys import Watcher

BLOCK = 1 << 18
FIRST = 1 << 14  # bytes of room for output, until that is more: most often it is a line


class Pump:
    """One attached session. `run` answers True when the user typed the detach keys, False when the output ended."""

    def __init__(
        self,
        upgraded: Upgraded,
        stdin: int | None,
        tty: bool,
        keys: bytes = b"",
        signals: SignalPipe | None = None,
        on_signal: Callable[[int], None] | None = None,
    ) -> None:
        self._sock = upgraded.sock
        self._early = upgraded.early
        self._stdin = stdin
        self._frames = None if tty else Frames()
        self._watcher = _watcher(keys) if keys else None
        self._signals = signals
        self._on_signal = on_signal
        self._pending = memoryview(b"")
        self._waiting = False  # for the daemon to take what is pending
        # For input that is on its way, and for output: bytes of BLOCK would be mapped anew each time.
        self._typed = memoryview(bytearray(0 if stdin is None else BLOCK))
        self._room = memoryview(bytearray(FIRST))
        self._poll = select.poll()

    def run(self) -> bool:
        self._sock.setblocking(False)
        self._poll.register(self._sock.fileno(), select.POLLIN)
        if self._signals is not None:
            self._poll.register(self._signals.fileno(), select.POLLIN)
        if self._stdin is not None:
            from corten.cli.pipes import widen

            widen(self._stdin)
            self._poll.register(self._stdin, select.POLLIN)
        else:
            self._half_close()
        try:
            if self._early:
                self._show(self._early)
            return self._loop()
        finally:
            self._sock.close()

    def _loop(self) -> bool:
        while True:
            for fd, events in self._poll.poll():
                if fd == self._sock.fileno():
                    if events & select.POLLOUT:
                        self._flush()
                    if events & ~select.POLLOUT and not self._receive():
                        return False
                elif self._signals is not None and fd == self._signals.fileno():
                    self._deliver_signals()
                elif fd == self._stdin and self._take_input():
                    return True

    def _receive(self) -> bool:
        """Show what came; False at the end of the output."""
        try:
            count = self._sock.recv_into(self._room)
        except BlockingIOError:
            return True
        except ConnectionResetError:
            return False
        if not count:
            return False
        self._show(self._room[:count])
        if count == FIRST == len(self._room):
            self._room = memoryview(bytearray(BLOCK))
        return True

    def _show(self, data: bytes | memoryview) -> None:
        if self._frames is None:
            write_all(STDOUT, data)
        else:
            show_frames(self._frames.feed(data))

    def _deliver_signals(self) -> None:
        if self._signals is None or self._on_signal is None:
            return
        for number in self._signals.take():
            self._on_signal(number)

    def _take_input(self) -> bool:
        """Read the user's input once; True when it held the detach keys."""
        assert self._stdin is not None
        try:
            count = os.readv(self._stdin, [self._typed])
        except BlockingIOError:
            return False
        except OSError:
            # EIO: a background job may not read the terminal, or the terminal is gone.
            count = 0
        if not count:
            # Input is read only while nothing is pending, so that all of it has been sent by now.
            self._stop_input()
            self._half_close()
            return False
        data = self._typed[:count]
        self._pending = memoryview(self._watcher.feed(bytes(data))) if self._watcher is not None else data
        self._flush()
        return self._watcher is not None and self._watcher.found

    def _flush(self) -> None:
        """Send what is pending; while some of it is, input is not read and the socket is watched for room."""
        try:
            while self._pending:
                self._pending = self._pending[self._sock.send(self._pending) :]
        except BlockingIOError:
            pass
        except (BrokenPipeError, ConnectionResetError):
            # The container no longer reads; its last output may still be on its way.
            self._pending = memoryview(b"")
            self._stop_input()
        if self._waiting != bool(self._pending):
            self._wait(not self._waiting)

    def _wait(self, waiting: bool) -> None:
        self._waiting = waiting
        self._poll.modify(self._sock.fileno(), select.POLLIN | (select.POLLOUT if waiting else 0))
        if self._stdin is None:
            return
        if waiting:
            # Not events=0: a hang-up would be reported all the same, and its data read without end.
            self._poll.unregister(self._stdin)
        else:
            self._poll.register(self._stdin, select.POLLIN)

    def _stop_input(self) -> None:
        """Read no more of the user's input."""
        if self._stdin is not None and not self._waiting:
            self._poll.unregister(self._stdin)
        self._stdin = None

    def _half_close(self) -> None:
        try:
            self._sock.shutdown(_socket.SHUT_WR)
        except OSError:
            # Already closed by the other side: the reading side gets the error.
            pass


def _watcher(keys: bytes) -> Watcher:
    from corten.spec.detach_keys import Watcher

    return Watcher(keys)
