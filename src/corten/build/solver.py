"""Doing what a plan says: one task for each node, each beginning when what it needs is there.

    solver = Solver(plans, client, downloads, worker, known, trace, failures)
    states = await solver.run()

The first error cancels the other tasks, and is raised when all have ended. Steps of other builds with the same key are
waited for, and their result is found in the cache: nothing is done twice side by side.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from corten.aio.tasks import end
from corten.build.contract import (
    Bind,
    BuildFailed,
    Client,
    CopyStep,
    Layer,
    Log,
    Matched,
    RunStep,
    SourceTree,
    StageTree,
    StepFailed,
    Trace,
    Tree,
    Vertex,
    Worker,
)
from corten.build.definitions import copies, define
from corten.build.downloads import Downloads
from corten.build.exchange.records import Done
from corten.build.failures import Failures
from corten.build.known_steps import KnownSteps
from corten.build.plan import keys
from corten.build.plan.graph import (
    COPIED,
    Base,
    Fetched,
    Local,
    Node,
    Plan,
    Remote,
    Repository,
    Settings,
    Step,
    Work,
    with_trees,
)
from corten.build.state import State, history
from corten.build.vertices import Progress
from corten.errors import CortenError

log = logging.getLogger(__name__)
R = TypeVar("R")
A = TypeVar("A")
B = TypeVar("B")


Begin = Callable[[], None]


class Solver:
    """`plans` are of one platform each. `done` has the steps that were done, or were found, by their digests."""

    def __init__(
        self,
        plans: Sequence[Plan],
        client: Client,
        downloads: Downloads,
        worker: Worker,
        known: KnownSteps,
        trace: Trace,
        failures: Failures,
    ) -> None:
        self._plans = plans
        self._nodes = _once(node for plan in plans for node in plan.nodes)
        self._client = client
        self._downloads = downloads
        self._worker = worker
        self._known = known
        self._trace = trace
        self._failures = failures
        self.done: dict[str, Done] = {}
        self._tasks: dict[str, asyncio.Task[State | SourceTree]] = {}  # by the digests of nodes
        self._definitions: dict[Step, str] | None = None
        self._defining = asyncio.Lock()

    async def run(self) -> dict[Node, State]:
        """The state behind every node that has one. Raises BuildFailed, or what the client raises."""
        for node in self._nodes.values():
            self._trace(Vertex(node.digest, node.name, _inputs(node)))
        # With a cache from elsewhere stages are done that are asked for: a step that copies from one may be found.
        wanted = [plan.top for plan in self._plans] if self._known.elsewhere else self._nodes.values()
        try:
            await asyncio.gather(*{self._demand(node) for node in wanted})
        finally:
            await end(self._tasks.values())
        for node in self._nodes.values():
            if node.digest not in self._tasks:  # what was found made it needless
                now = time.time()
                self._trace(Vertex(node.digest, node.name, _inputs(node), now, now, cached=True))
        every = [node for plan in self._plans for node in plan.nodes if node.digest in self._tasks]
        tasks = ((node, self._tasks[node.digest]) for node in every)
        results = ((node, task.result()) for node, task in tasks if not task.cancelled())
        return {node: result for node, result in results if isinstance(result, State)}

    def _demand(self, node: Node) -> asyncio.Task[State | SourceTree]:
        if node.digest not in self._tasks:
            once = self._nodes[node.digest]
            self._tasks[node.digest] = asyncio.create_task(self._node(once), name=node.name)
        return self._tasks[node.digest]

    async def definitions(self) -> dict[Step, str]:
        """See `corten.build.definitions`."""
        async with self._defining:
            if self._definitions is None:
                every = [await define(plan, self._tree, self._worker.checksum) for plan in self._plans]
                self._definitions = {step: name for found in every for step, name in found.items()}
        return self._definitions

    async def _node(self, node: Node) -> State | SourceTree:
        match node:
            case Base():
                return self._base(node)
            case Local():
                return await self._vertex(node, lambda begin: self._local(node, begin))
            case Remote() | Repository():
                return await self._vertex(node, lambda begin: self._fetched(node, begin))
        return await self._vertex(node, lambda begin: self._step(node, begin))

    async def _vertex(self, node: Local | Fetched | Step, work: Callable[[Begin], Coroutine[Any, Any, R]]) -> R:
        """What `work` gives, with the vertex's events around it: it begins when `work` says so, and was there already
        when that is never said."""
        vertex = Vertex(node.digest, node.name, _inputs(node))

        def begin() -> None:
            nonlocal vertex
            vertex = replace(vertex, started=time.time())
            self._trace(vertex)

        def end(error: str = "") -> None:
            now = time.time()
            cached = not vertex.started and not error
            self._trace(replace(vertex, started=vertex.started or now, completed=now, cached=cached, error=error))

        try:
            result = await work(begin)
        except asyncio.CancelledError:
            if vertex.started:
                end("context canceled")
            raise
        except BuildFailed:  # of what it needs
            raise
        except (CortenError, OSError, StepFailed) as error:
            failure = self._failures.of(node, error)
            end(str(failure))
            raise failure from error
        end()
        return result

    # ------------------------------------------------------------------------------------------------ what is needed

    async def _state(self, node: Base | Step) -> State:
        found = await asyncio.shield(self._demand(node))
        assert isinstance(found, State)
        return found

    async def _tree(self, node: Node | None) -> Tree | None:
        if node is None:
            return None
        found = await asyncio.shield(self._demand(node))
        return StageTree(found.top) if isinstance(found, State) else found

    def _base(self, node: Base) -> State:
        now = time.time()
        self._trace(Vertex(node.digest, node.name, started=now, completed=now, cached=True))
        image = node.image
        if image is None:
            return State()
        said = history(entry.created_by for entry in image.config.history)
        return State(image.chain_id or "", image.config.diff_ids, image.layers, image.chain_id, history=said)

    async def _local(self, node: Local, begin: Begin) -> SourceTree:
        begin()
        progress = Progress(self._trace, f"transferring {node.source}:", node.digest)
        tree = await self._client.tree(node.source, node.wanted, node.exclude, progress)
        progress.end()
        return tree

    async def _fetched(self, node: Fetched, begin: Begin) -> SourceTree:
        begin()
        if isinstance(node, Repository):
            return await self._downloads.repository(node, lambda line: self._trace(Log(node.digest, 2, line)))
        progress = Progress(self._trace, "downloading", node.digest)
        tree = await self._downloads.fetch(node, progress)
        progress.end()
        return tree

    # ------------------------------------------------------------------------------------------------------- a step

    async def _step(self, node: Step, begin: Begin) -> State:
        if (state := await self._by_definition(node)) is not None:
            return state
        parent, (trees, sums, sources) = await _both(self._state(node.parent), self._sources(node))
        work = with_trees(node.work, trees)
        key = keys.of(parent.identity, work, sums)
        copied = f"{'file' if len(sums) == 1 else 'multi'}:{''.join(sums[:1]).removeprefix('sha256:')}"
        said = node.said.replace(COPIED, copied)
        async with self._known.lock(key):
            found = None if node.fresh else await self._known.find(key, parent, said)
            if found is None:
                begin()
                work = with_trees(node.work, tuple([await _brought(tree) for tree in trees]))
                found = self._known.keep(node, key, parent, await self._do(node, parent, work), sources)
            state = parent.over(*found, copied, said)
            self.done[node.digest] = Done(key, state.blobs, state.diff_ids, found[1])
            return state

    async def _by_definition(self, node: Step) -> State | None:
        """What a cache from elsewhere has, without the stages that the step copies from."""
        if not self._known.elsewhere or node.fresh or not copies(node):
            return None
        parent, definitions = await self._state(node.parent), await self.definitions()
        name = definitions.get(node, "")
        found = await self._known.find_elsewhere(name, parent) if name else None
        if found is None:
            return None
        state = parent.over(*found, "", node.said)
        self.done[node.digest] = Done(name, state.blobs, state.diff_ids, found[1])
        return state

    async def _sources(self, node: Step) -> tuple[tuple[Tree | None, ...], list[str], dict[str, str]]:
        """The trees of its work, and their checksums, which need not wait for the parent."""
        for origin in node.origins:
            if origin is not None:
                self._demand(origin)
        trees = tuple([await self._tree(origin) for origin in node.origins])
        return trees, *await self._sums(with_trees(node.work, trees))

    async def _do(self, node: Step, parent: State, work: Work) -> Layer:
        if isinstance(work, Settings):
            return Layer("", "", "", 0, None)
        if isinstance(work, CopyStep):
            return await self._worker.copy(parent.diff_ids, work)

        def output(stream: int, data: bytes) -> None:
            self._trace(Log(node.digest, stream, data))

        work = replace(work, env=(*work.env, *node.unkeyed))
        return await self._worker.run(parent.diff_ids, work, self._client, output)

    async def _sums(self, work: Work) -> tuple[list[str], dict[str, str]]:
        """Checksums of its sources or mounts, in their order, and those among them that never change, by name."""
        asked: list[tuple[Matched | None, Sequence[str], bool]] = []
        if isinstance(work, CopyStep):
            asked += [(matched, work.exclude, work.parents) for matched in work.sources]
        elif isinstance(work, RunStep):
            asked += [(_shown(mount) if isinstance(mount, Bind) else None, (), False) for mount in work.mounts]
        sums, sources = [], {}
        for matched, exclude, parents in asked:
            if matched is None:
                sums.append("")
                continue
            name = keys.source(matched, exclude, parents)
            known = self._known.checksum(name)
            if not known:
                matched = replace(matched, tree=await _brought(matched.tree))
            sums.append(known or await self._worker.checksum(matched, exclude, parents))
            if name:
                sources[name] = sums[-1]
        return sums, sources


async def _brought(tree: Tree | None) -> Tree | None:
    """With its files here."""
    return await tree.bring() if isinstance(tree, SourceTree) and tree.bring is not None else tree


def _shown(mount: Bind) -> Matched:
    return Matched(mount.tree, (mount.path or "/",))


def _once(nodes: Iterable[Node]) -> dict[str, Node]:
    """By digest. Plans of several platforms have nodes that are the same: of a client's files all that any names."""
    found: dict[str, Node] = {}
    for node in nodes:
        known = found.setdefault(node.digest, node)
        if isinstance(known, Local) and isinstance(node, Local):
            known.follow |= node.follow
    return found


def _inputs(node: Node) -> tuple[str, ...]:
    return () if isinstance(node, Base) else node.inputs


async def _both(first: Coroutine[Any, Any, A], second: Coroutine[Any, Any, B]) -> tuple[A, B]:
    """Side by side; the first error cancels the other, and is raised when both have ended."""
    tasks = asyncio.ensure_future(first), asyncio.ensure_future(second)
    try:
        await asyncio.gather(*tasks)
    finally:
        await end(tasks)
    return tasks[0].result(), tasks[1].result()
