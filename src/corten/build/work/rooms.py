"""What the work is made of: the rooms below, and as protocols what the engine beside has."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from corten.aio.sources import closing
from corten.build.contract import SourceTree, Tree
from corten.build.work.caches import Seeds
from corten.errors import Invalid, NotFound
from corten.images.store import ImageStore
from corten.network.endpoint import Endpoint
from corten.network.endpoint_request import EndpointRequest
from corten.network.resolver import Sockets
from corten.plan.facts import HostFacts
from corten.snapshots.contract import Snapshots
from corten.snapshots.tree_store import Draft
from corten.spec.cdi import Edits
from corten.spec.dockerfile.run_devices import Device
from corten.spec.json import Json
from corten.spec.mounts import Mount
from corten.tasks.contract import Namespace, NetworkNamespaces, Runtime


class Networks(Protocol):
    """The engine's networks, as `corten.engine.networks.networks.Networks` has them. `quiet`: without an event."""

    async def connect(self, request: EndpointRequest, quiet: bool = False) -> Endpoint: ...

    async def disconnect(self, endpoint: Endpoint, namespace: Namespace | None = None, quiet: bool = False) -> None: ...

    def needs_resolver(self, container_id: str) -> bool: ...

    async def start_resolver(self, container_id: str, sockets: Sockets, servers: Sequence[str] = ()) -> None: ...

    def hosts_file(
        self, endpoints: Sequence[Endpoint], hostname: str, domainname: str = "", extra: Iterable[str] = ()
    ) -> str: ...

    def resolv_conf(self, endpoints: Sequence[Endpoint]) -> str: ...


class Streamed(Protocol):
    """The tar of a layer. `begun` is what is said before it, `answer` what at its end: once all pieces were taken, or
    all was read from `reader`, a pipe's end that does not block, and `ended` has waited for it."""

    begun: Json
    answer: Json
    reader: int

    def pieces(self) -> AsyncIterator[bytes]: ...

    async def ended(self) -> None: ...


class AskedStream(Streamed, Protocol):
    """A stream whose sender is asked by number for what to send, until `finish`."""

    async def ask(self, numbers: Sequence[int]) -> None: ...

    def finish(self) -> None: ...


async def collected(streamed: Streamed, most: int = 1 << 62, refusal: str = "") -> bytes:
    """All that comes. Raises Invalid with `refusal` for more than `most` bytes."""
    data = bytearray()
    async with closing(streamed.pieces()) as pieces:
        async for piece in pieces:
            data += piece
            if len(data) > most:
                raise Invalid(refusal)
    return bytes(data)


class TreeSteps(Protocol):
    """Confined processes (`corten.tasks.steps.LauncherSteps`)."""

    async def ask(self, request: Json, fds: Sequence[int]) -> Json: ...

    async def files(self, request: Json) -> tuple[Json, list[int]]: ...

    def stream(self, request: Json, fds: Sequence[int]) -> AbstractAsyncContextManager[Streamed]: ...

    def asked(self, request: Json, fds: Sequence[int]) -> AbstractAsyncContextManager[AskedStream]: ...


class Unpack(Protocol):
    """Applies the uncompressed tar at a descriptor to an empty directory (`LauncherWorkers.unpack`)."""

    async def __call__(self, tree: Path, source_fd: int) -> Json: ...


class Trees(Snapshots, Protocol):
    """A driver of trees (`corten.snapshots.stored.StoredTrees`): those of containers, and those of layers."""

    @property
    def overlays(self) -> bool: ...

    def receive(self) -> Draft: ...

    def commit(
        self, draft: Draft, name: str, parent: str | None, size: int, *, earlier: bool = False, own: int = 0
    ) -> None: ...

    def discard(self, draft: Draft) -> None: ...


class Devices(Protocol):
    """See `Rooms`."""

    async def __call__(self, wanted: Sequence[Device]) -> tuple[Sequence[Edits], Sequence[str]]: ...


@dataclass(frozen=True, slots=True)
class Rooms:
    """`root` is a directory of the data root, `memory` one in memory, for secrets. `facts` are asked for each step, as
    they may be replaced. `seccomp` gives a profile ("": the daemon's own) for capabilities, `devices` what
    CDI devices change in a specification, and the names of those that are neither here nor required (Invalid: of one
    that is)."""

    root: Path
    memory: Path
    store: ImageStore
    trees: Trees
    runtime: Runtime
    namespaces: NetworkNamespaces
    networks: Networks
    steps: TreeSteps
    seed: Seeds
    unpack: Unpack
    facts: Callable[[], HostFacts]
    seccomp: Callable[[str, Sequence[str]], Json | None]
    cgroup_parent: str
    devices: Devices


def view_of(rooms: Rooms, tree: Tree | None) -> Mount:
    """A tree as a read-only mount. NotFound where there are no files at all."""
    if isinstance(tree, SourceTree):
        return Mount("bind", str(tree.directory), "/", ("bind", "ro"))
    if tree is None or tree.top is None:
        raise NotFound("there are no files in this stage")
    return rooms.trees.view(tree.top)[0]
