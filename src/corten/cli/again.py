"""Asking again: who waits for something of the daemon's goes on with the next one when that is restarted."""

from __future__ import annotations

import time

from corten.client.errors import ApiError, Broken, Unreachable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    from corten.errors import CortenError

    T = TypeVar("T")

PATIENCE = 60.0  # seconds for another daemon to come
PAUSE = 0.1  # seconds between two attempts
LOST = (Broken, Unreachable)  # how the end of a daemon shows; Unreachable where a command (ssh) leads to it
_SHUTTING_DOWN = 503


def again(ask: Callable[[], T], lost: CortenError, pause: Callable[[float], None] = time.sleep) -> T:
    """What `ask` answers as soon as there is a daemon that answers; it was asked before, and that ended with `lost`,
    one of LOST.

    Raises `lost` when no daemon comes in PATIENCE seconds, and what else `ask` raises. `pause` waits for so many
    seconds between two attempts.
    """
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return ask()
        except LOST:
            pass
        except ApiError as error:
            if error.status != _SHUTTING_DOWN:
                raise
        if time.monotonic() > deadline:
            raise lost
        pause(PAUSE)
