"""/volumes."""

from __future__ import annotations

from aiohttp import web

from corten.api.call import Call, empty, json_answer
from corten.api.routes import Route
from corten.api.versions import PRUNE_NAMED_VOLUMES
from corten.engine.volumes import DISK
from corten.errors import Unsupported
from corten.spec.docker.filters import Filters
from corten.spec.docker.volume import VolumeCreate


async def list_volumes(call: Call) -> web.StreamResponse:
    volumes = call.engine.volumes
    shown = [volumes.shown(volume) for volume in volumes.list(call.filters())]
    return json_answer({"Volumes": shown, "Warnings": None})


async def create(call: Call) -> web.StreamResponse:
    asked = await call.body(VolumeCreate)
    volumes = call.engine.volumes
    if asked.driver == DISK:
        made = await call.machines.disks.create(asked.name, asked.driver_opts or {}, asked.labels)
        return json_answer(volumes.shown(made), 201)
    volume = volumes.create(asked.name, asked.driver, asked.driver_opts, asked.labels)
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
    # The one prune whose list is never null: `for name in answer["VolumesDeleted"]` is common.
    return json_answer({"VolumesDeleted": removed, "SpaceReclaimed": space})


ROUTES = (
    Route("GET", "/volumes", list_volumes),
    Route("POST", "/volumes/create", create),
    Route("POST", "/volumes/prune", prune),
    Route("GET", "/volumes/{name}", inspect),
    Route("PUT", "/volumes/{name}", update),
    Route("DELETE", "/volumes/{name}", remove),
)
