"""GET /events.

An event may have megabytes of labels, and hundreds of clients get it at once. It is made text once, and each connection
keeps a small part of it: what its client has not read yet is otherwise that many copies.
"""

from __future__ import annotations

from dataclasses import dataclass
from weakref import WeakValueDictionary

from aiohttp import web

from corten.aio.sources import closing
from corten.api.call import Call, encode_line
from corten.api.routes import Route
from corten.api.streams import begin
from corten.engine.events import matcher
from corten.errors import Invalid
from corten.spec.json import Json
from corten.units.durations import SECOND

_PART = 1 << 16  # bytes; what is more waits until the client has read


@dataclass(slots=True, eq=False, weakref_slot=True)
class _Line:
    event: Json  # the number by which the line is found is its own as long as it is there
    text: bytes


class Lines:
    """Events as text: that of the last one, and of those that a client is still being sent."""

    def __init__(self) -> None:
        self._known: WeakValueDictionary[int, _Line] = WeakValueDictionary()
        self._last: _Line | None = None

    def of(self, event: Json) -> _Line:
        line = self._known.get(id(event))
        if line is None:
            line = self._known[id(event)] = _Line(event, encode_line(event))
        self._last = line
        return line


_lines = Lines()


async def send(answer: web.StreamResponse, event: Json) -> None:
    line = _lines.of(event)
    for offset in range(0, len(line.text), _PART):
        await answer.write(line.text[offset : offset + _PART])


async def events(call: Call) -> web.StreamResponse:
    """One JSON object a line, each sent at once; the head goes out before the first event."""
    since, until, filters = call.moment("since"), call.moment("until"), call.filters()
    if since is not None and until is not None and until < since:
        raise Invalid(f"`since` time ({since // SECOND}) cannot be after `until` time ({until // SECOND})")
    matcher(filters)  # a bad filter is a 400, not a broken stream
    source = call.engine.events.listen(since, until, filters)
    answer = await begin(call, "application/json")
    async with closing(source):
        async for event in source:
            await send(answer, event)
    await answer.write_eof()
    return answer


ROUTES = (Route("GET", "/events", events, stream=True),)
