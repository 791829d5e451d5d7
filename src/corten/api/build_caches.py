"""/build/caches: directories of `RUN --mount=type=cache`; an addition of ours.

    GET    /build/caches                    a list: {ID, Size, LastUsedAt, InUse, Number}
    GET    /build/caches/tar?id=            one as a tar, with owners, modes and times
    PUT    /build/caches/tar?id=&replace=   make one of a tar, plain or compressed; 1: in the place of what is there
    DELETE /build/caches?id=                remove it

An id is that of the mount (`id=`, else its target). `Number` is above 0 for what mounts with `sharing=private` have had
beside one another; those are listed and removed, and the first is what is read and made.
"""

from __future__ import annotations

from aiohttp import web

from corten.api.call import Call, empty, json_answer, upload
from corten.api.routes import Route
from corten.api.streams import begin, pieces
from corten.build.work.caches import CacheDirectory
from corten.errors import Invalid, NotFound
from corten.spec.docker import times
from corten.spec.json import Json


async def listed(call: Call) -> web.StreamResponse:
    found = sorted(await call.builds.cache_mounts.every(), key=lambda each: (each.id, each.name))
    return json_answer([_shown(each) for each in found])


def _shown(found: CacheDirectory) -> Json:
    return {
        "ID": found.id,
        "Size": found.bytes,
        "LastUsedAt": times.of_seconds(found.used),
        "InUse": found.in_use,
        "Number": int(found.name.partition("/")[2]),
    }


async def exported(call: Call) -> web.StreamResponse:
    async with call.builds.cache_mounts.export(_id(call)) as data:
        return await pieces(await begin(call, "application/x-tar"), data)


async def seeded(call: Call) -> web.StreamResponse:
    await call.builds.cache_mounts.seed(_id(call), upload(call.request), call.flag("replace"))
    return empty(201)


async def removed(call: Call) -> web.StreamResponse:
    mounts, id = call.builds.cache_mounts, _id(call)
    found = [each for each in await mounts.every() if each.id == id]
    if not found:
        raise NotFound(f"no such cache: {id}")
    for each in found:
        await mounts.remove(each)
    return empty()


def _id(call: Call) -> str:
    if not (id := call.text("id")):
        raise Invalid("id is missing: that of the mount, or its target")
    return id


ROUTES = (
    Route("GET", "/build/caches", listed),
    Route("GET", "/build/caches/tar", exported, stream=True),
    Route("PUT", "/build/caches/tar", seeded),
    Route("DELETE", "/build/caches", removed),
)
