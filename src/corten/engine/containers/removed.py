"""Exit codes of containers that --rm has removed, kept for those that wait too late.

`run -d --rm`, then `wait`: a short program has ended, and its container has gone, before the second request comes.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from typing import NamedTuple

from corten.tasks.contract import Exit

KEPT = 60.0  # seconds
MOST = 1000  # containers


class _Removed(NamedTuple):
    name: str
    exit: Exit
    at: float  # CLOCK_MONOTONIC


class Removed:
    """The last `MOST` of the last `KEPT` seconds, by id; oldest first. They do not outlive the daemon."""

    def __init__(self) -> None:
        self._all: OrderedDict[str, _Removed] = OrderedDict()

    def note(self, id: str, name: str, exit: Exit) -> None:
        self._all[id] = _Removed(name, exit, time.monotonic())
        self._forget_old()

    def find(self, reference: str) -> Exit | None:
        """How the container of this id, name or start of an id ended; the youngest when several were called so. None
        for one that is not known, and for the start of several ids."""
        self._forget_old()
        if found := self._all.get(reference):
            return found.exit
        name = reference.removeprefix("/")
        named = [one.exit for one in self._all.values() if one.name == name]
        if named:
            return named[-1]
        matches = [one.exit for id, one in self._all.items() if reference and id.startswith(reference)]
        return matches[0] if len(matches) == 1 else None

    def _forget_old(self) -> None:
        limit = time.monotonic() - KEPT
        while self._all and (len(self._all) > MOST or next(iter(self._all.values())).at < limit):
            self._all.popitem(last=False)
