"""What a build said, as lines of JSON: [KIND, EVENT]. Bounded; what is clipped is said."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace

import msgspec

from corten.build.contract import ClassicText, Event, Log, Status, Vertex, Warning

_KINDS: dict[str, type[Vertex | Status | Log | Warning]] = {
    kind.__name__: kind for kind in (Vertex, Status, Log, Warning)
}
_MOST = 1 << 20  # bytes of output
_ALL = 3 << 20  # bytes of all lines
_Line = tuple[str, msgspec.Raw]


class BuildLog:
    """Takes events while there are any, and counts: vertices that there are, that are done, and were there already."""

    def __init__(self) -> None:
        self._vertices: dict[str, Vertex] = {}
        self.done = self.cached = self.warnings = 0
        self._lines: list[bytes] = []
        self._size = self._output = 0

    def add(self, event: Event) -> None:
        match event:
            case ClassicText() | Status(completed=0):  # the same is said by others
                return
            case Vertex():
                self._count(event)
            case Log():
                self._log(event)
                return
            case Status():
                event = replace(event, at=event.at or time.time())
            case Warning():
                self.warnings += 1
        self._put(event)

    @property
    def total(self) -> int:
        return len(self._vertices)

    def _count(self, event: Vertex) -> None:
        before = self._vertices.get(event.digest, Vertex("", ""))
        self._vertices[event.digest] = event
        self.done += bool(event.completed) - bool(before.completed)
        self.cached += event.cached - before.cached

    def _log(self, event: Log) -> None:
        if self._output > _MOST:
            return
        self._output += len(event.data)
        if self._output > _MOST:
            event = replace(event, stream=2, data=b"[output clipped: there is more than 1 MiB of it]\n")
        self._put(replace(event, at=event.at or time.time()))

    def _put(self, event: Vertex | Status | Log | Warning) -> None:
        line = msgspec.json.encode([type(event).__name__, event])
        if self._size + len(line) <= _ALL:
            self._size += len(line) + 1
            self._lines.append(line)

    def encoded(self) -> bytes:
        return b"".join(line + b"\n" for line in self._lines)


def events(data: bytes) -> Iterator[Event]:
    """Of what was encoded. Ends where it is cut off or damaged."""
    for line in data.splitlines():
        try:
            kind, body = msgspec.json.decode(line, type=_Line)
            yield msgspec.json.decode(body, type=_KINDS[kind])
        except (msgspec.DecodeError, KeyError):
            return
