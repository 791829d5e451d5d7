"""What a container is made from, and what of it lies on the disk."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from corten.engine.secrets import Secrets
from corten.engine.volumes import Volumes
from corten.images.images import Images
from corten.snapshots.contract import Snapshots
from corten.snapshots.guest_disks import GuestDisks
from corten.snapshots.guest_images import GuestImages
from corten.spec.id_map import IdRange
from corten.spec.mounts import Mount
from corten.vm.contract import GuestSection

# (volume, rootfs, path, uids, gids): fills an empty directory, or a file system if it is empty, from a tree's `path`,
# owners mapped; False: with nothing
CopyUp = Callable[[Path | Mount, Sequence[Mount], str, Sequence[IdRange], Sequence[IdRange]], Awaitable[bool]]

# (rootfs, path, owner): `mkdir -p` in a tree that nothing else has mounted
MakeDirectory = Callable[[Sequence[Mount], str, tuple[int, int]], Awaitable[None]]


class GuestMachine(Protocol):
    """For one request: its descriptors are open until `close`."""

    @property
    def section(self) -> GuestSection: ...
    @property
    def descriptors(self) -> tuple[int, ...]: ...
    def close(self) -> None: ...


class GuestMachines(Protocol):
    """`corten.guests.guests.Guests`."""

    async def check(self, architecture: str = ...) -> None:
        """Raises Unsupported with the remedy where there cannot be any of that architecture, in uname's words."""

    async def begin(
        self,
        limit: int = 0,
        cpus: int = 0,
        boots: Callable[[], None] = lambda: None,
        shared: bool = False,
        architecture: str = ...,
    ) -> GuestMachine:
        """For a container that may have `limit` bytes and `cpus` processors, 0 for the usual; `shared` when the host
        shares directories with it; of this machine's architecture unless another one is given. What it takes is made by
        the first that asks: `boots` is called before a guest boots for that. NotFound, Unsupported, Exhausted,
        StartFailed, Failed, Unavailable."""


@dataclass(frozen=True, slots=True)
class Stores:
    """`root` has a directory for each container, which `mkdir` makes where the disk is quick to give it."""

    root: Path
    images: Images
    snapshots: Snapshots
    guest_images: GuestImages
    guest_disks: GuestDisks
    volumes: Volumes
    secrets: Secrets
    copy_up: CopyUp
    make_directory: MakeDirectory
    mkdir: Callable[[Path, int], None] = os.mkdir
    guest_machines: GuestMachines | None = None  # None: no container has one

    def bundle(self, id: str) -> Path:
        """The directory of a container."""
        return self.root / id
