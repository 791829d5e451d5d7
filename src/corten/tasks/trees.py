"""Looking into containers' trees, done by children of the launcher (`corten.supervisor.trees`)."""

from __future__ import annotations

import fcntl
import logging
import os
import socket
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress

from corten.aio.sources import closing
from corten.spec.json import Json
from corten.supervisor import wire
from corten.tasks import answers
from corten.tasks.launcher import Launcher

log = logging.getLogger(__name__)

_PIECE = 1 << 20
_F_SETPIPE_SZ = 1031


class LauncherTrees:
    """`engine.containers.tree.TreeWork`."""

    def __init__(self, launcher: Launcher) -> None:
        self._launcher = launcher

    async def ask(self, request: Json, fds: Sequence[int]) -> Json:
        """A request with one answer. Its descriptors stay the caller's."""
        with self._conversation(request, fds) as worker:
            return await worker.answer()

    @asynccontextmanager
    async def stream(self, request: Json, fds: Sequence[int]) -> AsyncIterator[tuple[Json, AsyncIterator[bytes]]]:
        """The answer, and the data behind it; reading that raises at its end when the worker could not send all."""
        with _pipe() as (reader, writer):
            os.set_blocking(writer.fd, True)
            with self._conversation(request, [writer.fd, *fds]) as worker:
                writer.close()
                answer = await worker.answer()
                yield answer, _data(reader.fd, worker, request)

    async def pour(self, request: Json, fds: Sequence[int], data: AsyncIterator[bytes]) -> Json:
        """The answer of a worker that reads `data`. It may answer before the end: the rest is not asked for then."""
        with _pipe() as (reader, writer):
            os.set_blocking(reader.fd, True)
            with self._conversation(request, [reader.fd, *fds]) as worker:
                reader.close()
                with suppress(BrokenPipeError):  # the worker has ended: its answer says why
                    async with closing(data):
                        async for piece in data:
                            await answers.write(writer.fd, piece)
                writer.close()
                return await worker.answer(answers.SILENCE)  # behind so many bytes it may have a disk to wait for

    @contextmanager
    def _conversation(self, request: Json, fds: Sequence[int]) -> Iterator[_Worker]:
        with self._launcher.connect(request, list(fds)) as connection:
            yield _Worker(connection)


class _End:
    """One end of a pipe, closed once."""

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
        self.fd = -1


@contextmanager
def _pipe() -> Iterator[tuple[_End, _End]]:
    """(reader, writer) of a large pipe, neither of which blocks; closed with the block at the latest."""
    reader, writer = map(_End, os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK))
    try:
        with suppress(OSError):  # the user's pipe quota: slower, not wrong
            fcntl.fcntl(writer.fd, _F_SETPIPE_SZ, _PIECE)
        yield reader, writer
    finally:
        reader.close()
        writer.close()


class _Worker:
    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._decoder = wire.Decoder()

    async def answer(self, seconds: float = answers.HELPER) -> Json:
        """The next frame. Raises what the worker raised; Failed when it exited, Unavailable when it does not answer."""
        message, _ = await answers.answer(self._connection, self._decoder, seconds)
        return answers.content(message)


async def _data(reader: int, worker: _Worker, request: Json) -> AsyncIterator[bytes]:
    while piece := await answers.read(reader, _PIECE):
        yield piece
    if left_out := (await worker.answer()).get("left_out"):
        text = "%s of container %s: %d things were left out, because their paths are longer than PATH_MAX"
        log.warning(text, request["do"], request.get("container"), left_out)
