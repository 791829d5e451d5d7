"""Exec and attach: a client's channels and a supervisor's stream, one into the other."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from corten.aio.taking import close, taken
from corten.client.stdcopy import STDERR as FRAMED_ERROR
from corten.client.stdcopy import Frames
from corten.cri.daemon import Daemon
from corten.cri.execution import create, exit_code
from corten.cri.streaming.channels import RESIZE, STDERR, STDIN, STDOUT, Channels
from corten.errors import CortenError

log = logging.getLogger(__name__)
_READ = 1 << 16
_NO_KEYS = "ctrl-@,ctrl-@,ctrl-@,ctrl-@,ctrl-@,ctrl-@,ctrl-@,ctrl-@"  # Kubernetes' clients have none to detach by
SUCCESS = b'{"metadata":{},"status":"Success"}'


@dataclass(frozen=True, slots=True)
class Session:
    """`command` is what is executed; () attaches to the container's own program."""

    container: str
    command: Sequence[str] = ()
    tty: bool = False
    stdin: bool = False
    stdout: bool = False
    stderr: bool = False

    async def run(self, daemon: Daemon, channels: Channels) -> None:
        """To the end of the program, or of the client."""
        try:
            status = await self._run(daemon, channels)
        except CortenError as error:
            status = failure(str(error))
        await channels.finish(status)

    async def _run(self, daemon: Daemon, channels: Channels) -> bytes:
        if self.command:
            more = {"AttachStdin": self.stdin, "AttachStdout": self.stdout, "AttachStderr": self.stderr}
            id = await create(daemon, self.container, self.command, Tty=self.tty, **more)
            where, path, body = f"/exec/{id}", f"/exec/{id}/start", {"Detach": False, "Tty": self.tty}
        else:
            id, body, where = "", None, f"/containers/{self.container}"
            flags = [f"{name}=1" for name in ("stdin", "stdout", "stderr") if getattr(self, name)]
            path = f"{where}/attach?{'&'.join(['stream=1', f'detachKeys={_NO_KEYS}', *flags])}"
        reader, writer = await daemon.upgrade(path, body)
        incoming = asyncio.ensure_future(self._input(daemon, channels, writer, where))
        outgoing = asyncio.ensure_future(self._output(channels, reader))
        try:
            await asyncio.wait({incoming, outgoing}, return_when=asyncio.FIRST_COMPLETED)
            if not outgoing.done():  # the client has left
                incoming.result()
                raise ConnectionResetError("the client has left")
            outgoing.result()
        finally:
            for task in (incoming, outgoing):
                task.cancel()
            await asyncio.wait({incoming, outgoing})
            close(writer)
        return ended(await exit_code(daemon, id)) if id else SUCCESS

    async def _input(self, daemon: Daemon, channels: Channels, writer: asyncio.StreamWriter, where: str) -> None:
        """Until the client leaves."""
        async for channel, data in channels.receive():
            if channel == STDIN and self.stdin:
                if data:
                    writer.write(data)
                    if writer.transport.get_write_buffer_size():
                        await taken(_drained(writer), channels.left)
                elif writer.can_write_eof() and not writer.is_closing():
                    with suppress(ConnectionError):
                        writer.write_eof()
            elif channel == RESIZE and self.tty:
                await _resize(daemon, where, data)

    async def _output(self, channels: Channels, reader: asyncio.StreamReader) -> None:
        frames = Frames()
        while data := await reader.read(_READ):
            if self.tty:
                await channels.send(STDOUT, data)
                continue
            for stream, piece in frames.feed(data):
                await channels.send(STDERR if stream == FRAMED_ERROR else STDOUT, bytes(piece))


async def _drained(writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):  # the program has closed it, and may go on writing
        await writer.drain()


async def _resize(daemon: Daemon, where: str, data: bytes) -> None:
    """{"Width": .., "Height": ..}. What cannot be read, or comes too late, changes nothing."""
    try:
        asked = json.loads(data)
        query = {"h": str(int(asked["Height"])), "w": str(int(asked["Width"]))}
        await daemon.do("POST", f"{where}/resize", query=query)
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError, CortenError) as error:
        log.debug("a terminal's size: %s", error)


def ended(code: int) -> bytes:
    """metav1.Status for an exit code."""
    if code == 0:
        return SUCCESS
    return json.dumps(
        {
            "metadata": {},
            "status": "Failure",
            "message": f"command terminated with non-zero exit code: exit status {code}",
            "reason": "NonZeroExitCode",
            "details": {"causes": [{"reason": "ExitCode", "message": str(code)}]},
        }
    ).encode()


def failure(message: str) -> bytes:
    return json.dumps(
        {"metadata": {}, "status": "Failure", "message": message, "reason": "InternalError", "code": 500}
    ).encode()
