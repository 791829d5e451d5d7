"""What every runtime answers to a supervisor."""

from __future__ import annotations

from typing import NamedTuple


class Created(NamedTuple):
    """A container whose program has not been executed yet. The caller owns pidfd and console (-1: no terminal)."""

    pid: int
    pidfd: int
    console: int
    timing: dict[str, float]
    warnings: tuple[str, ...]
