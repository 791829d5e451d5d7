"""A machine as one archive: what it is, and its disks with all that they are based on.

    machine.json                  `Packed`
    disks/disk0/0.qcow2, 1.raw    the files of a disk, each based on the one before
    kernel, initrd                of a machine from an image
    variables.qcow2               of UEFI
    tpm/NAME                      of its TPM

It is a tar of regular files (GNU's form, whose sizes have no bound). What comes in is hostile: order and names are
these, sizes are bounded by what is read, headers of disks are looked at (`Disks.check_file`), and of what such a header
says of other files nothing is followed. It names no file of this host: a guest can read its kernel and its initrd.
Those of a machine from an image come with it.
"""

from __future__ import annotations

import asyncio
import os
import re
import stat
import tarfile
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import BinaryIO

import msgspec

from corten.aio.threads import DISK, run_uncancelled, to_disk_thread
from corten.errors import Conflict, Invalid
from corten.kernel.full_disk import writing
from corten.kernel.sync import sync_directory
from corten.machines import create, images, passthrough, plan, run
from corten.machines.disks import BASE_OF
from corten.machines.machine import Machine
from corten.machines.machines import Machines
from corten.machines.records import Disk
from corten.spec.docker.decode import decode
from corten.spec.docker.machine import MachineCreate, MachineDisk
from corten.spec.docker.struct import Struct
from corten.vm import boot_files

_VERSION = 1
_RECORD = "machine.json"
_MOST_RECORD = 4 << 20  # bytes
_PIECE = 1 << 20
_BLOCK = tarfile.BLOCKSIZE
_LONGEST_CHAIN = 32
_DISK = re.compile(r"disks/([a-z0-9]{1,16})/([0-9]{1,2})\.(qcow2|raw)\Z")
_BESIDE = re.compile(r"(variables\.qcow2|tpm/[a-z0-9][a-z0-9._-]{0,63})\Z")
_MOST_BESIDE = 64 << 20  # bytes in all
_BOOTED = (images.KERNEL, images.INITRD)


class Packed(msgspec.Struct, omit_defaults=True):
    """`chains`: formats of the files of each disk, by its serial."""

    version: int
    name: str
    config: MachineCreate
    disks: list[Disk]
    chains: dict[str, list[str]]


# ---------------------------------------------------------------------------------------------------------------- out


def check(machines: Machines, machine: Machine) -> None:
    """Conflict for one that cannot be exported now. The caller holds the lock."""
    record = machine.record
    if record.state.running or record.saved:
        raise Conflict(f"machine {machine.name} is running or saved: stop it first")
    passthrough.refuse(machine, "be exported")
    if record.snapshots:
        raise Conflict(f"machine {machine.name} has snapshots, which stay with their disks: remove them first")


async def packed(machines: Machines, machine: Machine) -> AsyncIterator[bytes]:
    """The archive. The caller has asked `check`; it is locked until the end, or until it is removed by force."""
    task = asyncio.current_task()
    assert task is not None
    with machine.reading(task):
        async with machine.changing():
            check(machines, machine)
            record = machine.record
            disks = [disk for disk in record.disks if disk.volume]
            chains = {disk.serial: machines.disks.chain(disk.volume) for disk in disks}
            formats = {serial: [file.format for file in chain] for serial, chain in chains.items()}
            described = Packed(_VERSION, record.name, record.config.replace(disks=None), disks, formats)
            text = msgspec.json.encode(msgspec.to_builtins(described, enc_hook=Struct.given_json))
            yield _head(_RECORD, len(text)) + text + _padding(len(text))
            named = [
                (f"disks/{serial}/{level}.{file.format}", file.path)
                for serial, chain in chains.items()
                for level, file in enumerate(chain)
            ]
            for name, path in [*named, *_beside(machine)]:
                async for piece in _file(name, path):
                    yield piece
            yield bytes(2 * _BLOCK)


@dataclass(slots=True)
class _Arrived:
    """Volumes that were made of it, in order; what is beside the disks; and what a machine from an image boots, in
    files without a name, which `held` closes."""

    held: ExitStack
    made: list[str] = field(default_factory=list)
    beside: dict[str, bytes] = field(default_factory=dict)
    booted: dict[str, BinaryIO] = field(default_factory=dict)


def _beside(machine: Machine) -> Iterator[tuple[str, Path]]:
    for path in images.own_files(machine.record.config, machine.directory):
        yield path.name, path
    if (variables := machine.directory / plan.VARIABLES).exists():
        yield "variables.qcow2", variables
    for path in sorted((machine.directory / plan.TPM).glob("*")):
        # What swtpm, or a guest by way of it, has put there: a link would be read as root, and a pipe waited for.
        if stat.S_ISREG(path.lstat().st_mode) and _BESIDE.match(f"tpm/{path.name}"):
            yield f"tpm/{path.name}", path


