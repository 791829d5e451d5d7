"""GET /events."""

from __future__ import annotations

from aiohttp import web

from corten.aio.sources import closing
from corten.api.call import Call, encode_line
from corten.api.routes import Route
from corten.api.streams import begin
from corten.engine.events import matcher
from corten.errors import Invalid
from corten.units.durations import SECOND


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
            await answer.write(encode_line(event))
    await answer.write_eof()
    return answer


ROUTES = (Route("GET", "/events", events, stream=True),)
