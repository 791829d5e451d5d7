"""A place in a file."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Span:
    """First and last line, both from 1, and the column, in characters from 1, in the first line."""

    line: int
    column: int = 1
    end: int = 0

    def __post_init__(self) -> None:
        if self.end < self.line:
            object.__setattr__(self, "end", self.line)
