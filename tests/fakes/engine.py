"""An engine whose containers are plain processes of this machine: no namespaces, no mounts, no root needed.

Everything else is real: records, images and snapshots on disk, sockets, hijacked streams, logs, exits. What takes the
place of the rest (`runtime`, `networks`, `namespaces`) passes the suite of tests/contract that the real one passes.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import AbstractAsyncContextManager
from functools import cache
from pathlib import Path
from typing import cast

from corten.build.builds import Builds
from corten.build.cache import policy
from corten.build.cache.pruner import Pruner
from corten.build.contexts import Contexts
from corten.build.contract import CopyStep, Looks, Repositories, RunStep
from corten.build.history.history import History
from corten.build.outputs.contract import PlatformTree, Walk
from corten.build.shared import CacheMounts, Shared
from corten.build.trees import Trees
from corten.build.work.caches import CacheDirectory
from corten.buildkit.faces import Faces
from corten.engine.configuration import Configuration, Settings
from corten.engine.containers.containers import Containers
from corten.engine.containers.stores import Stores
from corten.engine.engine import Engine
from corten.engine.events import Events
from corten.engine.networks.networks import Networks
from corten.engine.secrets import Secrets
from corten.engine.volumes import Volumes
from corten.errors import NotFound, Unsupported
from corten.guests.guests import Guests
from corten.guests.guests import Settings as GuestSettings
from corten.images.store import ImageStore
from corten.instance.contract import TreeRequest
from corten.plan.facts import HostFacts
from corten.plan.security import DEFAULT_CAPABILITIES
from corten.sandbox.sandboxes import Sandboxes
from corten.snapshots.guest_disks import GuestDisks
from corten.snapshots.guest_images import GuestImages
from corten.spec.id_map import IdRange
from corten.spec.json import Json
from corten.spec.mounts import Mount
from corten.store.leases import Lease
from corten.store.records import Records
from fakes.guests import FakeMachines
from fakes.images import keep_image
from fakes.namespaces import FakeNamespaces, NoHolders
from fakes.networks import FakeNetworks
from fakes.runtime import FakeRuntime
from fakes.worker import FakeWorker
from image_parts.stores import Store
from image_parts.workers import ForkWorkers


class PlainEngine(Engine):
    """On `root`; `close` closes the store as well. With the `runtime` of an earlier one, and after its `close`, it is
    another daemon's engine, which finds what that one left."""

    def __init__(self, root: Path, runtime: FakeRuntime | None = None) -> None:
        (root / "containers").mkdir(parents=True, exist_ok=True)
        self.store = Store(root, users=self._containers_of)
        self.steps: list[RunStep | CopyStep] = []  # of builds, in the order of their beginnings
        self.runtime = runtime or FakeRuntime()
        self.runtime.on_event = self.on_task_event
        self.fake_networks = FakeNetworks()
        keep_image(self.store)
        records, events, namespaces = Records(self.store.database), Events(), FakeNamespaces()
        # `Networks` is no protocol, so mypy cannot see that a method is missing here or has other arguments.
        # tests/contract/test_networks.py calls each of them by its type, which is that of both.
        networks = cast(Networks, self.fake_networks)
        volumes = Volumes(root / "volumes", records, events)
        containers = Containers(
            Configuration(Settings(root, root / "run"), HostFacts(capabilities=tuple(DEFAULT_CAPABILITIES))),
            records,
            events,
            Stores(
                root / "containers",
                self.store.images,
                self.store.trees,
                GuestImages(self.store.image_files, self.store.trees, no_image),
                GuestDisks(root / "vm" / "disks", no_disk),
                volumes,
                Secrets(records, events, root, None),
                copy_nothing,
                make_nothing,
            ),
            networks,
            self.runtime,
            namespaces,
            Sandboxes(namespaces, NoHolders()),
            NoGroups(),
            lambda profile, capabilities, machine: None,
        )
        super().__init__(containers, NoTreeWork(), Guests(root / "vm", FakeMachines(), GuestSettings()))
        images, kept, cached = self.store.images, Trees(root / "build" / "trees"), self.store.cache
        contexts = Contexts(root / "build" / "contexts", ForkWorkers())
        self.builds = Builds(
            Shared(images, cached, contexts, FakeWorkers(images.store, self.steps)),
            kept,
            Pruner(images.store, cached, NoMounts(), (kept,), policy.default()),
            lambda: History(records, root / "build" / "history"),
            events.publish,
        )
        self.builds.recover()
        self.buildkit = cache(lambda: Faces(self.builds))

    def _containers_of(self, image: str) -> list[tuple[str, bool]]:
        return [(one.id, one.record.state.running) for one in self.containers.of_image(image)]

    async def close(self, seconds: float | None = None) -> None:
        await self.builds.close()
        await super().close(seconds)
        await self.store.close()


