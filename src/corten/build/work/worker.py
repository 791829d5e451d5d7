"""`corten.build.contract.Worker`: steps over the engine's rooms."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from corten.aio.whole import cancelled_once
from corten.build.contract import Client, CopyStep, Layer, Matched, RunStep, SourceTree, StageTree, Terminal
from corten.build.work.archives import unpacked
from corten.build.work.caches import Caches
from corten.build.work.checksums import Checksums
from corten.build.work.layer import Layers, top_of
from corten.build.work.packages import packages
from corten.build.work.rooms import Rooms
from corten.build.work.run import Run
from corten.build.work.sources import described
from corten.errors import Forbidden
from corten.spec.json import Json
from corten.spec.packages.package import Inventory
from corten.store.leases import Lease


class Tools:
    """What all workers of a daemon share."""

    def __init__(self, rooms: Rooms, caches: Caches) -> None:
        self.rooms = rooms
        self.caches = caches
        self.layers = Layers(rooms)
        self.checksums = Checksums(rooms)


class StepWorker:
    """For one build: what it makes is kept from being collected by `lease`. `allowed` are the entitlements that it has:
    "network.host", "security.insecure"."""

    def __init__(self, tools: Tools, lease: Lease, allowed: Collection[str]) -> None:
        self._rooms = tools.rooms
        self._layers = tools.layers
        self._caches = tools.caches
        self._checksums = tools.checksums
        self._allowed = allowed
        self.lease = lease

    async def run(
        self, parent: Sequence[str], step: RunStep, client: Client, output: Callable[[int, bytes], None]
    ) -> Layer:
        return await cancelled_once(self._run(parent, step, client, output))

    async def _run(
        self, parent: Sequence[str], step: RunStep, client: Client, output: Callable[[int, bytes], None]
    ) -> Layer:
        run = self._begun(parent, step, client)
        try:
            await run.run(output)
            return await self._layers.of_active(run.key, parent, run.stubs, step.volumes, self.lease, run.ids)
        except BaseException:
            self._rooms.trees.remove(run.key)
            raise

    def _begun(self, parent: Sequence[str], step: RunStep, client: Client) -> Run:
        """Raises Forbidden."""
        for needed, entitlement in ((step.network == "host", "network.host"), (step.insecure, "security.insecure")):
            if needed and entitlement not in self._allowed:
                raise Forbidden(f"{entitlement} is not allowed")
        return Run(self._rooms, self._caches, parent, step, client)

    async def shell(self, parent: Sequence[str], step: RunStep, client: Client, terminal: Terminal) -> None:
        await cancelled_once(self._shell(self._begun(parent, step, client), terminal))

    async def _shell(self, run: Run, terminal: Terminal) -> None:
        try:
            await run.shell(terminal)
        finally:
            self._rooms.trees.remove(run.key)

    async def copy(self, parent: Sequence[str], step: CopyStep) -> Layer:
        return await cancelled_once(self._copy(parent, step))

    async def _copy(self, parent: Sequence[str], step: CopyStep) -> Layer:
        with described(self._rooms, step.sources) as sources:
            if step.unpack and step.sources:
                async with unpacked(self._rooms, sources) as more:
                    return await self._brought(parent, step, more)
            return await self._brought(parent, step, {**sources, "archives": []})

    async def _brought(self, parent: Sequence[str], step: CopyStep, sources: Json) -> Layer:
        request: Json = {
            "do": "step copy",
            **sources,
            "base": None if step.link else self._layers.base(top_of(parent)),
            "target": step.target,
            "owner": step.owner,
            "mode": step.mode,
            "exclude": list(step.exclude),
            "parents": step.parents,
            "times": step.times,
            "classic": step.classic,
        }
        draft = self._rooms.trees.receive()
        known = self._checksums.known(step.sources[0]) if len(step.sources) == 1 else b""
        copying = self._layers.copies.of(parent, step)
        return await self._layers.of_draft(draft, request, parent, self.lease, _holder(step), known, copying)

    async def checksum(self, source: Matched, exclude: Sequence[str] = (), parents: bool = False) -> str:
        return await self._checksums.of(source, exclude, parents, isinstance(source.tree, StageTree))

    async def packages(self, parent: Sequence[str]) -> Inventory:
        return await packages(self._rooms, top_of(parent))


def _holder(step: CopyStep) -> Path | None:
    """Where the files are that come, when they are those of one directory that goes with the build."""
    if len(step.sources) != 1 or step.sources[0].content:
        return None
    tree = step.sources[0].tree
    return tree.holder if isinstance(tree, SourceTree) else None
