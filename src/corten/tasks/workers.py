"""Work on image trees, done by confined children of the launcher."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from corten.kernel.full_disk import writing
from corten.spec.id_map import IdRange
from corten.spec.json import Json
from corten.spec.mounts import Mount
from corten.tasks.answers import content
from corten.tasks.launcher import Asked

_MAKE = 60.0  # seconds
_DISK = 660.0  # seconds: mke2fs may have 600
_COPY = 3600.0  # seconds; nothing is heard of a copy before its end


class LauncherWorkers:
    """`store`'s and the engine's workers."""

    def __init__(self, launcher: Asked) -> None:
        self._launcher = launcher

    async def unpack(self, tree: Path, source_fd: int) -> Json:
        """Apply the uncompressed tar stream of `source_fd` to the directory `tree`, for as long as that comes."""
        return await self._in_directory({"do": "unpack"}, tree, [source_fd], None)

    async def unpack_files(
        self, tree: Path, source_fd: int, sums_fd: int, most: int, owned: bool = False, again: bool = False
    ) -> Json:
        """The same for a tar that is no layer: all of it belongs to root unless it is `owned` as the tar says, and
        there are no whiteouts. Hashes of its files (`corten.layers.sums.entry`) are written to `sums_fd`, so many bytes
        at `most`. `again`: the directory has what an earlier one brought (`corten.layers.again`)."""
        request = {"do": "unpack files", "memory": most, "owned": owned, "again": again}
        return await self._in_directory(request, tree, [source_fd, sums_fd], None)

    async def copy_up(
        self,
        volume: Path | Mount,
        rootfs: Sequence[Mount],
        path: str,
        uids: Sequence[IdRange] = (),
        gids: Sequence[IdRange] = (),
    ) -> bool:
        """Fill the empty directory `volume`, or a file system that is mounted for this and may not be empty, with what
        the image has at `path`, its owners mapped; False when it has nothing there, or there is no need."""
        request = {
            "do": "copy up",
            "path": path,
            "rootfs": [mount.entry() for mount in rootfs],
            "uids": [[line.container, line.host, line.size] for line in uids],
            "gids": [[line.container, line.host, line.size] for line in gids],
        }
        if isinstance(volume, Mount):
            given, _ = await self._launcher.ask(request | {"volume": volume.entry()}, [], _COPY)
            return bool(content(given)["copied"])
        answer = await self._in_directory(request, volume, [], _COPY)
        return bool(answer["copied"])

    async def make_directory(self, rootfs: Sequence[Mount], path: str, owner: tuple[int, int]) -> None:
        """`mkdir -p` in a container's tree that nothing else has mounted. Raises Invalid where that cannot be."""
        entries = [mount.entry() for mount in rootfs]
        request = {"do": "make directory", "path": path, "rootfs": entries, "owner": list(owner)}
        answer, _ = await self._launcher.ask(request, [], _MAKE)
        content(answer)

    async def make_image(self, tree: Mount, out: int, uuid: bytes, label: bytes) -> None:
        """Write an EROFS image of a tree to the empty file `out`, and sync it. Raises Unsupported for a tree that has
        what the format lacks."""
        request = {"do": "make image", "tree": tree.entry(), "uuid": uuid.hex(), "label": label.decode()}
        answer, _ = await self._launcher.ask(request, [out], _COPY)
        content(answer)

    async def make_disk(self, out: int) -> None:
        """Make an empty ext4 file system in the file `out`, as large as that. Unsupported without e2fsprogs."""
        answer, _ = await self._launcher.ask({"do": "make disk"}, [out], _DISK)
        content(answer)

    async def _in_directory(self, request: Json, directory: Path, fds: list[int], seconds: float | None) -> Json:
        fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            answer, unexpected = await self._launcher.ask(request, [*fds, fd], seconds)
        finally:
            os.close(fd)
        for given in unexpected:
            os.close(given)
        with writing(directory):
            found: Json = content(answer)
        return found
