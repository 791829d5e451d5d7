"""/build/history: the builds that were; an addition of ours.

    GET    /build/history               a list, newest first
    GET    /build/history/REF           one of it
    GET    /build/history/REF/logs      what it said, as lines of JSON (`api.traces`)
    GET    /build/history/REF/attached  what was attested of it; ?type= begins as the type of the predicate does
    POST   /build/history/REF/pin       keep it until it is removed; with ?pinned=0 no longer
    DELETE /build/history/REF           remove it

REF is a build's reference, or the unique start of one.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from aiohttp import web

from corten.api.call import Call, empty, encode_line, json_answer
from corten.api.routes import Route
from corten.api.streams import begin, pieces
from corten.api.traces import traced
from corten.build.contract import Event
from corten.errors import NotFound
from corten.spec.docker import times
from corten.spec.json import Json

if TYPE_CHECKING:
    from corten.build.history.record import BuildRecord


async def listed(call: Call) -> web.StreamResponse:
    return json_answer([shown(record) for record in call.builds.history.all()])


async def inspected(call: Call) -> web.StreamResponse:
    return json_answer(shown(_found(call)))


async def logs(call: Call) -> web.StreamResponse:
    events = await call.builds.history.events(_found(call))
    return await pieces(await begin(call, "application/json"), _lines(events))


async def attached(call: Call) -> web.StreamResponse:
    record, kind = _found(call), call.text("type")
    for each in record.attached:
        if each.type.startswith(kind) and (body := await call.builds.history.attached(each.digest)) is not None:
            return web.Response(body=body, content_type="application/json")
    raise NotFound(f"nothing of the type {kind[:200]!r} was attested of build {record.ref}")


async def pin(call: Call) -> web.StreamResponse:
    call.builds.history.pin(_found(call), call.flag("pinned", True))
    return empty()


async def removed(call: Call) -> web.StreamResponse:
    call.builds.history.remove(_found(call))
    return empty()


def _found(call: Call) -> BuildRecord:
    return call.builds.history.find(call.path["ref"])


async def _lines(events: list[Event]) -> AsyncIterator[bytes]:
    for event in events:
        yield encode_line(traced(event))


def shown(record: BuildRecord) -> Json:
    return {
        "Ref": record.ref,
        "State": record.state,
        "Frontend": record.frontend,
        "Attributes": record.attributes,
        "Outputs": [{"Type": each.type, "Attrs": each.attributes} for each in record.outputs],
        "CreatedAt": times.of_seconds(record.created),
        "CompletedAt": times.of_seconds(record.completed) if record.completed else "",
        "Steps": {"Total": record.total, "Completed": record.done, "Cached": record.cached},
        "Warnings": record.warnings,
        "Error": record.error,
        "Image": record.image,
        "Digest": record.result.digest if record.result is not None else "",
        "Attached": [{"Type": each.type, "Digest": each.digest, "Size": each.size} for each in record.attached],
        "Answer": record.answer,
        "Pinned": record.pinned,
        "Bytes": record.bytes,
    }


ROUTES = (
    Route("GET", "/build/history", listed),
    Route("GET", "/build/history/{ref}", inspected),
    Route("GET", "/build/history/{ref}/logs", logs, stream=True),
    Route("GET", "/build/history/{ref}/attached", attached),
    Route("POST", "/build/history/{ref}/pin", pin),
    Route("DELETE", "/build/history/{ref}", removed),
)
