"""Tables of what happens at which path of a project: "services.*.ports" and a function."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Generic, TypeVar

T = TypeVar("T")


class Rules(Generic[T]):
    """A point in a table: `found` is what stands for this path, `step(key)` goes down.

    "*" in the table is any key and any index of a list. A path that no rule begins with is `EMPTY` all the way down.
    """

    __slots__ = ("_next", "found")

    def __init__(self, table: Mapping[str, T] | None = None) -> None:
        self.found: T | None = None
        self._next: dict[str, Rules[T]] = {}
        for pattern, value in (table or {}).items():
            point = self
            for part in pattern.split("."):
                point = point._next.setdefault(part, Rules())
            point.found = value
        if table is not None:
            self._spread()

    def _spread(self) -> None:
        """Let what stands below "*" stand below the keys that are named beside it."""
        anywhere = self._next.get("*")
        if anywhere is not None:
            for key, point in self._next.items():
                if key != "*":
                    point._take(anywhere)
        for point in self._next.values():
            point._spread()

    def _take(self, other: Rules[T]) -> None:
        self.found = other.found if self.found is None else self.found
        for key, point in other._next.items():
            self._next.setdefault(key, Rules())._take(point)

    def step(self, key: str) -> Rules[T]:
        return self._next.get(key) or self._next.get("*") or EMPTY

    @property
    def empty(self) -> bool:
        """Whether nothing stands here or below."""
        return self.found is None and not self._next


EMPTY: Rules = Rules()  # type: ignore[type-arg]
