"""A machine that QEMU has stopped at a write for which the host's disk has no room goes on when there is some.

Nothing of it is lost, and the machine notices nothing. One that a client has paused stays so: its state is another.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from corten.supervisor.loop import Loop

Json = dict[str, Any]

_AGAIN = 2.0  # seconds
_STATE = "io-error"  # of QEMU's RunState


class Asked(Protocol):
    """`machine_talk.Talk`."""

    def ask(
        self, command: str, arguments: Mapping[str, Any], fds: Sequence[int], reply: Callable[[Json], None]
    ) -> None: ...


class Stall:
    def __init__(self, loop: Loop, monitor: Asked) -> None:
        self._loop, self._monitor = loop, monitor
        self._waits = False

    def happened(self, name: str, data: Json) -> None:
        """An event of QEMU's. Of writes without room it stops the machine, of other errors the guest hears (werror)."""
        if name == "BLOCK_IO_ERROR" and data.get("action") == "stop" and not self._waits:
            self._waits = True
            self._loop.after(_AGAIN, self._look)

    def _look(self) -> None:
        self._waits = False
        self._monitor.ask("query-status", {}, (), self._go_on)

    def _go_on(self, answer: Json) -> None:
        status = answer.get("ok")
        if isinstance(status, dict) and status.get("status") == _STATE:
            self._monitor.ask("cont", {}, (), lambda _: None)  # without room the event comes again
