"""/containers: what is done to a container's file tree. Refused with 501 until the engine can do it safely."""

from __future__ import annotations

from aiohttp import web

from corten.api.call import Call
from corten.api.routes import Route
from corten.errors import Unsupported


async def archive(call: Call) -> web.StreamResponse:
    call.engine.containers.get(call.path["id"])
    raise Unsupported("copying to and from containers is not supported yet: use exec with tar, or a volume")


async def changes(call: Call) -> web.StreamResponse:
    call.engine.containers.get(call.path["id"])
    raise Unsupported("listing the changes of a container is not supported yet")


async def export(call: Call) -> web.StreamResponse:
    call.engine.containers.get(call.path["id"])
    raise Unsupported("exporting a container is not supported yet")


async def commit(call: Call) -> web.StreamResponse:
    call.engine.containers.get(call.text("container"))
    raise Unsupported("committing a container is not supported yet")


ROUTES = (
    Route("HEAD", "/containers/{id}/archive", archive),
    Route("GET", "/containers/{id}/archive", archive),
    Route("PUT", "/containers/{id}/archive", archive),
    Route("GET", "/containers/{id}/changes", changes),
    Route("GET", "/containers/{id}/export", export),
    Route("POST", "/commit", commit),
)
