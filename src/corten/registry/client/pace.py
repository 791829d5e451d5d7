"""How slowly an answer may come. Without a bound one byte every minute would hold a pull, and its place among the few
downloads at a time, for ever; Docker and curl have none by default, containerd's CRI gives up after minutes of nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from corten.errors import Unavailable

LEAST = 1024  # bytes a second, on average over WINDOW: a fifth of a modem's
WINDOW = 120.0  # seconds


class Pace:
    """Called with every piece of one answer. `clock` gives seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._begin = clock()
        self._bytes = 0

    def took(self, count: int) -> None:
        """Unavailable when too little has come since the last time that this was looked at."""
        self._bytes += count
        seconds = self._clock() - self._begin
        if seconds < WINDOW:
            return
        if self._bytes < LEAST * seconds:
            raise Unavailable(
                f"registry sends too slowly: {self._bytes} bytes in {seconds:.0f} seconds, where {LEAST} bytes a "
                "second are the least; what has come of a layer is kept for the next pull"
            )
        self._begin += seconds
        self._bytes = 0
