"""Waits of tests: none fails because a machine is slow. Each has all of `PATIENCE`, however long others took before it.

until(lambda: state(cli, "web")["Status"] == "exited")
until(lambda: logged("web"), lambda text: "up" in text)      # answers the text
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

PATIENCE = 90.0  # seconds for one thing: an emulated guest's, on two processors that have much else to do
LIMIT = 900  # seconds for a whole test in guests, in which many things are waited for
_PAUSE = 0.02

Seen = TypeVar("Seen")


def until(look: Callable[[], Seen], enough: Callable[[Seen], object] = bool) -> Seen:
    """What `look` sees when that is enough. AssertionError with what it saw last."""
    deadline = time.monotonic() + PATIENCE
    while not enough(seen := look()):
        assert time.monotonic() < deadline, f"not after {PATIENCE:.0f} s; seen last: {seen!r}"
        time.sleep(_PAUSE)
    return seen
