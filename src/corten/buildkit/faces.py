"""What BuildKit's clients find here: sessions, and builds over them. One for the daemon, made for the first client."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from corten.aio.whole import to_the_end
from corten.build.builds import Builds
from corten.build.contexts import Context
from corten.build.contract import Client, Event
from corten.build.outputs.contract import Sink
from corten.buildkit.arrivals import WAIT, Arrivals
from corten.buildkit.bridge import Bridge
from corten.buildkit.client import SessionClient
from corten.buildkit.content import ContentFace
from corten.buildkit.control import Control
from corten.buildkit.health import HealthFace
from corten.buildkit.history import HistoryFace
from corten.buildkit.jobs import Jobs
from corten.buildkit.outputs import SessionSink
from corten.buildkit.sessions import Sessions
from corten.buildkit.trace import messages
from corten.buildkit.traces import TraceFace
from corten.errors import Unavailable
from corten.http2 import grpc

_WINDOW = 1 << 18  # bytes of each request under way
_UPLOADS = 64  # that are waited for


class Faces:
    def __init__(self, builds: Builds) -> None:
        self._builds = builds
        self._sessions = Sessions()
        self._trees = builds.trees
        jobs = Jobs()
        bridge = Bridge(builds, self._sessions, self._trees, jobs)
        control = Control(builds, self._sessions, jobs, bridge)
        parts = (control, bridge, HistoryFace(builds), ContentFace(builds), TraceFace())
        served = {name: function for part in parts for name, function in part.functions().items()}
        self._functions = served | HealthFace(served).functions()
        self._uploads: Arrivals[Upload] = Arrivals("upload", _UPLOADS)

    async def session(self, fd: int, early: bytes, headers: Sequence[tuple[str, str]]) -> None:
        """POST /session, behind its answer: until the session ends. `fd` is closed."""
        await self._sessions.serve(fd, early, headers)

    async def grpc(self, fd: int, early: bytes) -> None:
        """POST /grpc behind its answer, or a connection that is HTTP/2 from its first byte on: until it ends. `fd` is
        closed."""
        await grpc.serve(fd, early, self._functions, _WINDOW)

    @asynccontextmanager
    async def client(self, session: str, context: Context | None = None) -> AsyncIterator[Client]:
        """For a build of the session of this id, which may be still to come. Raises Unavailable."""
        client = SessionClient(await self._sessions.find(session), self._trees, context=context)
        try:
            yield client
        finally:
            await to_the_end(client.close())

    async def sink(self, session: str) -> Sink:
        """Where the client of this session takes outputs. Raises Unavailable."""
        return SessionSink(await self._sessions.find(session))

    def encode(self, events: Sequence[Event]) -> list[str]:
        """For `aux` of `moby.buildkit.trace`."""
        return [base64.b64encode(each.encode()).decode() for each in messages(events)]

    # ---------------------------------------------------------------------------- a context in a request of its own

    async def uploaded(self, id: str) -> Upload:
        """The body of the other request of a build, which may be still to come. Raises Unavailable."""
        given = await self._uploads.find(id)
        given.found.set()
        return given

    async def upload(self, id: str, body: AsyncIterator[bytes]) -> None:
        """Give a build its context, and wait until it has it. Raises Unavailable when there is no such build."""
        given = Upload(body)
        self._uploads.add(id, given)
        try:
            async with asyncio.timeout(WAIT):
                await given.found.wait()
            await given.taken.wait()
        except TimeoutError:
            raise Unavailable(f"there is no build that waits for the context {id[:100]!r}") from None
        finally:
            self._uploads.remove(id)


class Upload:
    """`found` by its build, which has read all of the `body` when it is `taken`."""

    def __init__(self, body: AsyncIterator[bytes]) -> None:
        self.body = body
        self.found = asyncio.Event()
        self.taken = asyncio.Event()
