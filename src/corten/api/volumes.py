"""/volumes."""

from __future__ import annotations

import msgspec
from aiohttp import web

from corten.api.call import Call, empty, json_answer, typed
from corten.api.routes import Route
from corten.api.versions import PRUNE_NAMED_VOLUMES
from corten.engine.filters import Filters
from corten.engine.validate import keys
from corten.errors import Unsupported


class VolumeWish(msgspec.Struct):
    """Docker's VolumeCreateOptions."""

    Name: str | None = None
    Driver: str | None = None
    DriverOpts: dict[str, str] | None = None
    Labels: dict[str, str] | None = None


async def list_volumes(call: Call) -> web.StreamResponse:
    volumes = call.engine.volumes
    shown = [volumes.shown(volume) for volume in volumes.list(call.filters())]
    return json_answer({"Volumes": shown, "Warnings": None})


async def create(call: Call) -> web.StreamResponse:
    wish = typed(await call.body(keys.VOLUME, optional=True), VolumeWish)
    volumes = call.engine.volumes
    volume = volumes.create(wish.Name or "", wish.Driver or "", wish.DriverOpts, wish.Labels)
    return json_answer(volumes.shown(volume), 201)


async def inspect(call: Call) -> web.StreamResponse:
    volumes = call.engine.volumes
    return json_answer(volumes.shown(volumes.get(call.path["name"])))


async def remove(call: Call) -> web.StreamResponse:
    call.engine.volumes.remove(call.path["name"], call.flag("force"))
    return empty()


async def update(call: Call) -> web.StreamResponse:
    raise Unsupported("only cluster volumes can be updated, and this engine has none")


async def prune(call: Call) -> web.StreamResponse:
    filters = call.filters()
    if call.version < PRUNE_NAMED_VOLUMES:  # these versions knew no other way
        filters = Filters({**filters, "all": ["true"]})
    removed, space = await call.engine.volumes.prune(filters)
    return json_answer({"VolumesDeleted": removed or None, "SpaceReclaimed": space})


ROUTES = (
    Route("GET", "/volumes", list_volumes),
    Route("POST", "/volumes/create", create),
    Route("POST", "/volumes/prune", prune),
    Route("GET", "/volumes/{name}", inspect),
    Route("PUT", "/volumes/{name}", update),
    Route("DELETE", "/volumes/{name}", remove),
)
