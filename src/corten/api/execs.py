"""/exec, and /containers/ID/exec."""

from __future__ import annotations

import os

import msgspec
from aiohttp import web

from corten.api.call import Call, json_answer, typed
from corten.api.containers import size_of_terminal
from corten.api.errors import message
from corten.api.hijack import Hijacked, take
from corten.api.routes import Route
from corten.api.versions import STREAM_TYPES
from corten.engine.containers.attach import DETACH_KEYS, detach_keys, hang_up, send
from corten.engine.containers.execs import Exec
from corten.engine.seams import Stream
from corten.engine.validate import keys
from corten.engine.validate.schema import check_exec_start_types
from corten.errors import CortenError, StartFailed


class ExecWish(msgspec.Struct):
    """What is looked at in Docker's ExecConfig."""

    Cmd: list[str] | None = None
    Env: list[str] | None = None
    User: str | None = None
    WorkingDir: str | None = None
    DetachKeys: str | None = None
    AttachStdin: bool | None = None
    AttachStdout: bool | None = None
    AttachStderr: bool | None = None
    Tty: bool | None = None
    Privileged: bool | None = None


async def create(call: Call) -> web.StreamResponse:
    container = call.engine.containers.get(call.path["id"])
    body = await call.body(keys.EXEC)
    wish = typed(body, ExecWish)
    detach_keys(wish.DetachKeys or "")
    return json_answer({"Id": call.engine.execs.create(container, body).id}, 201)


async def start(call: Call) -> web.StreamResponse:
    """Detached: answered when it runs. Otherwise the connection is taken first, and errors go into it."""
    body = await call.body(keys.EXEC_START, optional=True)
    check_exec_start_types(body)
    execs = call.engine.execs
    exec = execs.get(call.path["id"])
    execs.check_startable(exec)
    size = _console_size(body) or _console_size(exec.config) or (0, 0)
    if body.get("Detach"):
        await execs.start(exec, None, size)
        return web.Response(status=200)
    mux = not exec.tty
    taken = await take(call.request, framed=mux, stream_types=call.version >= STREAM_TYPES)
    text = str(exec.config.get("DetachKeys") or "")
    stream = Stream(
        taken.fd,
        stdin=bool(exec.config.get("AttachStdin")),
        stdout=bool(exec.config.get("AttachStdout")),
        stderr=bool(exec.config.get("AttachStderr")),
        mux=mux,
        early=taken.early,
        detach_keys=detach_keys(text) if text else DETACH_KEYS,
    )
    await _start_into(call, exec, stream, size)
    return Hijacked()


async def _start_into(call: Call, exec: Exec, stream: Stream, size: tuple[int, int]) -> None:
    """What goes wrong now can only be said in the client's stream. A program that cannot be started is the supervisor's
    to report: it has the stream by then."""
    spare = os.dup(stream.fd)  # the stream's own descriptor is the supervisor's from now on
    try:
        await call.engine.execs.start(exec, stream, size)
    except StartFailed:
        return
    except (CortenError, OSError) as error:
        text = f"{message(error)}\r\n".encode()
        frame = b"\x01\0\0\0" + len(text).to_bytes(4, "big") + text if stream.mux else text
        try:
            await send(spare, frame)
        except OSError:  # it has gone, and does not want to know
            return
        hang_up(spare)  # a supervisor that does not answer may have a copy on its way
    finally:
        os.close(spare)


def _console_size(body: dict[str, object]) -> tuple[int, int] | None:
    size = body.get("ConsoleSize")
    if isinstance(size, list) and len(size) == 2 and all(isinstance(n, int) and 0 < n < 65536 for n in size):
        return size[0], size[1]
    return None


async def resize(call: Call) -> web.StreamResponse:
    rows, columns = size_of_terminal(call)
    await call.engine.execs.resize(call.engine.execs.get(call.path["id"]), rows, columns)
    return web.Response(status=200)


async def inspect(call: Call) -> web.StreamResponse:
    return json_answer(await call.engine.execs.inspect(call.engine.execs.get(call.path["id"])))


ROUTES = (
    Route("POST", "/containers/{id}/exec", create),
    Route("POST", "/exec/{id}/start", start),
    Route("POST", "/exec/{id}/resize", resize),
    Route("GET", "/exec/{id}/json", inspect),
)
