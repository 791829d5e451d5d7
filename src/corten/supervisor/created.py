"""What every runtime answers to a supervisor."""

from __future__ import annotations

import socket
from typing import NamedTuple


class Created(NamedTuple):
    """A container whose program has not been executed yet. The caller owns the descriptors.

    `console` is the terminal's master, -1 without one; `null` the container's null device, for further processes; `oom`
    becomes readable when memory ran out, -1 when unknown.
    """

    pid: int
    pidfd: int
    console: int
    null: int
    timing: dict[str, float]
    warnings: tuple[str, ...]
    listener: socket.socket  # where daemons connect
    oom: int = -1
