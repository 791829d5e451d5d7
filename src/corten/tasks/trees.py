"""Looking into containers' trees, done by children of the launcher (`corten.supervisor.trees`)."""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

from corten import errors
from corten.errors import Failed
from corten.supervisor import wire
from corten.tasks.launcher import Launcher, readable

log = logging.getLogger(__name__)

Json = dict[str, Any]
_PIECE = 1 << 20
_F_SETPIPE_SZ = 1031
_KINDS = ("NotFound", "Invalid", "Forbidden", "Exhausted", "Corrupt", "Conflict", "Unsupported")


class LauncherTrees:
    """`engine.containers.tree.TreeWork`."""

    def __init__(self, launcher: Launcher) -> None:
        self._launcher = launcher

    async def ask(self, request: Json, fds: Sequence[int]) -> Json:
        """A request with one answer. Its descriptors stay the caller's."""
        async with self._conversation(request, fds) as worker:
            return await worker.answer()

    @asynccontextmanager
    async def stream(self, request: Json, fds: Sequence[int]) -> AsyncIterator[tuple[Json, AsyncIterator[bytes]]]:
        """The answer, and the data behind it; reading that raises at its end when the worker could not send all."""
        reader, writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        with suppress(OSError):  # the user's pipe quota: slower, not wrong
            fcntl.fcntl(writer, _F_SETPIPE_SZ, _PIECE)
        try:
            os.set_blocking(writer, True)
            try:
                conversation = self._conversation(request, [writer, *fds])
                worker = await conversation.__aenter__()
            finally:
                os.close(writer)
            try:
                answer = await worker.answer()
                yield answer, _data(reader, worker, request)
            finally:
                await conversation.__aexit__(None, None, None)
        finally:
            os.close(reader)

    @asynccontextmanager
    async def _conversation(self, request: Json, fds: Sequence[int]) -> AsyncIterator[_Worker]:
        with self._launcher.connect(request, list(fds)) as connection:
            yield _Worker(connection)


class _Worker:
    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._decoder = wire.Decoder()

    async def answer(self) -> Json:
        """The next frame. Raises what the worker raised; Failed when it died."""
        while (frame := self._decoder.next()) is None:
            await readable(self._connection)
            if not wire.receive(self._connection, self._decoder):
                raise Failed("a helper process of the launcher ended without an answer; see launcher.log")
        message = frame[0]
        if "error" in message:
            error = message["error"]
            kind: Any = getattr(errors, error["kind"]) if error["kind"] in _KINDS else Failed
            raise kind(error["text"])
        ok: Json = message["ok"]
        return ok


def _wake(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)


async def _data(reader: int, worker: _Worker, request: Json) -> AsyncIterator[bytes]:
    loop = asyncio.get_running_loop()
    while True:
        try:
            piece = os.read(reader, _PIECE)
        except BlockingIOError:
            ready: asyncio.Future[None] = loop.create_future()
            loop.add_reader(reader, _wake, ready)
            try:
                await ready
            finally:
                loop.remove_reader(reader)
            continue
        if not piece:
            if left_out := (await worker.answer()).get("left_out"):
                text = "%s of container %s: %d things were left out, because their paths are longer than PATH_MAX"
                log.warning(text, request["do"], request.get("container"), left_out)
            return
        yield piece
