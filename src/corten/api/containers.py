"""/containers: what is asked with one call and answered with one object."""

from __future__ import annotations

from aiohttp import web

from corten.api import container_files, container_streams
from corten.api.call import Call, empty, encode_line, json_answer
from corten.api.routes import Route
from corten.api.shapes import container_config, inspect_for
from corten.api.versions import STOP_SIGNAL, WAIT_FLUSHES
from corten.engine.containers import create as container_create
from corten.engine.containers import inspect as container_inspect
from corten.engine.containers import list as container_list
from corten.engine.containers import pause as container_pause
from corten.engine.containers import remove as container_remove
from corten.engine.containers import rename as container_rename
from corten.engine.containers import restart as container_restart
from corten.engine.containers import start as container_start
from corten.engine.containers import stop as container_stop
from corten.engine.containers import top as container_top
from corten.engine.containers import update as container_update
from corten.engine.containers import wait as container_wait
from corten.engine.containers.attach import resize as resize_container
from corten.engine.containers.container import Container
from corten.engine.containers.held import held
from corten.engine.containers.sizes import sizes
from corten.errors import Invalid
from corten.spec.docker.config import CreateRequest
from corten.spec.docker.host_config import UpdateConfig
from corten.spec.json import Json
from corten.tasks.contract import Exit

TIMING = "X-Corten-Timing"


def named(call: Call) -> Container:
    """The container of the path. Raises NotFound."""
    return call.engine.containers.get(call.path["id"])


async def list_containers(call: Call) -> web.StreamResponse:
    limit = call.integer("limit", 0) or 0
    containers = call.engine.containers
    shown = container_list.shown(containers, call.flag("all"), limit, call.filters())
    if call.flag("size"):
        for summary in shown:
            if (container := containers.by_id.get(summary["Id"])) is not None:
                summary |= await sizes(containers.stores, container)
        shown = [summary for summary in shown if summary["Id"] in containers.by_id]
    return json_answer(shown)


async def create(call: Call) -> web.StreamResponse:
    config, host_config, networking = container_config(await call.body(CreateRequest), call.version)
    container, warnings = await container_create.create(
        call.engine.containers, call.text("name"), config, host_config, networking, call.text("platform")
    )
    return json_answer({"Id": container.id, "Warnings": warnings}, 201)


async def inspect(call: Call) -> web.StreamResponse:
    container = named(call)
    shown = container_inspect.inspect(call.engine.containers, container, call.version)
    if call.flag("size"):
        shown |= await sizes(call.engine.containers.stores, container)
    return json_answer(inspect_for(call.version, shown))


async def start(call: Call) -> web.StreamResponse:
    timing = await container_start.start(call.engine.containers, named(call))
    return empty(204, {TIMING: encode_line(timing).decode().strip()})


async def stop(call: Call) -> web.StreamResponse:
    await container_stop.stop(call.engine.containers, named(call), call.integer("t"), _signal(call))
    return empty()


async def restart(call: Call) -> web.StreamResponse:
    timing = await container_restart.restart(call.engine.containers, named(call), call.integer("t"), _signal(call))
    return empty(204, {TIMING: encode_line(timing).decode().strip()})


def _signal(call: Call) -> str:
    return call.text("signal") if call.version >= STOP_SIGNAL else ""


async def kill(call: Call) -> web.StreamResponse:
    await container_stop.kill(call.engine.containers, named(call), call.text("signal"))
    return empty()


async def pause(call: Call) -> web.StreamResponse:
    await container_pause.pause(call.engine.containers, named(call))
    return empty()


async def unpause(call: Call) -> web.StreamResponse:
    await container_pause.unpause(call.engine.containers, named(call))
    return empty()


async def rename(call: Call) -> web.StreamResponse:
    await container_rename.rename(call.engine.containers, named(call), call.text("name"))
    return empty()


async def update(call: Call) -> web.StreamResponse:
    warnings = await container_update.update(call.engine.containers, named(call), await call.body(UpdateConfig))
    return json_answer({"Warnings": warnings})


async def resize(call: Call) -> web.StreamResponse:
    rows, columns = size_of_terminal(call)
    await resize_container(call.engine.containers, named(call), rows, columns)
    return web.Response(status=200)


def size_of_terminal(call: Call) -> tuple[int, int]:
    rows, columns = call.integer("h"), call.integer("w")
    if rows is None or columns is None or not (0 <= rows < 65536 and 0 <= columns < 65536):
        raise Invalid("the terminal's size has to be given: h and w, in characters")
    return rows, columns


async def top(call: Call) -> web.StreamResponse:
    return json_answer(await container_top.top(call.engine.containers, named(call), call.text("ps_args")))


async def wait(call: Call) -> web.StreamResponse:
    """The head goes out at once: clients start the container when they have it."""
    condition = container_wait.condition(call.text("condition"))
    found = call.engine.containers.get_ended(call.path["id"])
    if isinstance(found, Exit):
        return json_answer(_ended(found))
    future = container_wait.future(found, condition)
    try:
        if call.version < WAIT_FLUSHES:
            return json_answer({"StatusCode": (await future).status})
        answer = await container_streams.begin(call, "application/json")
        with held(call.engine.containers.changing, found, condition, call.descriptor):
            exit = await future
    finally:
        future.cancel()
    await answer.write_eof(encode_line(_ended(exit)))
    return answer


def _ended(exit: Exit) -> Json:
    return {"StatusCode": exit.status, **({"Error": {"Message": exit.error}} if exit.error else {})}


async def remove(call: Call) -> web.StreamResponse:
    await container_remove.remove(
        call.engine.containers, named(call), call.flag("force"), call.flag("v"), call.flag("link")
    )
    return empty()


async def prune(call: Call) -> web.StreamResponse:
    filters = call.filters()
    until = container_remove.until_of(filters)
    removed, freed = await container_remove.prune(call.engine.containers, filters, until)
    return json_answer({"ContainersDeleted": removed or None, "SpaceReclaimed": freed})


ROUTES = (
    Route("GET", "/containers/json", list_containers),
    Route("POST", "/containers/create", create),
    Route("POST", "/containers/prune", prune),
    Route("GET", "/containers/{id}/json", inspect),
    Route("POST", "/containers/{id}/start", start),
    Route("POST", "/containers/{id}/stop", stop),
    Route("POST", "/containers/{id}/restart", restart),
    Route("POST", "/containers/{id}/kill", kill),
    Route("POST", "/containers/{id}/pause", pause),
    Route("POST", "/containers/{id}/unpause", unpause),
    Route("POST", "/containers/{id}/rename", rename),
    Route("POST", "/containers/{id}/update", update),
    Route("POST", "/containers/{id}/resize", resize),
    Route("GET", "/containers/{id}/top", top),
    Route("POST", "/containers/{id}/wait", wait, stream=True),
    Route("DELETE", "/containers/{id}", remove),
    *container_streams.ROUTES,
    *container_files.ROUTES,
)
