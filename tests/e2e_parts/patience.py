"""Waits of tests: none fails because a machine is slow. Each has all of `PATIENCE`, however long others took before it.

until(lambda: state(cli, "web")["Status"] == "exited")
until(lambda: logged("web"), lambda text: "up" in text)      # answers the text

Where how long something takes is itself the promise, it is compared with what goes on beside it:

took, answer = longer(lambda: silent.ask("POST", stop), lambda: other.get("/_ping"))
assert took < 15
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from typing import TypeVar

PATIENCE = 90.0  # seconds for one thing: an emulated guest's, on two processors that have much else to do
LIMIT = 900  # seconds for a whole test in guests, in which many things are waited for
_PAUSE = 0.02
_BETWEEN = 0.2  # seconds, so that what is done beside takes little of the machine itself

Seen = TypeVar("Seen")


def until(look: Callable[[], Seen], enough: Callable[[Seen], object] = bool) -> Seen:
    """What `look` sees when that is enough. AssertionError with what it saw last."""
    deadline = time.monotonic() + PATIENCE
    while not enough(seen := look()):
        assert time.monotonic() < deadline, f"not after {PATIENCE:.0f} s; seen last: {seen!r}"
        time.sleep(_PAUSE)
    return seen


def longer(work: Callable[[], Seen], beside: Callable[[], object]) -> tuple[float, Seen]:
    """Seconds that `work` takes longer than `beside`, and what it answers.

    `beside` is something of the kind that has nothing to wait for. It is done over and over meanwhile, and the slowest
    time counts: on a machine that is busy both take longer, and the difference says what `work` has waited for.
    """
    with ThreadPoolExecutor(1) as pool:
        working = pool.submit(_timed, work)
        slowest, _ = _timed(beside)
        while not wait([working], _BETWEEN).done:
            slowest = max(slowest, _timed(beside)[0])
    took, seen = working.result()
    return took - slowest, seen


def _timed(work: Callable[[], Seen]) -> tuple[float, Seen]:
    begun = time.monotonic()
    seen = work()
    return time.monotonic() - begun, seen
