"""/containers: what is done to a container's file tree; and /commit."""

from __future__ import annotations

import base64

from aiohttp import web

from corten.api.call import Call, encode, json_answer, upload
from corten.api.routes import Route
from corten.api.streams import begin, pieces, whole_or_pieces
from corten.engine.containers import commit as container_commit
from corten.images.commit import Request
from corten.spec.docker import times
from corten.spec.docker.config import Config
from corten.spec.json import Json

_STAT = "X-Docker-Container-Path-Stat"


def _stat_header(found: Json) -> dict[str, str]:
    shown = {**found, "mtime": times.rfc3339(found["mtime"])}
    return {_STAT: base64.b64encode(encode(shown)).decode()}


async def look(call: Call) -> web.StreamResponse:
    container = call.engine.containers.get(call.path["id"])
    found = await call.engine.trees.look(container, call.file_name("path"))
    return web.Response(headers=_stat_header(found))


async def fetch(call: Call) -> web.StreamResponse:
    container = call.engine.containers.get(call.path["id"])
    async with call.engine.trees.fetch(container, call.file_name("path")) as (found, data):
        return await pieces(await begin(call, "application/x-tar", _stat_header(found)), data)


async def put(call: Call) -> web.StreamResponse:
    container = call.engine.containers.get(call.path["id"])
    strict, owners = call.flag("noOverwriteDirNonDir"), call.flag("copyUIDGID")
    await call.engine.trees.put(container, call.file_name("path"), upload(call.request), strict, owners)
    return web.Response()


async def changes(call: Call) -> web.StreamResponse:
    container = call.engine.containers.get(call.path["id"])
    async with call.engine.trees.changes(container) as data:
        return await whole_or_pieces(call, "application/json", data)


async def export(call: Call) -> web.StreamResponse:
    container = call.engine.containers.get(call.path["id"])
    async with call.engine.trees.export(container) as data:
        return await pieces(await begin(call, "application/octet-stream"), data)


async def commit(call: Call) -> web.StreamResponse:
    container = call.engine.containers.get(call.text("container"))
    wanted = Request(
        repo=call.text("repo"),
        tag=call.text("tag"),
        author=call.text("author"),
        comment=call.text("comment"),
        changes=tuple(line for text in call.query.getall("changes", []) for line in text.split("\n") if line.strip()),
        pause=call.flag("pause", True),
        config=await call.body(Config, optional=True),
    )
    return json_answer(
        {"Id": await container_commit.commit(call.engine.containers, call.engine.trees, container, wanted)}, 201
    )


ROUTES = (
    Route("HEAD", "/containers/{id:all}/archive", look),
    Route("GET", "/containers/{id:all}/archive", fetch, stream=True),
    Route("PUT", "/containers/{id:all}/archive", put, stream=True),
    Route("GET", "/containers/{id:all}/changes", changes, stream=True),
    Route("GET", "/containers/{id:all}/export", export, stream=True),
    Route("POST", "/commit", commit),
)