async def _file(name: str, path: Path) -> AsyncIterator[bytes]:
    with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb") as file:
        size = os.fstat(file.fileno()).st_size
        yield _head(name, size)
        left = size
        while left:
            piece = await to_disk_thread(file.read, min(left, _PIECE))
            if not piece:
                raise Conflict(f"{path} has become shorter")
            left -= len(piece)
            yield piece
        yield _padding(size)


def _head(name: str, size: int) -> bytes:
    found = tarfile.TarInfo(name)
    found.size, found.mode = size, 0o600
    return found.tobuf(tarfile.GNU_FORMAT)


def _padding(size: int) -> bytes:
    return bytes(-size % _BLOCK)


# ----------------------------------------------------------------------------------------------------------------- in


class _Reader:
    """Exact numbers of bytes, of pieces as they come. Invalid at an early end."""

    def __init__(self, pieces: AsyncIterator[bytes]) -> None:
        self._pieces, self._kept = pieces, b""

    async def some(self, most: int) -> bytes:
        while not self._kept:
            try:
                self._kept = await anext(self._pieces)
            except StopAsyncIteration:
                raise Invalid("the archive ends too early") from None
        found, self._kept = self._kept[:most], self._kept[most:]
        return found

    async def exactly(self, count: int) -> bytes:
        found = bytearray()
        while len(found) < count:
            found += await self.some(count - len(found))
        return bytes(found)

    async def head(self) -> tuple[str, int] | None:
        """Name and size of the next file; None at the end."""
        block = await self.exactly(_BLOCK)
        if not block.strip(b"\0"):
            return None
        try:
            found = tarfile.TarInfo.frombuf(block, "ascii", "strict")
        except (tarfile.HeaderError, UnicodeError, ValueError):
            raise Invalid("this is no archive of a machine") from None
        if not found.isreg() or found.size < 0:
            raise Invalid("an archive of a machine has nothing but regular files")
        return found.name, found.size

    async def rest(self) -> None:
        async for _ in self._pieces:
            pass

    async def to(self, path: Path, size: int) -> None:
        """A new file of that size, with holes where there is nothing."""
        with open(path, "xb", opener=lambda name, flags: os.open(name, flags | os.O_CLOEXEC, 0o600)) as file:
            await self.into(file.fileno(), size, path)
            with writing(path):
                await to_disk_thread(os.fsync, file.fileno())

    async def into(self, fd: int, size: int, path: Path) -> None:
        """The same, an empty file that is there; `path` is for errors."""
        left = size
        while left:
            piece = await self.some(min(left, _PIECE))
            left -= len(piece)
            with writing(path):
                await to_disk_thread(_put, fd, piece)
        with writing(path):
            os.ftruncate(fd, size)
        await self.exactly(-size % _BLOCK)


def _put(fd: int, piece: bytes) -> None:
    if piece.count(0) == len(piece):
        os.lseek(fd, len(piece), os.SEEK_CUR)
        return
    while piece:
        piece = piece[os.write(fd, piece) :]


async def unpacked(
    machines: Machines, pieces: AsyncIterator[bytes], name: str, kernel: str = "", initrd: str = ""
) -> Machine:
    """The machine of an archive, as a new one: names of its volumes, addresses and MAC addresses are its own. Nothing
    is left when it fails. Invalid, Conflict, NotFound, Exhausted."""
    reader = _Reader(pieces)
    described = await _described(reader)
    passthrough.refuse_foreign(described.config.devices)
    config = create.with_kernel(described.config, kernel, initrd)
    name = name or described.name
    create.check_name(machines, name)
    with ExitStack() as held:
        return await _received(machines, reader, described, name, config, _Arrived(held))


async def _received(
    machines: Machines, reader: _Reader, described: Packed, name: str, config: MachineCreate, arrived: _Arrived
) -> Machine:
    made = arrived.made
    try:
        while (head := await reader.head()) is not None:
            await _taken(machines, reader, described, name, head, arrived)
        await reader.rest()
        for serial, formats in described.chains.items():
            if _volume(name, serial, formats, len(formats) - 1) not in made:
                raise Invalid(f"the archive has not all of disk {serial}")
        for path in images.own_files(config, Path()):
            if path.name not in arrived.booted:
                raise Invalid(f"the archive has no {path.name}, which the machine boots")
        disks = [
            MachineDisk(volume=_volume(name, disk.serial, formats, len(formats) - 1), bus=disk.bus,
                        read_only=disk.read_only, cdrom=disk.cdrom)
            for disk in described.disks
            for formats in [described.chains[disk.serial]]
        ]  # fmt: skip
    except BaseException:
        machines.disks.discard(made)
        raise

    async def furnish(directory: Path) -> None:
        await run_uncancelled(partial(_put_beside, arrived, directory), pool=DISK)

    return await create.create(machines, name, config.replace(disks=disks), made, furnish)