class FakeWorkers:
    """`corten.build.shared.Workers`: steps are done in memory, and nothing looks into trees."""

    def __init__(self, store: ImageStore, steps: list[RunStep | CopyStep]) -> None:
        self._store = store
        self._steps = steps

    def worker(self, lease: Lease, allowed: Collection[str] = ()) -> FakeWorker:
        return FakeWorker(self._store, lease, self._steps)

    def reader(self) -> NoReader:
        return NoReader()

    def looks(self) -> Looks:
        raise Unsupported("this engine cannot look into trees")

    def repositories(self) -> Repositories:
        raise Unsupported("this engine has no git")

    def cache_mounts(self) -> CacheMounts:
        raise Unsupported("this engine has no cache mounts")


class NoTreeWork:
    """Nothing looks into the trees of these containers."""

    async def ask(self, request: TreeRequest, where: Json | None = None, fds: Sequence[int] = ()) -> Json:
        raise Unsupported("this engine cannot look into containers' trees")

    @contextlib.asynccontextmanager
    async def stream(
        self, request: TreeRequest, where: Json | None = None, fds: Sequence[int] = ()
    ) -> AsyncIterator[tuple[Json, AsyncIterator[bytes]]]:
        raise Unsupported("this engine cannot look into containers' trees")
        yield {}, aiter(())  # makes it a generator

    async def pour(
        self, request: TreeRequest, data: AsyncIterator[bytes], where: Json | None = None, fds: Sequence[int] = ()
    ) -> Json:
        raise Unsupported("this engine cannot look into containers' trees")


class NoReader:
    """The trees of these images have no files to read."""

    def tar(
        self, trees: Sequence[PlatformTree], epoch: int | None
    ) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        raise Unsupported("this engine cannot read trees of images")

    def walk(self, trees: Sequence[PlatformTree], epoch: int | None) -> AbstractAsyncContextManager[Walk]:
        raise Unsupported("this engine cannot read trees of images")

    async def digests(self, top: str | None) -> dict[str, str]:
        raise Unsupported("this engine cannot read trees of images")


class NoMounts:
    """These builds have no cache mounts."""

    async def every(self) -> list[CacheDirectory]:
        return []

    async def remove(self, name: str) -> None:
        raise NotFound(f"no such cache: {name}")


class NoGroups:
    """Containers have no control groups."""

    def missing(self, path: str) -> dict[str, str]:
        return {}

    def remove(self, directory: str) -> bool:
        return True


async def copy_nothing(
    volume: Path | Mount, rootfs: Sequence[Mount], path: str, uids: Sequence[IdRange], gids: Sequence[IdRange]
) -> bool:
    """New volumes stay empty."""
    return False


async def make_nothing(rootfs: Sequence[Mount], path: str, owner: tuple[int, int]) -> None:
    """The plain processes that are containers here have no tree of their own."""


async def no_image(tree: Mount, out: int, uuid: bytes, label: bytes) -> None:
    raise Unsupported("there are no guests here")


async def no_disk(out: int) -> None:
    raise Unsupported("there are no guests here")
