"""What a container is made from, and what of it lies on the disk."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from corten.engine.volumes import Volumes
from corten.images.images import Images
from corten.snapshots.contract import Snapshots
from corten.spec.id_map import IdRange
from corten.spec.mounts import Mount

# (volume, rootfs, path, uids, gids): fills an empty directory, or a file system if it is empty, from a tree's `path`,
# owners mapped; False: with nothing
CopyUp = Callable[[Path | Mount, Sequence[Mount], str, Sequence[IdRange], Sequence[IdRange]], Awaitable[bool]]

# (rootfs, path, owner): `mkdir -p` in a tree that nothing else has mounted
MakeDirectory = Callable[[Sequence[Mount], str, tuple[int, int]], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Stores:
    """`root` has a directory for each container, which `mkdir` makes where the disk is quick to give it."""

    root: Path
    images: Images
    snapshots: Snapshots
    volumes: Volumes
    copy_up: CopyUp
    make_directory: MakeDirectory
    mkdir: Callable[[Path, int], None] = os.mkdir

    def bundle(self, id: str) -> Path:
        """The directory of a container."""
        return self.root / id
