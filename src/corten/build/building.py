"""One build, from a request to an image in the store."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace

from corten.aio.threads import DISK, run_uncancelled
from corten.build import emulated
from corten.build import result as results
from corten.build.attest import options as attest
from corten.build.attest.attested import attested
from corten.build.attest.provenance import Course
from corten.build.bases import Bases
from corten.build.cache.images import cache_images
from corten.build.classic import ClassicStream
from corten.build.contract import BuildRequest, ClassicText, Client, Terminals, Trace, Warning, Worker
from corten.build.debugging import DebuggedWorker
from corten.build.definitions import copies
from corten.build.dockerfile import DEFINITION, Definition, load
from corten.build.downloads import Downloads
from corten.build.exchange.exchange import Exchange
from corten.build.exchange.records import Done, below
from corten.build.failures import Failures
from corten.build.known_steps import KnownSteps
from corten.build.outputs import options
from corten.build.outputs.answers import CONFIG
from corten.build.outputs.contract import Result, Sink
from corten.build.outputs.options import Form, ImageOutput, Output
from corten.build.outputs.outputs import Outputs
from corten.build.plan import targets, variables
from corten.build.plan.graph import Plan
from corten.build.plan.planner import BaseFailed, Planned, Planner
from corten.build.result import Built
from corten.build.shared import Shared
from corten.build.solver import Solver
from corten.errors import Invalid
from corten.spec.dockerfile import check_rules
from corten.spec.dockerfile.check_rules import Finding, violation
from corten.spec.dockerfile.errors import DockerfileError
from corten.spec.reference import familiar
from corten.store.leases import Lease


class Building:
    """Raises Invalid for what no build does."""

    def __init__(
        self,
        shared: Shared,
        request: BuildRequest,
        client: Client,
        trace: Trace,
        terminals: Terminals | None = None,
    ) -> None:
        _refuse(request)
        self._shared = shared
        self._images = shared.images
        self._request = request
        self._client = client
        self._trace = trace
        self._terminals = terminals
        self._platforms = targets.of(request)
        self._attest = attest.read(request.attest)
        self._began = time.time()

    async def run(self, sink: Sink) -> Built:
        """See `Builds.build`."""
        outputs, unknown = options.read(self._request.outputs, variables.epoch(self._request.arguments))
        definition = await load(self._request, self._client, self._trace)
        for text in unknown:
            self._trace(
                Warning(DEFINITION, "UnknownOutputAttribute", f"unknown attribute of an output: {text}", "", (0, 0))
            )
        with self._images.store.leases.hold() as lease, _with_lines(definition):
            try:
                return await self._built(definition, outputs, sink, lease)
            finally:  # what was made, and is neither the image's nor in the cache
                lease.collect()
                await run_uncancelled(lease.release, pool=DISK)

    async def _built(self, definition: Definition, outputs: Mapping[int, Output], sink: Sink, lease: Lease) -> Built:
        exchange = Exchange(self._images, self._request, self._client, sink, self._trace, lease)
        planned = await self._planned(definition, lease)
        _say_findings(definition, targets.findings(planned), self._trace)
        classic = ClassicStream(planned[0].lines, self._trace) if self._request.classic else None
        if classic is not None:
            classic.warn(definition.file.empty_continuations)
        trace, plans = classic or self._trace, [each.plan for each in planned]
        solver, found = await self._solve(definition, plans, lease, trace, exchange)
        done = await _named(solver) if exchange.exports else {}
        own = [each for plan in plans for step in below(plan.top) for each in done.get(step.digest, ())]
        reader = self._shared.workers.reader()
        delivery = Outputs(self._images, reader, self._client, sink, trace, lease)
        built = await self._deliver(exchange.inline(found, own), outputs, delivery)
        every = [each for several in done.values() for each in several]
        answer = await exchange.export(every, own)
        if classic is not None:
            _warn(planned[0], self._trace)
            classic.end(built.id, [familiar(name) for name in self._request.tags])
        return replace(built, answer={**built.answer, **answer})

    async def check(self) -> tuple[Definition, Sequence[Finding]]:
        """See `Builds.check`."""
        definition = await load(self._request, self._client, self._trace)
        with self._images.store.leases.hold() as lease, _with_lines(definition):
            return definition, targets.findings(await self._planned(definition, lease))

    async def _planned(self, definition: Definition, lease: Lease) -> list[Planned]:
        """One for each platform."""
        bases = Bases(self._images, self._client, self._request, lease, self._trace)
        count, planned = len(self._platforms), []
        for platform in self._platforms:
            planner = Planner(definition.file, self._request, platform, definition.excludes, bases.resolve, count)
            planned.append(await planner.plan())
        return planned

    def _worker(self, lease: Lease) -> Worker:
        worker = self._shared.workers.worker(lease, ("network.host",) if self._request.network == "host" else ())
        return DebuggedWorker(worker, self._terminals) if self._terminals is not None else worker

    async def _solve(
        self, definition: Definition, plans: Sequence[Plan], lease: Lease, trace: Trace, exchange: Exchange
    ) -> tuple[Solver, Result]:
        request = self._request
        if isinstance(trace, ClassicStream):
            trace.begin()
        await emulated.say(plans, trace)
        downloads = Downloads(
            self._shared.contexts, self._images.download, self._shared.workers.repositories, self._client
        )
        worker = self._worker(lease)
        try:
            earlier = await cache_images(self._images, self._shared.cache, request, lease)
            known = KnownSteps(self._shared, lease, earlier, await exchange.imported())
            failures = Failures(definition, request.classic)
            solver = Solver(plans, self._client, downloads, worker, known, trace, failures)
            states = await solver.run()
        finally:
            await downloads.close()
        epoch = variables.epoch(request.arguments)
        made = [results.made(plan, states, platform, epoch) for plan, platform in zip(plans, self._platforms)]
        found = Result(tuple(made), request.index or len(made) > 1, epoch)
        if self._attest.any:
            dockerfile, times = (definition.name, definition.text), (self._began, time.time())
            courses = [Course(request, plan, states, downloads.digests, *dockerfile, *times) for plan in plans]
            found = await attested(found, self._attest, courses, worker, trace)
        return solver, found

    async def _deliver(self, found: Result, outputs: Mapping[int, Output], delivery: Outputs) -> Built:
        """All outputs, and the image store, where it is to be one and was not asked for."""
        plain, store = Form(epoch=found.epoch, inline=True), self._request.store
        if not outputs and store:
            outputs = {0: ImageOutput(plain, self._request.tags)}
        answer = await delivery.deliver(found, outputs)
        content = delivery.kept or await delivery.content(found, plain, ())
        kept = bool(delivery.stored)
        if store and not kept:
            await delivery.keep(content)
        config = content.images[0].config.digest
        id, digest = delivery.stored or answer.get(CONFIG, config), content.root.digest
        root = content.root if delivery.kept is not None else None
        predicates = tuple(each for image in found.images for each in image.predicates)
        each = {str(one.made.platform): content.documents[one.config.digest] for one in content.images}
        platforms = each if found.index else {}
        return Built(id, digest, content.documents[config], answer, kept, root, predicates, platforms)


async def _named(solver: Solver) -> dict[str, list[Done]]:
    """The steps that were done, by digest, each by its key; one that copies from a stage by its definition as well,
    which is known before that stage is there."""
    definitions = {step.digest: name for step, name in (await solver.definitions()).items() if copies(step)}
    found = {}
    for id, done in solver.done.items():
        found[id] = [done]
        if id in definitions:
            found[id].append(replace(done, key=definitions[id]))
    return found


def _refuse(request: BuildRequest) -> None:
    """What no build does. Raises Invalid."""
    if request.squash:
        raise Invalid("squash is only supported with experimental mode")


@contextmanager
def _with_lines(definition: Definition) -> Iterator[None]:
    """Errors of the Dockerfile and of its images, with the lines that they are in."""
    try:
        yield
    except DockerfileError as error:
        raise definition.failed(str(error), (error.line, error.end)) from error
    except BaseFailed as failed:
        raise definition.failed(str(failed), (failed.span.line, failed.span.end)) from failed.error


def _say_findings(definition: Definition, findings: Sequence[Finding], trace: Trace) -> None:
    """Warnings of what the Dockerfile's checks found. Raises BuildFailed when it says that these are errors."""
    for finding in findings:
        lines = (finding.span.line, finding.span.end)
        trace(Warning(DEFINITION, finding.rule, finding.message, finding.url, lines))
    if findings and check_rules.options(definition.file.directives.check).fail:
        span = findings[0].span
        raise definition.failed(violation(findings), (span.line, span.end))


def _warn(planned: Planned, trace: Trace) -> None:
    if planned.unconsumed:
        names = " ".join(planned.unconsumed)
        trace(ClassicText(f"[Warning] One or more build-args [{names}] were not consumed\n"))
