"""Running one command in a container to its end."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import closing, suppress
from typing import Any

from corten.client.stdcopy import STDERR, Frames
from corten.cri.daemon import Daemon
from corten.errors import CortenError, Invalid
from corten.http2.grpc import DEADLINE_EXCEEDED, Status
from corten.spec.protobuf import cri
from corten.units.durations import in_go

_MESSAGE = (16 << 20) - (1 << 10)  # bytes of both streams together that are kept: what a gRPC message has room for
_PIECE = 1 << 16


async def create(daemon: Daemon, container: str, command: Sequence[str], **more: bool) -> str:
    """An exec's id."""
    if not command:
        raise Invalid("there is no command to execute")
    body = {"Cmd": list(command), **more}
    made = await daemon.ask("POST", f"/containers/{container}/exec", dict[str, Any], body)
    return str(made["Id"])


async def run(daemon: Daemon, container: str, command: Sequence[str], seconds: int) -> cri.ExecSyncResponse:
    """Its output and exit code; past `seconds` (0: no limit) it is killed, and the status is DEADLINE_EXCEEDED."""
    id = await create(daemon, container, command, AttachStdout=True, AttachStderr=True)
    kept = {1: bytearray(), STDERR: bytearray()}
    try:
        reader, writer = await daemon.upgrade(f"/exec/{id}/start", {"Detach": False, "Tty": False})
        with closing(writer):
            async with asyncio.timeout(seconds if seconds > 0 else None):
                await _collect(reader, kept)
                code = await exit_code(daemon, id)
    except TimeoutError:
        with suppress(CortenError):
            await daemon.do("DELETE", f"/pods/execs/{id}")
        raise Status(DEADLINE_EXCEEDED, f"command {command[0]!r} timed out after {in_go(seconds)}") from None
    except asyncio.CancelledError:  # also while it is started
        with suppress(CortenError):
            await asyncio.shield(daemon.do("DELETE", f"/pods/execs/{id}"))
        raise
    return cri.ExecSyncResponse(bytes(kept[1]), bytes(kept[STDERR]), code)


async def _collect(reader: asyncio.StreamReader, kept: dict[int, bytearray]) -> None:
    frames, room = Frames(), _MESSAGE
    while data := await reader.read(_PIECE):
        for stream, piece in frames.feed(data):
            part = piece[:room]
            kept[stream if stream in kept else 1] += part
            room -= len(part)


async def exit_code(daemon: Daemon, id: str) -> int:
    found = await daemon.ask("GET", f"/exec/{id}/json", dict[str, Any])
    code = found.get("ExitCode")
    return 137 if code is None else int(code)
