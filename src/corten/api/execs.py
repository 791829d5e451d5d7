"""/exec, and /containers/ID/exec."""

from __future__ import annotations

import os
from collections.abc import Sequence

from aiohttp import web

from corten.api.call import Call, json_answer
from corten.api.containers import size_of_terminal
from corten.api.errors import message
from corten.api.hijack import Hijacked, take
from corten.api.routes import Route
from corten.api.versions import STREAM_TYPES
from corten.engine.containers.attach import DETACH_KEYS, detach_keys
from corten.engine.containers.execs import Exec
from corten.errors import CortenError, StartFailed
from corten.spec.docker.exec import ExecConfig, ExecStart
from corten.tasks.contract import Stream
from corten.tasks.streams import hang_up, send


async def create(call: Call) -> web.StreamResponse:
    container = call.engine.containers.get(call.path["id"])
    body = await call.body(ExecConfig)
    detach_keys(body.detach_keys)
    return json_answer({"Id": call.engine.execs.create(container, body).id}, 201)


async def start(call: Call) -> web.StreamResponse:
    """Detached: answered when it runs. Otherwise the connection is taken first, and errors go into it.

    Whether the stream has frames is said here, by Tty, whatever the exec was created with; without frames there is no
    standard error in it.
    """
    body = await call.body(ExecStart)
    execs = call.engine.execs
    exec = execs.get(call.path["id"])
    execs.check_startable(exec)
    size = _console_size(body.console_size) or _console_size(exec.config.console_size) or (0, 0)
    if body.detach:
        await execs.start(exec, None, size)
        return web.Response(status=200)
    mux = not body.tty
    exec.answered = True  # before it starts, which waits until the client has read that
    try:
        taken = await take(call.request, framed=mux, stream_types=call.version >= STREAM_TYPES)
    finally:
        exec.answered = False
    text = exec.config.detach_keys
    stream = Stream(
        taken.fd,
        stdin=exec.config.attach_stdin,
        stdout=exec.config.attach_stdout,
        stderr=exec.config.attach_stderr and mux,
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
        except OSError:  # it has disconnected
            return
        hang_up(spare)  # a supervisor that does not answer may have a copy on its way
    finally:
        os.close(spare)


def _console_size(size: Sequence[int]) -> tuple[int, int] | None:
    """Rows and columns, where both are given and a terminal can have them."""
    return (size[0], size[1]) if len(size) == 2 and all(0 < number < 65536 for number in size) else None


async def resize(call: Call) -> web.StreamResponse:
    rows, columns = size_of_terminal(call)
    await call.engine.execs.resize(call.engine.execs.get(call.path["id"]), rows, columns)
    return web.Response(status=200)


async def inspect(call: Call) -> web.StreamResponse:
    return json_answer(await call.engine.execs.inspect(call.engine.execs.get(call.path["id"])))


ROUTES = (
    Route("POST", "/containers/{id:all}/exec", create),
    Route("POST", "/exec/{id}/start", start),
    Route("POST", "/exec/{id}/resize", resize),
    Route("GET", "/exec/{id}/json", inspect),
)
