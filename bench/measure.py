"""Take turns at the same work, and what the clock said.

Subjects alternate (A B A B, never A A B B), so that whatever else the machine does falls on all of them alike. A
subject that fails leaves the race with its reason; the others go on.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

REST = 0.2  # seconds; an engine clears up after its answer, and the next one's clock must not pay for that


class Failed(Exception):
    """A subject could not do the work; the message is one line that says which step and why."""


@dataclass(frozen=True, slots=True)
class Subject:
    """One contestant: `act` is timed, `before` and `after` are not. `absent` says why there is nothing to time."""

    name: str
    act: Callable[[], object] | None = None
    before: Callable[[], object] | None = None
    after: Callable[[], object] | None = None
    absent: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """What one subject showed, in the table's unit; without values the remark says why."""

    name: str
    values: tuple[float, ...] = ()
    remark: str = ""

    @property
    def median(self) -> float:
        return statistics.median(self.values)


@dataclass(frozen=True, slots=True)
class Target:
    """At most `limit` of `unit`, or, where `base` names a row, at most that part of it."""

    row: str
    limit: float
    base: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """One work's rows. Ratios are to the row named `base`; `note` says what was done, for a reader."""

    title: str
    rows: tuple[Row, ...]
    base: str
    targets: tuple[Target, ...] = ()
    unit: str = "ms"
    note: str = ""

    def row(self, name: str) -> Row | None:
        return next((row for row in self.rows if row.name == name), None)

    def ratio(self, row: Row, base: str = "") -> float | None:
        """The row's median to the base's; None where either has no values."""
        other = self.row(base or self.base)
        if other is None or not other.values or not row.values or other.median == 0:
            return None
        return row.median / other.median

    def target(self, row: Row) -> Target | None:
        return next((target for target in self.targets if target.row == row.name), None)

    def reached(self, row: Row) -> bool | None:
        """Whether the row's target was reached; None where it has none or nothing to compare with."""
        target = self.target(row)
        if target is None or not row.values:
            return None
        if not target.base:
            return row.median <= target.limit
        ratio = self.ratio(row, target.base)
        return None if ratio is None else ratio <= target.limit


def alternate(subjects: Sequence[Subject], runs: int, warm_up: int = 1, rest: float = REST) -> tuple[Row, ...]:
    """Let every subject do its work `runs` times in turn, after `warm_up` turns that do not count; milliseconds.

    Between two turns is a `rest` of seconds.
    """
    values: dict[str, list[float]] = {subject.name: [] for subject in subjects}
    remarks = {subject.name: subject.absent for subject in subjects}
    for turn in range(-warm_up, runs):
        for subject in subjects:
            if remarks[subject.name]:
                continue
            try:
                time.sleep(rest)
                took = _one(subject)
            except (Failed, OSError) as error:
                remarks[subject.name] = f"failed: {error}"
                continue
            if turn >= 0:
                values[subject.name].append(took)
    return tuple(_row(name, values[name], remarks[name]) for name in values)


def _row(name: str, values: Sequence[float], remark: str) -> Row:
    """A subject that failed on the way keeps no figure: half a series would be compared with whole ones."""
    return Row(name, () if remark else tuple(values), remark)


def _one(subject: Subject) -> float:
    assert subject.act is not None
    if subject.before:
        subject.before()
    begin = time.perf_counter()
    subject.act()
    took = (time.perf_counter() - begin) * 1000
    if subject.after:
        subject.after()
    return took
