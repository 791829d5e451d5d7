"""Work of build steps on trees, done by confined children of the launcher (`corten.supervisor.steps`)."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress

from corten.spec.json import Json
from corten.tasks import answers
from corten.tasks.launcher import Asked
from corten.tasks.trees import End, Worker, pipe

_PIECE = 1 << 20
_COPY = 3600.0  # seconds; nothing is heard of a copy before its end


class Streamed:
    """The tar that a child sends on the pipe `reader`. `begun` is what it says before it, `answer` at its end, once all
    was taken."""

    def __init__(self, reader: int, worker: Worker, begun: Json) -> None:
        self.reader = reader
        self.worker = worker
        self.begun = begun
        self.answer: Json = {}

    async def pieces(self) -> AsyncIterator[bytes]:
        while piece := await answers.read(self.reader, _PIECE):
            yield piece
        await self.ended()

    async def ended(self) -> None:
        """Wait for the answer, when all was read from `reader`. Raises what the child raised."""
        self.answer = await self.worker.answer()


class AskedStream(Streamed):
    """A stream whose child is asked meanwhile for what to send."""

    def __init__(self, streamed: Streamed, asked: End) -> None:
        super().__init__(streamed.reader, streamed.worker, streamed.begun)
        self._asked = asked

    async def ask(self, numbers: Sequence[int]) -> None:
        with suppress(BrokenPipeError):  # it has ended: its answer says why
            await answers.write(self._asked.fd, b"".join(number.to_bytes(4, "little") for number in numbers))

    def finish(self) -> None:
        """There is nothing more to ask for."""
        self._asked.close()


class LauncherSteps:
    """Requests are those of `corten.supervisor.steps`; descriptors stay the caller's. A child ends when its block does,
    whatever it was doing. Raises NotFound, Invalid, Exhausted, Failed, Unavailable."""

    def __init__(self, launcher: Asked) -> None:
        self._launcher = launcher

    async def ask(self, request: Json, fds: Sequence[int]) -> Json:
        """A request with one answer."""
        with self._launcher.connect(request, list(fds)) as connection:
            return await Worker(connection, request).answer(_COPY)

    async def files(self, request: Json) -> tuple[Json, list[int]]:
        """A request that is answered with descriptors, the caller's."""
        with self._launcher.connect(request) as connection:
            return await Worker(connection, request).answer_with_files(_COPY)

    @asynccontextmanager
    async def stream(self, request: Json, fds: Sequence[int]) -> AsyncIterator[Streamed]:
        with pipe() as (reader, writer):
            os.set_blocking(writer.fd, True)
            with self._launcher.connect(request, [writer.fd, *fds]) as connection:
                writer.close()
                worker = Worker(connection, request)
                yield Streamed(reader.fd, worker, await worker.answer(_COPY))

    @asynccontextmanager
    async def asked(self, request: Json, fds: Sequence[int]) -> AsyncIterator[AskedStream]:
        """`stream`, with a pipe for what is asked for behind `fds`."""
        with pipe() as (reader, writer):
            async with self.stream(request, [*fds, reader.fd]) as streamed:
                reader.close()
                yield AskedStream(streamed, writer)
