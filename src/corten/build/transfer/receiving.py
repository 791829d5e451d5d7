"""The receiving side of a transfer, whatever carries it: what a client says is in its directory, what of that is asked
for, and what comes.

    Receiver.entry ──> Sink.entry ──> True: to be asked for ──> Sink.data ... Sink.end
    Receiver.walked                                                     all here: Sink.done
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from corten.build.transfer.walk import ENTRIES, TYPES, Walk
from corten.errors import Invalid
from corten.spec.protobuf.session import Stat

BYTES = 128 << 30
STATS = 256 << 20  # bytes of all names, links and attributes, which are in memory until their files have come
_OPEN = 64  # files whose content is under way; clients have four


class Sink(Protocol):
    """What keeps a tree. It raises CortenError or OSError, and is not called again then."""

    def entry(self, number: int, stat: Stat) -> bool:
        """The next of the walk; whether its content is wanted, which is asked only of a regular file."""

    def attributes(self, number: int, given: Mapping[str, bytes]) -> None:
        """Of a file whose content comes, before it has ended."""

    def data(self, number: int, piece: bytes | memoryview) -> None: ...

    def end(self, number: int) -> None: ...

    def done(self) -> None:
        """Everything is here."""


class Receiver:
    """Entries count from 0. What was not asked for is refused, and more of anything than there may be: all raise
    Invalid, and what the sink raises. `complete`: all is here, and the sink knows it."""

    def __init__(self, sink: Sink, entries: int = ENTRIES, most: int = BYTES, stats: int = STATS) -> None:
        self._sink = sink
        self._walk = Walk(entries)
        self._left, self._stats_left = most, stats
        self._walked = False
        self._wanted: set[int] = set()
        self._open: set[int] = set()
        self.complete = False
        self.received = 0  # bytes of contents

    def entry(self, stat: Stat, size: int) -> int | None:
        """The number to ask for it by, or None. `size`: bytes in which it was said."""
        if self._walked:
            raise Invalid("the sender of the context went on behind its end")
        self._said(size)
        at = self._walk.next(stat)
        wants = self._sink.entry(at, stat)
        if not wants or stat.mode & TYPES or stat.link:
            return None
        self._wanted.add(at)
        return at

    def walked(self) -> None:
        """There are no more entries."""
        self._walked = True

    def attributes(self, at: int, given: Mapping[str, bytes]) -> None:
        """Where they come with the content."""
        self.data(at, b"")
        self._said(sum(len(name) + len(value) for name, value in given.items()))
        self._sink.attributes(at, given)

    def _said(self, size: int) -> None:
        self._stats_left -= size
        if self._stats_left < 0:
            raise Invalid("the context has too much of names, links and attributes")

    def data(self, at: int, content: bytes | memoryview) -> None:
        if at not in self._wanted:
            raise Invalid(f"the sender of the context sent the file {at}, which was not asked for")
        if at not in self._open:
            if len(self._open) >= _OPEN:
                raise Invalid(f"the sender of the context sent more than {_OPEN} files at a time")
            self._open.add(at)
        self.received += len(content)
        self._left -= len(content)
        if self._left < 0:
            raise Invalid("the context is too large")
        if content:
            self._sink.data(at, content)

    def end(self, at: int) -> None:
        """All of a file has come."""
        self.data(at, b"")
        self._sink.end(at)
        self._open.discard(at)
        self._wanted.discard(at)

    def finish(self) -> bool:
        """Whether this was the last: to be asked when something came."""
        if self._walked and not self._wanted and not self.complete:
            self._sink.done()
            self.complete = True
        return self.complete
