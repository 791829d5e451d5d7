"""Looking into containers' trees, done by children of the launcher or of supervisors (`corten.supervisor.trees`)."""

from __future__ import annotations

import fcntl
import logging
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress

from corten.aio.sources import closing, run_until
from corten.instance.contract import TreeRequest
from corten.spec.json import Json
from corten.supervisor import wire
from corten.supervisor.requests import encode_tree
from corten.tasks import answers
from corten.tasks.launcher import Launcher

log = logging.getLogger(__name__)

_PIECE = 1 << 20
_F_SETPIPE_SZ = 1031


Connect = Callable[[Json, list[int]], Awaitable[socket.socket]]  # a process for the request; the connection to it


class Trees:
    """`corten.tasks.contract.TreeWork`. `where` is that of all requests."""

    def __init__(self, connect: Connect, where: Json | None = None) -> None:
        self._connect = connect
        self._where = where or {}

    async def ask(self, request: TreeRequest, where: Json | None = None, fds: Sequence[int] = ()) -> Json:
        async with self._conversation(request, where, fds) as worker:
            return await worker.answer()

    @asynccontextmanager
    async def stream(
        self, request: TreeRequest, where: Json | None = None, fds: Sequence[int] = ()
    ) -> AsyncIterator[tuple[Json, AsyncIterator[bytes]]]:
        with pipe() as (reader, writer):
            os.set_blocking(writer.fd, True)
            async with self._conversation(request, where, [writer.fd, *fds]) as worker:
                writer.close()
                answer = await worker.answer()
                yield answer, _data(reader.fd, worker)

    async def pour(
        self, request: TreeRequest, data: AsyncIterator[bytes], where: Json | None = None, fds: Sequence[int] = ()
    ) -> Json:
        with pipe() as (reader, writer):
            os.set_blocking(reader.fd, True)
            async with self._conversation(request, where, [reader.fd, *fds]) as worker:
                reader.close()
                await run_until(worker.ready(), _send(data, writer.fd))  # the sender may be silent by then
                writer.close()
                return await worker.answer(answers.SILENCE)  # behind so many bytes it may have a disk to wait for

    @asynccontextmanager
    async def _conversation(
        self, request: TreeRequest, where: Json | None, fds: Sequence[int]
    ) -> AsyncIterator[Worker]:
        message = {**self._where, **(where or {}), **encode_tree(request)}
        with await self._connect(message, list(fds)) as connection:
            yield Worker(connection, message)


def launcher_trees(launcher: Launcher) -> Trees:
    """By children of the launcher, which are of this daemon's version and need no supervisor."""

    async def connect(request: Json, fds: list[int]) -> socket.socket:
        return launcher.connect(request, fds)

    return Trees(connect)


class End:
    """One end of a pipe, closed once."""

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
        self.fd = -1


@contextmanager
def pipe() -> Iterator[tuple[End, End]]:
    """(reader, writer) of a large pipe, neither of which blocks; closed with the block at the latest."""
    reader, writer = map(End, os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK))
    try:
        with suppress(OSError):  # the user's pipe quota: slower, not wrong
            fcntl.fcntl(writer.fd, _F_SETPIPE_SZ, _PIECE)
        yield reader, writer
    finally:
        reader.close()
        writer.close()


class Worker:
    def __init__(self, connection: socket.socket, request: Json) -> None:
        self.request = request
        self._connection = connection
        self._decoder = wire.Decoder()

    async def ready(self) -> None:
        """Wait until there is an answer, or the worker has ended."""
        await answers.readable(self._connection.fileno())

    async def answer(self, seconds: float = answers.HELPER) -> Json:
        """The next frame. Raises what the worker raised; Failed when it exited, Unavailable when it does not answer."""
        found, fds = await self.answer_with_files(seconds)
        for fd in fds:  # none is expected of it
            os.close(fd)
        return found

    async def answer_with_files(self, seconds: float = answers.HELPER) -> tuple[Json, list[int]]:
        """The same, and the descriptors that came with it, the caller's."""
        message, fds = await answers.answer(self._connection, self._decoder, seconds)
        try:
            found: Json = answers.content(message)
        except BaseException:
            for fd in fds:
                os.close(fd)
            raise
        return found, fds


async def _send(data: AsyncIterator[bytes], writer: int) -> None:
    async with closing(data):
        with suppress(BrokenPipeError):  # the worker has ended: its answer says why
            async for piece in data:
                await answers.write(writer, piece)


async def _data(reader: int, worker: Worker) -> AsyncIterator[bytes]:
    while piece := await answers.read(reader, _PIECE):
        yield piece
    if left_out := (await worker.answer()).get("left_out"):
        text = "%s of container %s: %d things were left out, because their paths are longer than PATH_MAX"
        log.warning(text, worker.request["do"], worker.request.get("container"), left_out)
