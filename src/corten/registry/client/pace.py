"""The least rate of a response. Without one, a byte every minute would hold a pull, and one of the few slots for
downloads, for ever; Docker and curl have none by default, containerd's CRI stops after minutes of nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from corten.errors import Unavailable
from corten.units.durations import in_go

LEAST = 1024  # bytes a second, on average over WINDOW: a fifth of a modem's
WINDOW = 120.0  # seconds


class Pace:
    """Called with every piece of one answer. `clock` gives seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._begin = clock()
        self._bytes = 0

    def took(self, count: int) -> None:
        """Count bytes. Raises Unavailable when the rate since the last check is too low."""
        self._bytes += count
        seconds = self._clock() - self._begin
        if seconds < WINDOW:
            return
        if self._bytes < LEAST * seconds:
            raise Unavailable(
                f"registry sends too slowly: {self._bytes} bytes in {in_go(round(seconds))}, where {LEAST} bytes a "
                "second are the least; what has come of a layer is kept for the next pull"
            )
        self._begin += seconds
        self._bytes = 0
