"""moby.buildkit.v1.Control: workers, builds and what they say, sessions within a stream, the cache."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager

from corten.build import attributes
from corten.build.builds import Builds
from corten.build.cache.usage import CacheRow
from corten.buildkit import failures
from corten.buildkit.bridge import Bridge
from corten.buildkit.jobs import Job, Jobs
from corten.buildkit.requests import outputs_of
from corten.buildkit.sessions import Sessions, check
from corten.buildkit.trace import messages
from corten.errors import CortenError, Invalid, Unsupported
from corten.http2.channel import Channel
from corten.http2.connection import Connection
from corten.http2.grpc import Call, Function, Status, begin
from corten.spec import platform as platforms
from corten.spec.docker.filters import Filters
from corten.spec.protobuf import control as m
from corten.spec.protobuf.gateway import Result
from corten.spec.protobuf.session import BytesMessage
from corten.tasks.emulation import emulated
from corten.units.durations import SECOND

_PREFIX = "/moby.buildkit.v1.Control/"
_WINDOW = 1 << 20
_PIECE = 1 << 16  # bytes
_WORKER = "corten"
# Makes buildx's driver `docker` offer what an image store with manifests can do: outputs oci and docker, a push by the
# builder, caches other than inline, builds for several platforms.
_LABELS = {"org.mobyproject.buildkit.worker.snapshotter": "corten"}


class Control:
    """One for the daemon."""

    def __init__(self, builds: Builds, sessions: Sessions, jobs: Jobs, bridge: Bridge) -> None:
        self._builds = builds
        self._sessions = sessions
        self._jobs = jobs
        self._bridge = bridge

    def functions(self) -> dict[str, Function]:
        return {
            _PREFIX + "ListWorkers": self.list_workers,
            _PREFIX + "Info": self.info,
            _PREFIX + "Solve": self.solve,
            _PREFIX + "Status": self.status,
            _PREFIX + "Session": self.session,
            _PREFIX + "DiskUsage": self.disk_usage,
            _PREFIX + "Prune": self.prune,
        }

    # --------------------------------------------------------------------------------------------------------- builds

    async def solve(self, call: Call) -> bytes:
        """Hangs until the client has returned its result, or cancels."""
        request = m.SolveRequest.decode(await call.request())
        job = self._jobs.begin(request)
        try:
            async with self._recorded(job):
                answer = self._bridge.exported(job, await self._result(job))
            return m.SolveResponse(answer).encode()
        except (CortenError, OSError) as error:
            raise failures.status(error, job.request.ref) from error
        finally:
            await self._bridge.end(job)
            self._jobs.end(job)

    @asynccontextmanager
    async def _recorded(self, job: Job) -> AsyncIterator[None]:
        """A build in the history; not one by which a client only looks what there is, nor a check."""
        request = job.request
        if request.internal or "requestid" in request.attributes:
            yield
            return
        given = attributes.public(request.attributes)
        with self._builds.history.recording(request.ref, given, outputs_of(request), job.keep) as job.recording:
            try:
                yield
            except (CortenError, OSError, Status) as error:
                found = error if isinstance(error, Status) else failures.status(error, request.ref)
                if found.details:
                    job.recording.failed(found.details)
                raise
            for built in job.results.values():
                job.recording.made(built)

    async def _result(self, job: Job) -> Result:
        request = job.request
        if request.frontend:
            return await self._bridge.build(job, request.frontend, request.attributes, request.inputs)
        if request.definition is not None and request.definition.operations:
            raise Unsupported("definitions in LLB are not supported")
        returned = await job.returned
        if isinstance(returned, m.RpcStatus):
            raise failures.of(returned)
        return returned

    async def status(self, call: Call) -> None:
        """Events from the first to the last, also of a build that was."""
        begin(call.stream)
        ref = m.StatusRequest.decode(await call.request()).ref
        if (record := self._builds.history.ended(ref)) is not None:
            for message in messages(await self._builds.history.events(record), ref):
                await call.send(message.encode())
            return
        job = await self._jobs.find(ref)
        async for events in job.events():
            for message in messages(events, job.request.ref):
                await call.send(message.encode())

    # -------------------------------------------------------------------------------------------------------- session

    async def session(self, call: Call) -> None:
        """An HTTP/2 connection within the stream, with this daemon as its client."""
        headers = [(name, value) for name, values in call.metadata.items() for value in values]
        check(headers)
        begin(call.stream)
        ended = asyncio.Event()
        carrier = _Within(call)
        channel = Channel(Connection(client=True, window=_WINDOW), carrier, lambda stream: stream.reset(), ended.set)
        carrier.sent = channel.sent
        keeping = asyncio.ensure_future(self._sessions.keep(channel, ended, headers))
        writing = asyncio.ensure_future(carrier.run())
        try:
            while not channel.closed and (message := await call.receive()) is not None:
                await _received(channel, BytesMessage.decode(message).data)
        finally:
            channel.lost()
            writing.cancel()
            await asyncio.wait({keeping, writing})
            if not writing.cancelled():
                writing.exception()  # seen: the stream has ended, which is said below
        keeping.result()

    # ------------------------------------------------------------------------------------------------------- machines

    async def list_workers(self, call: Call) -> bytes:
        await call.request()
        runs = await asyncio.to_thread(platforms_here)
        return m.ListWorkersResponse([m.WorkerRecord(_WORKER, _LABELS, runs)]).encode()

    async def info(self, call: Call) -> bytes:
        await call.request()
        return m.InfoResponse(m.BuildkitVersion()).encode()

    # ------------------------------------------------------------------------------------------------------ the cache

    async def disk_usage(self, call: Call) -> bytes:
        request = m.DiskUsageRequest.decode(await call.request())
        rows = await self._builds.usage(_filters(request.filter))
        return m.DiskUsageResponse([_usage(row) for row in rows]).encode()

    async def prune(self, call: Call) -> None:
        request = m.PruneRequest.decode(await call.request())
        filters: dict[str, Iterable[str]] = dict(_filters(request.filter))
        if request.keep_duration > 0:
            filters["unused-for"] = [f"{request.keep_duration // SECOND}s"]
        before = {row.id: row for row in await self._builds.usage()}
        keep = max(request.reserved_space, request.max_used_space, 0)
        deleted, _ = await self._builds.prune(request.all, Filters(filters), keep)
        begin(call.stream)
        for id in deleted:
            if (row := before.get(id)) is not None:
                await call.send(_usage(row).encode())


async def _received(channel: Channel, data: bytes) -> None:
    """A message may have 16 MiB of small frames: others have their turn in between."""
    for at in range(0, len(data), _PIECE):
        channel.received(data[at : at + _PIECE])
        await asyncio.sleep(0)


def platforms_here() -> list[m.Platform]:
    """What steps can be run for: this machine's own platform first, then what is emulated."""
    every = [platforms.host(), *emulated()]
    return [m.Platform(each.architecture, each.os, each.variant) for each in every]


