"""What this room needs of a process that outlives the daemon."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from corten.spec.json import Json


class LongLived(Protocol):
    """The process, whose messages are those of its `server` in the room `supervisor`."""

    async def reach(
        self, start: bool, on_lost: Callable[[], None], on_event: Callable[[Json], None] = ...
    ) -> Json | None:
        """Connect to the one that runs, or start one with `start`. Its hello, with what it serves already; None
        when there is none, or when this daemon is connected to it.

        `on_lost` is called when the process has exited, and with it what it had been sent; `on_event` with what it
        sends later.
        """

    @property
    def reached(self) -> bool: ...

    def send(self, message: Json, fds: Sequence[int] = ()) -> None:
        """Without an answer; the descriptors stay the caller's."""

    def close(self) -> None:
        """Disconnect; it goes on."""
