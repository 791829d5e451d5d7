"""/pods: ours alone, for `corten cri` and `corten pod`. Bodies and answers are runtime.v1's messages as JSON.

A pod is made with the words of Kubernetes, which alone has such a thing; its containers are below /containers as well.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, TypeVar

import msgspec
from aiohttp import web

from corten.api.call import Call, empty, read_body
from corten.api.hijack import Hijacked, take
from corten.api.routes import Route
from corten.errors import Conflict, Invalid

if TYPE_CHECKING:
    from corten.engine.containers.container import Container
    from corten.engine.pods.pods import Pod

T = TypeVar("T")


async def _body(call: Call, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(await read_body(call.request), type=kind)
    except msgspec.DecodeError as error:
        raise Invalid(f"invalid JSON: {error}") from error


def _answer(value: object, status: int = 200) -> web.Response:
    return web.Response(body=msgspec.json.encode(value), status=status, content_type="application/json")


def _pod(call: Call) -> Pod:
    return call.engine.pods.get(call.path["id"])


def _member(call: Call) -> Container:
    from corten.engine.pods.status import member

    return member(call.engine.pods, call.path["id"])


async def create(call: Call) -> web.StreamResponse:
    from corten.spec.protobuf.cri import PodSandboxConfig

    pod = await call.engine.pods.run(await _body(call, PodSandboxConfig), call.text("handler"))
    return _answer({"Id": pod.id}, 201)


async def network(call: Call) -> web.StreamResponse:
    """What a pod that is made now is connected by."""
    found = await call.engine.pods.ready_network()
    return _answer({"Name": found.name, "File": found.file} if found else {"Name": "", "File": ""})


async def handlers(call: Call) -> web.StreamResponse:
    """What a pod may be isolated by, and why not."""
    from corten.engine.pods.handlers import known

    return _answer(await known(call.engine.containers))


async def list_pods(call: Call) -> web.StreamResponse:
    from corten.engine.pods.status import pod_status

    return _answer([pod_status(pod) for pod in call.engine.pods.by_id.values()])


async def inspect(call: Call) -> web.StreamResponse:
    from corten.engine.pods.status import pod_status

    return _answer(pod_status(_pod(call)))


async def stop(call: Call) -> web.StreamResponse:
    await call.engine.pods.stop(_pod(call))
    return empty()


async def remove(call: Call) -> web.StreamResponse:
    await call.engine.pods.remove(_pod(call))
    return empty()


async def create_container(call: Call) -> web.StreamResponse:
    from corten.engine.pods.create import create
    from corten.spec.protobuf.cri import ContainerConfig

    container = await create(call.engine.pods, _pod(call), await _body(call, ContainerConfig))
    return _answer({"Id": container.id}, 201)


async def list_containers(call: Call) -> web.StreamResponse:
    from corten.engine.pods.status import listed, view

    pods = call.engine.pods
    if call.flag("brief"):
        return _answer([listed(container) for container in pods.every_member()])
    return _answer([view(pods, container) for container in pods.every_member()])


async def inspect_container(call: Call) -> web.StreamResponse:
    from corten.engine.pods.status import view

    return _answer(view(call.engine.pods, _member(call)))


async def reopen_log(call: Call) -> web.StreamResponse:
    container = _member(call)
    if container.task is None:
        raise Conflict(f"container {container.id} is not running")
    await container.task.reopen_log()
    return empty()


async def processes(call: Call) -> web.StreamResponse:
    container = _member(call)
    if container.task is None:
        raise Conflict(f"container {container.id} is not running")
    held = await container.task.held()
    return _answer({name.capitalize(): value for name, value in held._asdict().items() if value is not None})


async def update_container(call: Call) -> web.StreamResponse:
    from corten.engine.pods.update import update
    from corten.spec.protobuf.cri import LinuxContainerResources

    await update(call.engine.pods, _member(call), await _body(call, LinuxContainerResources))
    return empty()


async def kill_exec(call: Call) -> web.StreamResponse:
    await call.engine.execs.kill(call.engine.execs.get(call.path["id"]))
    return empty()


async def dial(call: Call) -> web.StreamResponse:
    """The answer is 101, and behind it one byte with a connected socket's descriptor (unix(7), SCM_RIGHTS)."""
    from corten.engine.pods.dial import dial

    connection = await dial(call.engine.pods, _pod(call), call.integer("port", 0) or 0)
    with connection:
        taken = await take(call.request, framed=False, stream_types=False)
        with socket.socket(fileno=taken.fd) as client:
            socket.send_fds(client, [b"."], [connection.fileno()])
    return Hijacked()


ROUTES = (
    Route("POST", "/pods/create", create),
    Route("GET", "/pods/json", list_pods),
    Route("GET", "/pods/network", network),
    Route("GET", "/pods/handlers", handlers),
    Route("GET", "/pods/containers/json", list_containers),
    Route("GET", "/pods/containers/{id}/json", inspect_container),
    Route("POST", "/pods/containers/{id}/log", reopen_log),
    Route("GET", "/pods/containers/{id}/processes", processes),
    Route("POST", "/pods/containers/{id}/update", update_container),
    Route("DELETE", "/pods/execs/{id}", kill_exec),
    Route("GET", "/pods/{id}/json", inspect),
    Route("POST", "/pods/{id}/stop", stop),
    Route("DELETE", "/pods/{id}", remove),
    Route("POST", "/pods/{id}/containers", create_container),
    Route("POST", "/pods/{id}/dial", dial),
)
