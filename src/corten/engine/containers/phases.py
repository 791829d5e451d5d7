"""How long the phases of a start took, in seconds by name. Phases that ran side by side overlap."""

from __future__ import annotations

import time


class Phases:
    __slots__ = ("_begin", "seconds")

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._begin = time.perf_counter()

    def phase(self, name: str) -> _Phase:
        """What is done in its `with` block takes this phase's time."""
        return _Phase(self.seconds, name)

    def total(self) -> dict[str, float]:
        """All phases, and "total" from the making of this object to now; rounded to microseconds."""
        self.seconds["total"] = time.perf_counter() - self._begin
        return {name: round(seconds, 6) for name, seconds in self.seconds.items()}


class _Phase:
    __slots__ = ("_begin", "_name", "_seconds")

    def __init__(self, seconds: dict[str, float], name: str) -> None:
        self._seconds = seconds
        self._name = name

    def __enter__(self) -> None:
        self._begin = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        took = time.perf_counter() - self._begin
        self._seconds[self._name] = self._seconds.get(self._name, 0.0) + took
