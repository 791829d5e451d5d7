"""What a guest's agent is asked, and its answers: by number, with an end to how long one is waited for."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from corten.errors import Conflict, Corrupt, CortenError, Exhausted, Failed, Silent, Unavailable
from corten.supervisor.loop import Loop
from corten.vm import answers
from corten.vm.channel import Channel

PATIENCE = 8.0  # seconds for an answer: a daemon waits for ten, and what it asks meanwhile has to wait for this
IMPATIENCE = 1.0  # the same, while an earlier answer is overdue
_MOST_PENDING = 1000  # requests without an answer


class GuestRequests:
    """`stalled` says whether the machine stands still for want of room on the host's disk.

    channel   where they are sent; None until there is a machine
    reason    why nothing more comes (`end`), "" until then
    started   whether the container has run
    overdue   requests that nothing waits for any more, and when they were asked
    """

    def __init__(self, loop: Loop, stalled: Callable[[], bool]) -> None:
        self._loop, self._stalled = loop, stalled
        self.channel: Channel | None = None
        self.reason = ""
        self.started = False
        self.overdue: dict[int, float] = {}
        self._next = 1
        self._pending: dict[int, Callable[[answers.Answer], None] | None] = {}

    def send(self, do: str, then: Callable[[answers.Answer], None] | None, **fields: Any) -> int:
        """Ask; `then` gets the answer, None: it does not matter. The request's number."""
        if self.channel is None or self.reason:
            raise self._gone()
        if len(self._pending) >= _MOST_PENDING:
            raise Unavailable("the guest does not answer")
        number, self._next = self._next, self._next + 1
        self.channel.send({"id": number, "do": do, **fields})
        self._pending[number] = then
        return number

    def ask(self, do: str, patience: float | None = None, **fields: Any) -> Any:
        """The answer. Raises what the guest answers, Unavailable when it does not, `_gone` when it ends first. Streams
        go on meanwhile."""
        found: list[answers.Answer] = []
        number = self.send(do, found.append, **fields)
        if patience is None:
            patience = IMPATIENCE if self.overdue else PATIENCE
        asked = time.monotonic()
        deadline = asked + patience
        while not found and not self.reason:
            if (left := deadline - time.monotonic()) <= 0:
                self._pending[number] = None
                self.overdue[number] = asked
                raise self._silence(do)
            self._loop.step(left)
        if not found:
            raise self._gone()
        if found[0].error is not None:
            raise found[0].error
        return found[0].ok

    def _gone(self) -> CortenError:
        """A container whose guest is gone does not run; one that never ran has failed."""
        words = f"the guest is gone: {self.reason or 'it was never there'}"
        return Conflict(words) if self.started else Failed(words)

    def _silence(self, do: str) -> CortenError:
        if self._stalled():
            return Exhausted("the guest stands still until there is room on the disk of the host: it is full")
        return Silent(f"the guest does not answer: {do}")

    def answered(self, said: answers.Answer) -> None:
        if said.number not in self._pending:
            raise Corrupt("an answer to nothing")
        self.overdue.pop(said.number, None)
        if then := self._pending.pop(said.number):
            then(said)

    def end(self, reason: str) -> None:
        """Nothing more comes. Of several reasons the first one counts."""
        self.reason = self.reason or reason

    def forget(self) -> None:
        """What was asked gets no answer."""
        self._pending = {}
