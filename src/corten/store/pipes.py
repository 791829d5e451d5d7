"""A stream that another process sends on a pipe, read by a thread (`store.feed.Readers.drain`)."""

from __future__ import annotations

import asyncio
import os
import select
import threading
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future
from typing import Any

from corten.errors import Corrupt, Unavailable
from corten.units.durations import in_go

_PIECE = 1 << 19  # bytes; a megabyte is memory that the daemon gives back each time (M_MMAP_THRESHOLD)
SILENCE = 600.0  # seconds without a byte: who walks a large tree may find nothing to send for long


class Pipe:
    """What comes out of the pipe `fd`, which stays the caller's and does not block.

    `ended` is asked on the event loop when nothing more comes, and raises when that was not all. Made on the event
    loop; `stop` is called there, everything else by one thread.
    """

    def __init__(self, fd: int, ended: Callable[[], Coroutine[Any, Any, None]], silence: float = SILENCE) -> None:
        self._loop = asyncio.get_running_loop()
        self._ended = ended
        self._silence = silence
        self._lock = threading.Lock()
        self._answer: Future[None] | None = None
        self._fd = os.dup(fd)  # a thread that is not waited for must not read what gets the number next
        self._stop = os.eventfd(0, os.EFD_CLOEXEC)
        self._stopped = False

    def pieces(self) -> Iterator[bytearray]:
        """All of it, in pieces as large as may be.

        Raises Unavailable when it is silent, Corrupt when it was stopped, and what `ended` raises.
        """
        ready = select.poll()
        ready.register(self._fd, select.POLLIN)
        ready.register(self._stop, select.POLLIN)
        while piece := self._piece(ready):
            yield piece
        with self._lock:
            self._check()
            self._answer = asyncio.run_coroutine_threadsafe(self._ended(), self._loop)
        self._answer.result()

    def _piece(self, ready: select.poll) -> bytearray:
        """Nothing at the end."""
        piece, at = bytearray(_PIECE), 0
        with memoryview(piece) as view:
            while at < _PIECE:
                try:
                    count = os.readv(self._fd, [view[at:]])
                except BlockingIOError:
                    self._wait(ready)
                    continue
                if not count:
                    break
                at += count
        del piece[at:]
        return piece

    def _wait(self, ready: select.poll) -> None:
        if not ready.poll(self._silence * 1000):
            raise Unavailable(f"a helper process sends nothing for {in_go(self._silence)}")
        self._check()

    def _check(self) -> None:
        if self._stopped:
            raise Corrupt("what a helper process sends is not taken any more")

    def stop(self) -> None:
        """Nothing more is wanted."""
        with self._lock:
            self._stopped = True
            if self._answer is not None:
                self._answer.cancel()
            if self._fd >= 0:
                os.eventfd_write(self._stop, 1)

    def leave(self) -> None:
        """The thread reads no more."""
        with self._lock:
            os.close(self._fd)
            os.close(self._stop)
            self._fd = -1
