"""/containers: what is asked with one call and answered with one object."""

from __future__ import annotations

from aiohttp import web

from corten.api import container_files, container_streams
from corten.api.call import Call, empty, encode_line, json_answer
from corten.api.requests import asked, updating
from corten.api.routes import Route
from corten.api.shapes import container_for, exit_for, row_for
from corten.api.versions import PLATFORM_AT_CREATE, STOP_SIGNAL, WAIT_FLUSHES
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
from corten.errors import Invalid, Unsupported
from corten.spec.docker.create import CreateRequest
from corten.spec.docker.host_config import UpdateConfig
from corten.tasks.contract import Exit

TIMING = "X-Corten-Timing"
_EMPTY_OBJECT = 7  # bytes, as dockerd has it


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
    return json_answer([row_for(call.version, summary) for summary in shown])


async def create(call: Call) -> web.StreamResponse:
    containers = call.engine.containers
    wanted = asked(await call.body(CreateRequest), call.version, containers.configuration.facts.cgroup_version)
    container, warnings = await container_create.create(
        containers,
        call.text("name"),
        wanted.config,
        wanted.host,
        wanted.networking,
        call.text("platform") if call.version >= PLATFORM_AT_CREATE else "",
        wanted.recursive_readonly,
    )
    return json_answer({"Id": container.id, "Warnings": [*wanted.warnings, *warnings]}, 201)


async def inspect(call: Call) -> web.StreamResponse:
    container = named(call)
    shown = container_inspect.inspect(call.engine.containers, container, call.version)
    if call.flag("size"):
        shown |= await sizes(call.engine.containers.stores, container)
    return json_answer(container_for(call.version, shown))


async def start(call: Call) -> web.StreamResponse:
    """A HostConfig in the body had a meaning before API 1.24; some clients send an empty object."""
    request = call.request
    if (request.content_length or 0) > _EMPTY_OBJECT or "Transfer-Encoding" in request.headers:
        raise Invalid(
            "starting container with non-empty request body was deprecated since API v1.22 and removed in v1.24"
        )
    if call.text("checkpoint"):
        raise Invalid("checkpoint is only supported in experimental mode")
    timing = await container_start.start(call.engine.containers, named(call))
    return empty(204, {TIMING: encode_line(timing).decode().strip()})


async def checkpoints(call: Call) -> web.StreamResponse:
    """Of whichever isolation."""
    raise Unsupported(f"checkpoints are not supported: the state of container {named(call).record.name} is not saved")


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
    body = updating(await call.body(UpdateConfig), call.version)
    warnings = await container_update.update(call.engine.containers, named(call), body)
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
        return json_answer(exit_for(call.version, found.status, found.error))
    future = container_wait.future(found, condition)
    try:
        if call.version < WAIT_FLUSHES:
            exit = await future
            return json_answer(exit_for(call.version, exit.status, ""))
        answer = await container_streams.begin(call, "application/json")
        with held(found, condition, call.descriptor):
            exit = await future
    finally:
        future.cancel()
    await answer.write_eof(encode_line(exit_for(call.version, exit.status, exit.error)))
    return answer


async def remove(call: Call) -> web.StreamResponse:
    containers = call.engine.containers
    if call.flag("link"):
        await container_remove.remove_link(containers, call.path["id"])
    else:
        await container_remove.remove(containers, named(call), call.flag("force"), call.flag("v"))
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
    Route("GET", "/containers/{id:all}/json", inspect),
    Route("POST", "/containers/{id:all}/start", start),
    Route("GET", "/containers/{id:all}/checkpoints", checkpoints),
    Route("POST", "/containers/{id:all}/checkpoints", checkpoints),
    Route("POST", "/containers/{id:all}/stop", stop),
    Route("POST", "/containers/{id:all}/restart", restart),
    Route("POST", "/containers/{id:all}/kill", kill),
    Route("POST", "/containers/{id:all}/pause", pause),
    Route("POST", "/containers/{id:all}/unpause", unpause),
    Route("POST", "/containers/{id:all}/rename", rename),
    Route("POST", "/containers/{id:all}/update", update),
    Route("POST", "/containers/{id:all}/resize", resize),
    Route("GET", "/containers/{id:all}/top", top),
    Route("POST", "/containers/{id:all}/wait", wait, stream=True),
    Route("DELETE", "/containers/{id:all}", remove),
    *container_streams.ROUTES,
    *container_files.ROUTES,
)
