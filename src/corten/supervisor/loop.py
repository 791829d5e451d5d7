"""A supervisor's event loop: epoll and a table of callbacks. (asyncio would be 10 MB in every supervisor.)"""

from __future__ import annotations

import select
import socket
import sys
import time
from collections.abc import Callable

from corten.supervisor.failures import print_exception

READ = select.EPOLLIN
WRITE = select.EPOLLOUT
HANGUP = select.EPOLLHUP | select.EPOLLERR
_SAID = 60.0  # seconds between two lines about that
_PAUSE = 1.0  # seconds without new connections, when there is no descriptor for one


class Loop:
    """Descriptors to callbacks. A callback gets the event bits; end of file and errors count as readable."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._callbacks: dict[int, Callable[[int], None]] = {}
        self._timers: list[tuple[float, Callable[[], None]]] = []
        self._stopped = False
        self._said = -_SAID

    def watch(self, fd: int, events: int, callback: Callable[[int], None]) -> None:
        """Call back on `events` of `fd`, replacing what was watched there; 0 pauses without forgetting."""
        if fd in self._callbacks:
            self._epoll.modify(fd, events)
        else:
            self._epoll.register(fd, events)
        self._callbacks[fd] = callback

    def accept(self, listener: socket.socket, come: Callable[[socket.socket], None]) -> None:
        """Hand over each connection to `listener`, which does not block, until that is forgotten.

        One that cannot be taken leaves it readable: without a pause there would be nothing but this.
        """

        def ready(_: int) -> None:
            try:
                connection, _address = listener.accept()
            except (BlockingIOError, ConnectionAbortedError):
                return
            except OSError as error:
                self.rest(listener, error)
                return
            come(connection)

        self.watch(listener.fileno(), READ, ready)

    def rest(self, listener: socket.socket, error: OSError) -> None:
        """Connections wait for a second: there is no descriptor for one, or for what it needs."""
        ready = self._callbacks[listener.fileno()]

        def again() -> None:
            if self._callbacks.get(listener.fileno()) is ready:
                self.watch(listener.fileno(), READ, ready)

        self._say(error)
        self.watch(listener.fileno(), 0, ready)
        self.after(_PAUSE, again)

    def _say(self, error: OSError) -> None:
        """In launcher.log, once a minute."""
        if time.monotonic() - self._said >= _SAID:
            self._said = time.monotonic()
            print(
                f"cannot take connections, which wait until there is room again: {error}", file=sys.stderr, flush=True
            )

    def forget(self, fd: int) -> None:
        """Stop watching; to be called before `fd` is closed. Nothing happens when it was not watched."""
        if self._callbacks.pop(fd, None):
            self._epoll.unregister(fd)

    def after(self, seconds: float, callback: Callable[[], None]) -> None:
        self._timers.append((time.monotonic() + seconds, callback))
        self._timers.sort(key=lambda timer: timer[0])

    def stop(self) -> None:
        self._stopped = True

    def run(self) -> None:
        while not self._stopped:
            self.step(-1)

    def step(self, longest: float) -> bool:
        """One round, waiting at most `longest` seconds (-1: for ever); False when nothing happened."""
        if self._timers:
            until = max(0.0, self._timers[0][0] - time.monotonic())
            longest = until if longest < 0 else min(longest, until)
        events = self._epoll.poll(longest)
        for fd, bits in events:
            callback = self._callbacks.get(fd)
            if callback:  # an earlier callback of this round may have forgotten it
                self._call(fd, callback, bits)
        due = [t for t in self._timers if t[0] <= time.monotonic()]
        self._timers = self._timers[len(due) :]
        for _, timer in due:
            timer()
        return bool(events or due)

    def _call(self, fd: int, callback: Callable[[int], None], bits: int) -> None:
        """A bug in what serves one descriptor must not take the container down with it: that one is served no more."""
        try:
            callback(bits)
        except Exception:
            print_exception()
            self.forget(fd)

    def fileno(self) -> int:
        """Readable when `step` has something to do; timers are not among that."""
        return self._epoll.fileno()

    def close(self) -> None:
        self._epoll.close()