class _Within:
    """A carrier: each piece is a message of the call."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._waiting = bytearray()
        self._news = asyncio.Event()
        self.sent: Callable[[], object] = lambda: None

    def write(self, data: bytes) -> None:
        self._waiting += data
        self._news.set()

    def unsent(self) -> int:
        return len(self._waiting)

    def close(self) -> None:
        return

    async def run(self) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            data = bytes(self._waiting)
            await self._call.send(BytesMessage(data).encode())
            del self._waiting[: len(data)]
            if self._waiting:
                self._news.set()
            self.sent()


def _filters(texts: Sequence[str]) -> Filters:
    """containerd's filters as far as they say KEY==VALUE. Raises Invalid."""
    found: dict[str, list[str]] = {}
    for text in texts:
        for part in filter(None, text.split(",")):
            key, equal, value = part.partition("==")
            if not equal:
                raise Invalid(f"invalid filter {part[:100]!r}: KEY==VALUE is what is understood")
            found.setdefault(key, []).append(value.strip('"'))
    return Filters(found)


def _usage(row: CacheRow) -> m.UsageRecord:
    return m.UsageRecord(
        id=row.id,
        in_use=row.in_use,
        size=row.size,
        created=m.Timestamp.of(row.created),
        used=m.Timestamp.of(row.used),
        count=row.count,
        description=row.description,
        type=row.type,
        shared=row.shared,
        parents=[row.parent] if row.parent else [],
    )
