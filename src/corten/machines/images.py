"""Machines from OCI images: an image's tree is a disk, and the kernel that lies in it is what the machine boots.

    image = await images.find("debian:boot")
    with images.held(image):                           # it stays meanwhile
        config = await images.bootable(image, config)  # with paths in it: "/boot/vmlinuz-6.1", "/boot/initrd.img-6.1"
        await images.fill(image.id, disk)              # ext4, in a file of the size that it is to have
        await images.take(image, config, directory)

The disk is the machine's own: an ext4 file system without a partition table. Kernel and initial file system are copied
into the machine's directory, and a clone and an archive have them too; a later kernel in the disk is not booted.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, Protocol

from corten.aio.threads import to_disk_thread
from corten.errors import Conflict, Failed, Invalid
from corten.images.images import Images
from corten.kernel.full_disk import writing
from corten.kernel.sync import sync_directory
from corten.snapshots.contract import Snapshots
from corten.spec import platform as platforms
from corten.spec.docker.machine import MachineCreate
from corten.spec.mounts import Mount
from corten.units.sizes import human_size

KERNEL, INITRD = "kernel", "initrd"  # in a machine's directory
ARGUMENTS = "root=/dev/vda rw console=ttyS0"  # the first disk is that
_LABELS = {"kernel": "corten.vm.kernel", "initrd": "corten.vm.initrd", "arguments": "corten.vm.append"}


class Image(NamedTuple):
    """`size`: bytes of its layers' files. `said`: by its labels, "" for what it does not say."""

    id: str
    tree: Mount
    chain: str
    size: int
    said: dict[str, str]


class Workers(Protocol):
    """`tasks.disk_workers.LauncherDisks`."""

    async def fill(self, tree: Mount, out: int) -> None: ...

    async def boot_files(
        self, tree: Mount, kernel: str, initrd: str, targets: Sequence[int] = ()
    ) -> tuple[str, str]: ...


class MachineImages:
    """Errors: NotFound for an image that is not here, Invalid for one that is not for this machine, or has no files."""

    def __init__(self, images: Images, trees: Snapshots, workers: Workers) -> None:
        self._images, self._trees, self._workers = images, trees, workers

    async def find(self, reference: str) -> Image:
        found = await self._images.provide(reference)
        if platforms.foreign(found.config.platform):
            raise Invalid(
                f"image {reference} is for {found.config.platform}, and a machine here for {platforms.host()}"
            )
        if found.chain_id is None:
            raise Invalid(f"image {reference} has no files")
        (tree,) = self._trees.view(found.chain_id)
        size = sum(layer.bytes for layer in self._trees.tree_store.lineage(found.chain_id))
        labels = found.defaults.labels or {}
        said = {key: labels.get(label, "") for key, label in _LABELS.items()}
        return Image(found.id, tree, found.chain_id, size, said)

    @contextmanager
    def held(self, image: Image) -> Iterator[None]:
        with self._images.store.leases.hold() as lease:
            lease.add("snapshot", image.chain)
            yield

    async def fill(self, reference: str, out: int) -> None:
        """What an image has, as an ext4 file system in the empty file `out`, as large as that is. Invalid where it is
        not large enough."""
        image = await self.find(reference)
        with self.held(image):
            try:
                await self._workers.fill(image.tree, out)
            except Failed as failed:
                size = os.fstat(out).st_size
                if image.size < size // 2:
                    raise
                text = f"a disk of {human_size(size)} has no room for the {human_size(image.size)} of image {reference}"
                raise Invalid(text) from failed

    async def bootable(self, image: Image, config: MachineCreate) -> MachineCreate:
        """With what it boots: what the request names, or the image's labels, or what is found in the image."""
        kernel, initrd = config.kernel or image.said["kernel"], config.initrd or image.said["initrd"]
        for path in filter(None, (kernel, initrd)):
            check_path(path)
        kernel, initrd = await self._workers.boot_files(image.tree, kernel, initrd)
        arguments = config.kernel_arguments or image.said["arguments"] or ARGUMENTS
        return config.replace(kernel=kernel, initrd=initrd, kernel_arguments=arguments)

    async def take(self, image: Image, config: MachineCreate, directory: Path) -> None:
        """Copies of both into a machine's directory."""
        names = [KERNEL, *([INITRD] if config.initrd else [])]
        targets: list[int] = []
        try:
            with writing(directory):
                targets += [new(directory / name) for name in names]
            await self._workers.boot_files(image.tree, config.kernel, config.initrd, targets)
            sync_directory(directory)
        finally:
            for fd in targets:
                os.close(fd)

    async def take_again(self, config: MachineCreate, directory: Path, known: Mapping[str, str]) -> None:
        """The same for a machine from another engine, which has these `digests`. Conflict where they are others."""
        image = await self.find(config.image)
        with self.held(image):
            await self.take(image, config, directory)
        if await to_disk_thread(digests, config, directory) != known:
            raise Conflict(f"image {config.image} has another kernel here than there: pull the same one")


def digests(config: MachineCreate, directory: Path) -> dict[str, str]:
    """SHA-256 in hex of what a machine boots, by the files' names."""
    found = {}
    for path in own_files(config, directory):
        with path.open("rb") as file:
            found[path.name] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


def check_path(path: str) -> None:
    """Of a file in an image. Invalid."""
    if not path.startswith("/") or len(path) > 4096 or not path.isprintable():
        raise Invalid(f"{path!r} is no absolute path of a file in an image"[:300])


def new(path: Path) -> int:
    """A file that QEMU may open, as any user: the directory is what keeps others out."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    os.fchmod(fd, 0o644)
    return fd


def own_files(config: MachineCreate, directory: Path) -> list[Path]:
    """What a machine from an image boots."""
    if config.firmware != "image":
        return []
    return [directory / name for name in (KERNEL, *([INITRD] if config.initrd else []))]


def linked(config: MachineCreate, source: Path, directory: Path) -> None:
    """The same files for a second machine: they are never written to."""
    for path in own_files(config, source):
        os.link(path, directory / path.name)
    sync_directory(directory)
