"""How long the phases of a start took, in seconds by name. Phases that ran side by side overlap."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Phases:
    __slots__ = ("_begin", "seconds")

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._begin = time.perf_counter()

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        begin = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - begin

    def total(self) -> dict[str, float]:
        """All phases, and "total" from the making of this object to now; rounded to microseconds."""
        self.seconds["total"] = time.perf_counter() - self._begin
        return {name: round(seconds, 6) for name, seconds in self.seconds.items()}
