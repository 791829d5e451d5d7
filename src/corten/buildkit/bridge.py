"""moby.buildkit.v1.frontend.LLBBridge: the client asks for the build here while its Control.Solve waits.

A build is done when it is asked for, not when its result is used: the steps are the same, and an error comes a call
earlier. Its result is an image, which the job's other builds can begin with or read from.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import Any

from corten.aio.whole import to_the_end
from corten.build import lint
from corten.build.builds import Builds
from corten.build.contexts import Context
from corten.build.contract import BuildFailed, BuildRequest
from corten.build.dockerfile import reads_for
from corten.build.trees import Trees
from corten.buildkit import failures, llb, subrequests
from corten.buildkit.client import SessionClient
from corten.buildkit.jobs import Job, Jobs
from corten.buildkit.metadata import Metadata
from corten.buildkit.outputs import SessionSink
from corten.buildkit.references import References
from corten.buildkit.requests import BuildAsked, asked
from corten.buildkit.results import Results, definition, is_ours, named_by, several
from corten.buildkit.sessions import Sessions
from corten.errors import CortenError, Invalid, NotFound, Unavailable, Unsupported
from corten.http2.grpc import Call, Function
from corten.spec.dockerfile.check_rules import options
from corten.spec.git_url import GitUrl
from corten.spec.protobuf import control as c
from corten.spec.protobuf import gateway as m

_PREFIX = "/moby.buildkit.v1.frontend.LLBBridge/"
_BUILD = "buildkit-controlapi-buildid"
_FRONTEND, _GATEWAY = "dockerfile.v0", "gateway.v0"  # the second runs an image
_FRONTEND_CAPABILITIES = (
    "solve.base solve.inlinereturn return returnmap proto.refarray reference.output frontend.caps frontend.inputs "
    "gateway.solve.metadata gateway.evaluate gateway.evaluate.dedup readfile readdir statfile "
    "resolveimage resolveimage.resolvemode source.metaresolver gateway.warnings"
).split()
_LLB_CAPABILITIES = (
    "source.image source.local source.local.followpaths file.base constraints platform meta.base meta.description "
    "source.git source.git.keepgitdir source.git.fullurl source.git.httpauth source.git.knownsshhosts "
    "source.git.mountsshsock source.git.subdir source.git.checksum source.git.skipsubmodules source.git.mtime "
    "source.http source.http.checksum exporter.multiple exporter.image.attestations"
).split()
_RESULTS = 100  # of one job
_FETCHED = 8  # of them, by definitions: each is a context


class Bridge:
    """One for the daemon."""

    def __init__(self, builds: Builds, sessions: Sessions, trees: Trees, jobs: Jobs) -> None:
        self._builds = builds
        self._sessions = sessions
        self._trees = trees
        self._jobs = jobs
        self._results = Results()
        self._references = References(builds.looks)

    def functions(self) -> dict[str, Function]:
        return {
            _PREFIX + "Ping": self.ping,
            _PREFIX + "Solve": self.solve,
            _PREFIX + "Return": self.returned,
            _PREFIX + "Evaluate": self.evaluate,
            _PREFIX + "Inputs": self.inputs,
            _PREFIX + "ResolveImageConfig": self.image_config,
            _PREFIX + "ResolveSourceMeta": self.source_meta,
            _PREFIX + "Warn": self.warn,
            **self._references.functions(_PREFIX),
        }

    async def ping(self, call: Call) -> bytes:
        await call.request()
        frontend, llb = ([c.Capability(id, True) for id in ids] for ids in (_FRONTEND_CAPABILITIES, _LLB_CAPABILITIES))
        return m.PongResponse(frontend, llb).encode()

    async def solve(self, call: Call) -> bytes:
        request = m.BridgeSolveRequest.decode(await call.request())
        job = await self._job(call)
        try:
            if request.definition is not None and request.definition.operations:
                result = await self._within(job, self._fetch(job, request.definition))
            else:
                result = await self.build(job, request.frontend, request.attributes, request.inputs)
        except (CortenError, OSError) as error:
            raise failures.status(error, job.request.ref) from error
        return m.BridgeSolveResponse(result).encode()

    async def returned(self, call: Call) -> bytes:
        request = m.ReturnRequest.decode(await call.request())
        job = await self._job(call)
        if not job.returned.done():
            job.returned.set_result(request.error or request.result or m.Result())
        return b""

    async def evaluate(self, call: Call) -> bytes:
        """Nothing is left to do, but a reference that is none is said."""
        request = m.EvaluateRequest.decode(await call.request())
        self._references.check(request.ref)
        return b""

    async def inputs(self, call: Call) -> bytes:
        """A frontend within the daemon asks so; a client has none."""
        await call.request()
        return b""

    async def image_config(self, call: Call) -> bytes:
        request = m.ResolveImageConfigRequest.decode(await call.request())
        async with self._metadata(call) as metadata:
            return (await metadata.image_config(request)).encode()

    async def source_meta(self, call: Call) -> bytes:
        request = m.ResolveSourceMetaRequest.decode(await call.request())
        async with self._metadata(call) as metadata:
            return (await metadata.source(request)).encode()

    @asynccontextmanager
    async def _metadata(self, call: Call) -> AsyncIterator[Metadata]:
        job = await self._job(call)
        async with self._client(job, BuildAsked(BuildRequest())) as client:
            yield Metadata(self._builds, client, job.trace)

    async def warn(self, call: Call) -> bytes:
        data = await call.request()
        (await self._job(call)).warn(m.WarnRequest.decode(data), len(data))
        return b""

    async def _job(self, call: Call) -> Job:
        found = call.metadata.get(_BUILD)
        if not found:
            raise Invalid(f"there is no {_BUILD} in the metadata")
        return await self._jobs.find(found[0])

    # ------------------------------------------------------------------------------------------------------- a build

    async def build(
        self, job: Job, frontend: str, attributes: Mapping[str, str], inputs: Mapping[str, c.Definition]
    ) -> m.Result:
        """Raises what a build raises. It ends with its job, too."""
        if frontend == _GATEWAY:
            if not reads_for(image := attributes.get("source", "")):
                raise Unsupported(f"the frontend {image[:200]!r} is not supported: docker/dockerfile is")
            attributes = {key: value for key, value in attributes.items() if key not in ("source", "cmdline")}
        elif frontend not in (_FRONTEND, ""):
            raise Unsupported(f"the frontend {frontend[:100]!r} is not supported: dockerfile.v0 is")
        if not frontend:
            return m.Result(m.Ref(""))
        if name := attributes.get("requestid"):
            return await self._subrequest(name, job, attributes, inputs)
        return await self._within(job, self._build(job, attributes, inputs))

    async def _within(self, job: Job, build: Coroutine[Any, Any, m.Result]) -> m.Result:
        """It ends with its job, too."""
        if job.ending:
            build.close()
            raise Unavailable(f"the build {job.request.ref[:100]!r} has ended")
        if len(job.results) + len(job.fetched) >= _RESULTS:
            build.close()
            raise Invalid(f"{_RESULTS} results are the most that a build can have")
        work = asyncio.ensure_future(build)
        job.building.add(work)
        try:
            return await asyncio.shield(work)
        finally:
            job.building.discard(work)
            await _ended(work)

    async def _build(self, job: Job, attributes: Mapping[str, str], inputs: Mapping[str, c.Definition]) -> m.Result:
        id = secrets.token_hex(16)
        found = self._asked(job.request, attributes, id, inputs)
        sink = SessionSink(await self._sessions.find(job.request.session))
        async with self._client(job, found) as client:
            built = await self._builds.build(found.request, client, job.trace, sink)
        job.results[id] = built
        self._results.add(id, built.id)
        self._references.add(id, self._builds.tree(built.id))
        if built.platforms:
            return several(id, built.platforms)
        metadata = {"containerimage.config": built.config}
        return m.Result(m.Ref(id, definition(id)), metadata=metadata)

    async def _subrequest(
        self, name: str, job: Job, attributes: Mapping[str, str], inputs: Mapping[str, c.Definition]
    ) -> m.Result:
        if name == lint.NAME:
            return await self._lint(job, attributes, inputs)
        if name == subrequests.DESCRIBE:
            return m.Result(metadata=subrequests.described())
        if name not in (subrequests.OUTLINE, subrequests.TARGETS):
            raise failures.unknown_subrequest(name)
        found = self._asked(c.SolveRequest(entitlements=job.request.entitlements), attributes, "", inputs)
        async with self._client(job, found) as client:
            if name == subrequests.TARGETS:
                return m.Result(metadata=subrequests.targets(await self._builds.read(found.request, client, job.trace)))
            definition, outlined = await self._builds.outline(found.request, client, job.trace)
            return m.Result(metadata=subrequests.outline(definition, outlined))

    async def _lint(self, job: Job, attributes: Mapping[str, str], inputs: Mapping[str, c.Definition]) -> m.Result:
        found = self._asked(c.SolveRequest(entitlements=job.request.entitlements), attributes, "", inputs)
        try:
            async with self._client(job, found) as client:
                definition, findings = await self._builds.check(found.request, client, job.trace)
        except BuildFailed as failed:
            return m.Result(metadata=lint.error(failed))
        fails = bool(findings) and options(definition.file.directives.check).fail
        return m.Result(metadata=lint.answer(definition.name, definition.text, findings, fails))

    async def _fetch(self, job: Job, wanted: c.Definition) -> m.Result:
        """What a definition names, held for as long as the job is."""
        if is_ours(wanted):
            return m.Result(m.Ref(named_by(wanted), wanted))
        if len(job.fetched) >= _FETCHED:
            raise Invalid(f"{_FETCHED} definitions are the most that a build can have")
        source, id = llb.source_of(wanted), secrets.token_hex(16)
        async with self._client(job, BuildAsked(BuildRequest())) as client:
            fetching = self._builds.fetching(client, job.trace)
            self._references.add(id, await job.held.enter_async_context(fetching.tree(source)))
        job.fetched.append(id)
        return m.Result(m.Ref(id, wanted))

    def _asked(
        self, solve: c.SolveRequest, attributes: Mapping[str, str], id: str, inputs: Mapping[str, c.Definition]
    ) -> BuildAsked:
        found = asked(attributes, solve, id, partial(self._input, inputs))
        if "context" not in inputs or found.request.remote:
            return found
        return replace(found, request=replace(found.request, remote=llb.address(inputs["context"])))

    def _input(self, inputs: Mapping[str, c.Definition], key: str) -> str | GitUrl:
        """What an input is as a named context: an image of ours, or an address."""
        if key not in inputs:
            raise Invalid(f"there is no input {key[:100]!r}")
        if not is_ours(inputs[key]):
            return llb.address(inputs[key])
        return f"docker-image://{self._results.image(named_by(inputs[key]))}"

    @asynccontextmanager
    async def _client(self, job: Job, found: BuildAsked) -> AsyncIterator[SessionClient]:
        session = await self._sessions.find(job.request.session)
        others = {source: await self._sessions.find(id) for source, id in found.sessions.items()}
        client = SessionClient(session, self._trees, others, found.names)
        context: Context | None = None
        try:
            if found.upload:
                body = client.upload(found.upload, "buildkit-session")
                context = client.context = await self._builds.contexts.receive(body)
            yield client
        finally:
            await to_the_end(client.close())
            if context is not None:
                await to_the_end(context.remove())

    def exported(self, job: Job, result: m.Result) -> dict[str, str]:
        """What Control.Solve answers. Raises NotFound for a result that is none of this job."""
        refs = [result.one] if result.one is not None else []
        refs += list(result.several.refs.values()) if result.several is not None else []
        ids = [ref.id for ref in refs if ref.id]
        if not ids:
            return {}
        if ids[0] not in job.results:
            raise NotFound(f"the result {ids[0][:100]!r} is not one of this build")
        return dict(job.results[ids[0]].answer)

    async def end(self, job: Job) -> None:
        """What of the job is under way ends; what is not to be kept goes. Nothing begins any more meanwhile."""
        job.ending = True
        for work in list(job.building):
            work.cancel()
            await _ended(work)
        for id in (*job.results, *job.fetched):
            self._references.remove(id)
        await to_the_end(job.held.aclose())
        for id, built in job.results.items():
            self._results.remove(id)
            if not built.stored:
                await to_the_end(self._builds.discard(built.id))


async def _ended(work: asyncio.Future[Any]) -> None:
    """Cancel it, and wait for its end, whatever happens meanwhile."""
    cancelled: asyncio.CancelledError | None = None
    while not work.done():
        work.cancel()
        try:
            await asyncio.wait({work})
        except asyncio.CancelledError as error:
            cancelled = error
    if not work.cancelled():
        work.exception()  # seen
    if cancelled is not None:
        raise cancelled