def _put_beside(arrived: _Arrived, directory: Path) -> None:
    for name, file in arrived.booted.items():
        fd = images.new(directory / name)
        try:
            with writing(directory / name):
                size, at = os.fstat(file.fileno()).st_size, 0
                while at < size and (done := os.sendfile(fd, file.fileno(), at, size - at)):
                    at += done
                os.fsync(fd)
        finally:
            os.close(fd)
    sync_directory(directory)
    for name, data in arrived.beside.items():
        place = directory / {"variables.qcow2": plan.VARIABLES}.get(name, name)
        place.parent.mkdir(mode=0o700, exist_ok=True)
        with writing(place):
            run.write(place, data)


async def _described(reader: _Reader) -> Packed:
    head = await reader.head()
    if head is None or head[0] != _RECORD or head[1] > _MOST_RECORD:
        raise Invalid("this is no archive of a machine: it does not begin with what the machine is")
    text = await reader.exactly(head[1])
    await reader.exactly(-head[1] % _BLOCK)
    try:
        found = msgspec.json.decode(text, type=Packed, dec_hook=decode)
    except (msgspec.ValidationError, msgspec.DecodeError) as error:
        raise Invalid(f"this is no archive of a machine: {error}") from None
    if found.version != _VERSION:
        raise Invalid(f"an archive of version {found.version}, and this daemon knows {_VERSION}")
    if {disk.serial for disk in found.disks} != found.chains.keys() or len(found.disks) != len(found.chains):
        raise Invalid("this is no archive of a machine: a disk has no files")
    for formats in found.chains.values():
        if not 0 < len(formats) <= _LONGEST_CHAIN or set(formats[1:]) - {"qcow2"} or set(formats) - {"qcow2", "raw"}:
            raise Invalid("this is no archive of a machine: a disk's files are none")
    return found


def _volume(name: str, serial: str, formats: list[str], level: int) -> str:
    return f"{name}-{serial}" if level == len(formats) - 1 else f"{name}-{serial}-base{level + 1}"


async def _taken(
    machines: Machines,
    reader: _Reader,
    described: Packed,
    name: str,
    head: tuple[str, int],
    arrived: _Arrived,
) -> None:
    """One file of it."""
    (path, size), made, beside = head, arrived.made, arrived.beside
    if path in _BOOTED:
        if path in arrived.booted or described.config.firmware != "image" or size > boot_files.MOST[path]:
            raise Invalid(
                f"an archive of a machine from an image has one {path}, of a bounded size, and others have none"
            )
        place = machines.settings.directory
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = arrived.booted[path] = tempfile.TemporaryFile(dir=place)  # noqa: SIM115
        arrived.held.callback(file.close)
        await reader.into(file.fileno(), size, place)
        return
    if _BESIDE.match(path):
        if path in beside or size + sum(map(len, beside.values())) > _MOST_BESIDE:
            raise Invalid(f"an archive of a machine has at most {_MOST_BESIDE} bytes beside its disks, each file once")
        beside[path] = await reader.exactly(size)
        await reader.exactly(-size % _BLOCK)
        return
    match = _DISK.match(path)
    formats = described.chains.get(match[1], []) if match else []
    if not match or int(match[2]) >= len(formats) or formats[int(match[2])] != match[3]:
        raise Invalid(f"an archive of a machine has no file {path!r}"[:200])
    serial, level = match[1], int(match[2])
    volume = _volume(name, serial, formats, level)
    options = {"format": formats[level]}
    if level:
        options["backing"] = _volume(name, serial, formats, level - 1)
        if options["backing"] not in made:
            raise Invalid(f"the archive's disk {serial} is based on what is not there")
    if any(each.name == volume for each in machines.volumes.list()):
        raise Conflict(f"volume {volume} is there already: import it with another name")

    async def fill(place: Path) -> None:
        await reader.to(place / f"disk.{formats[level]}", size)
        machines.disks.check_file(place / f"disk.{formats[level]}", formats[level], volume)
        sync_directory(place)

    top = _volume(name, serial, formats, len(formats) - 1)
    labels = {} if volume == top else {BASE_OF: top}
    await machines.volumes.create_disk(volume, options, labels, fill, unsettled=True)
    made.append(volume)
