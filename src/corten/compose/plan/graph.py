"""A graph of steps: operations, their causes, and the steps that have to be done before."""

from __future__ import annotations

import msgspec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from corten.compose.plan.operations import Operation


class Step(msgspec.Struct, frozen=True):
    """`number` counts from 1; all of `needs` are lower."""

    number: int
    operation: Operation
    cause: str
    needs: tuple[int, ...]

    def __str__(self) -> str:
        behind = f" after {', '.join(map(str, self.needs))}" if self.needs else ""
        return f"{self.number}. {self.operation}{behind}: {self.cause}"


class Graph(msgspec.Struct, frozen=True):
    """`warnings` are for the user, one line each."""

    steps: tuple[Step, ...] = ()
    warnings: tuple[str, ...] = ()

    def __str__(self) -> str:
        return "\n".join(str(step) for step in self.steps)

    def __iter__(self) -> Iterator[Step]:
        return iter(self.steps)


class Drawing:
    """A graph that is being made: a step can only be behind steps that are there, so there is no circle."""

    def __init__(self) -> None:
        self._steps: list[Step] = []
        self.warnings: list[str] = []

    def add(self, operation: Operation, cause: str, needs: Iterable[int] = ()) -> int:
        """The number of the step."""
        number = len(self._steps) + 1
        self._steps.append(Step(number, operation, cause, tuple(sorted(set(needs)))))
        return number

    def graph(self) -> Graph:
        return Graph(tuple(self._steps), tuple(self.warnings))
