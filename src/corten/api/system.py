"""/_ping, /version, /info, /system/df, /auth."""

from __future__ import annotations

from aiohttp import web

from corten.api.call import Call, json_answer
from corten.api.routes import Route
from corten.api.shapes import info_for, usage_for
from corten.api.streams import progress
from corten.api.versions import DF_TYPES
from corten.errors import Invalid

_DF_TYPES = frozenset({"container", "image", "volume", "build-cache"})
_PING = {
    "Builder-Version": "2",  # BuildKit's session: docker's client asks for it unless DOCKER_BUILDKIT=0
    "Swarm": "inactive",
    "Cache-Control": "no-cache, no-store, must-revalidate",
    "Pragma": "no-cache",
}


async def ping(call: Call) -> web.StreamResponse:
    return web.Response(text="OK", headers=_PING, content_type="text/plain")


async def ping_head(call: Call) -> web.StreamResponse:
    return web.Response(headers={**_PING, "Content-Length": "0"}, content_type="text/plain")


async def version(call: Call) -> web.StreamResponse:
    return json_answer(call.engine.system.version())


async def info(call: Call) -> web.StreamResponse:
    return json_answer(info_for(call.version, await call.engine.system.info()))


async def disk_usage(call: Call) -> web.StreamResponse:
    types = frozenset(call.query.getall("type", [])) if call.version >= DF_TYPES else frozenset()
    for type in types - _DF_TYPES:
        raise Invalid(f"unknown object type: {type}")
    shown = await call.engine.system.disk_usage(types)
    if not types or "build-cache" in types:
        rows = [*await call.builds.usage(), *call.builds.past_usage()]
        shown["BuildCache"] = [row.to_json() for row in rows]
    return json_answer(usage_for(call.version, shown))


async def check(call: Call) -> web.StreamResponse:
    """POST /system/check, an addition of ours: messages as a pull has them, the report in the last one's `aux`."""
    from corten.storage.check import Check  # a daemon that is never checked does not carry it

    engine = call.engine
    root, store = engine.configuration.settings.data_root, engine.images.store
    check = Check(root, engine.containers, engine.volumes, store, engine.system.checking)
    messages = check.run(call.flag("repair"), call.flag("deep"), call.flag("items"))
    return await progress(call, messages)


ROUTES = (
    Route("GET", "/_ping", ping),
    Route("HEAD", "/_ping", ping_head),
    Route("GET", "/version", version),
    Route("GET", "/info", info),
    Route("GET", "/system/df", disk_usage),
    Route("POST", "/system/check", check, stream=True),
)
