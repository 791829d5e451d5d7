"""The room of machines on a disk and a table of the test's, which a daemon's end may interrupt anywhere."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from corten.engine.events import Events
from corten.engine.volumes import Volumes
from corten.errors import NotFound
from corten.guests.guests import Guests
from corten.machines import restore
from corten.machines.disks import Disks
from corten.machines.images import Image, MachineImages, own_files
from corten.machines.machines import Machines, Settings
from corten.spec import qcow2
from corten.spec.docker.machine import MachineCreate, MachineDisk
from corten.spec.docker.networking import EndpointSettings
from corten.spec.mounts import Mount
from corten.tasks.contract import NetworkNamespaces
from fakes.table import MemoryTable
from unit.machines.host_tree import HostTree


class Killed(BaseException):
    """The process ends here: nothing that it would still have done is done."""


class Fragile(MemoryTable):
    """Nothing is written any more once it is `dead`."""

    def __init__(self) -> None:
        super().__init__()
        self.left = 1000
        self.error: BaseException = Killed()

    def put(self, kind: str, id: str, body: Any) -> None:
        self.left -= 1
        if self.left < 0:
            raise self.error
        super().put(kind, id, body)

    def delete(self, kind: str, id: str) -> None:
        if self.left < 0 and isinstance(self.error, Killed):
            raise self.error
        super().delete(kind, id)


class Supervisors:
    def __init__(self, _: object) -> None:
        pass

    async def adopt(self, *_: object) -> None:
        return None

    def sweep(self, *_: object) -> list[str]:
        return []

    def lost(self, *_: object) -> list[str]:
        return []


class MadeUp:
    """Images of the test's: `found` of each, and what `bootable` makes of a request for it."""

    def __init__(self) -> None:
        self.kernel, self.initrd = b"a kernel", b"its files"

    async def find(self, reference: str) -> Image:
        if reference not in ("system", "sha256:1"):
            raise NotFound(f"No such image: {reference}")
        return Image("sha256:1", Mount("bind", "/tree", "/"), "sha256:2", 100, {})

    @contextmanager
    def held(self, _: Image) -> Iterator[None]:
        yield

    async def bootable(self, _: Image, config: MachineCreate) -> MachineCreate:
        return config.replace(kernel="/boot/vmlinuz", initrd="/boot/initrd.img", kernel_arguments="root=/dev/vda")

    async def take(self, _: Image, config: MachineCreate, directory: Path) -> None:
        for path, content in zip(own_files(config, directory), (self.kernel, self.initrd)):
            path.write_bytes(content)


class World:
    def __init__(self, root: Path) -> None:
        self.root, self.table, self.images = root, Fragile(), MadeUp()
        self.host = HostTree(root / "host")

    async def begin(self) -> Machines:
        """As a daemon does, with what is there."""
        volumes, events = Volumes(self.root / "volumes", self.table, Events()), Events()
        networks = SimpleNamespace(
            config=SimpleNamespace(has_default=True),
            find=lambda name: SimpleNamespace(definition=SimpleNamespace(name=name)),
        )
        self.machines = Machines(
            Settings(self.root / "machines", "/x", list, self.host.root),
            self.table,
            events,
            volumes,
            Disks(volumes, self.convert, self.fill),
            cast(MachineImages, self.images),
            cast(Any, networks),
            cast(NetworkNamespaces, None),
            cast(Guests, None),
            cast(Any, Supervisors),
        )
        await restore.restore(self.machines)
        return self.machines

    async def fill(self, image: str, out: int) -> None:
        with open(f"/proc/self/fd/{out}", "r+b") as file:
            file.write(image.encode())

    async def convert(self, format: str, source: int, target: int, size: int) -> None:
        for offset, data in qcow2.empty(size or 1 << 20):
            with open(f"/proc/self/fd/{target}", "r+b") as file:
                file.seek(offset)
                file.write(data)

    def names(self) -> list[str]:
        return [volume.name for volume in self.machines.volumes.list()]


def asked(*disks: MachineDisk, **more: Any) -> MachineCreate:
    return MachineCreate(memory=64 << 20, disks=list(disks), networks={"bridge": EndpointSettings()}, **more)
