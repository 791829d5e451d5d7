"""Disks of machines: volumes of the driver `disk`, each a directory with one file, disk.qcow2 or disk.raw.

    await disks.create("root", {"size": "20g"}, {})                    # empty
    await disks.create("web", {"from": "/srv/debian.qcow2"}, {})       # a copy of an image
    await disks.create("web2", {"backing": "web"}, {})                 # a linked clone: what it has not got is in "web"
    await disks.create("lab", {"image": "alpine", "size": "2g"}, {})   # an OCI image's tree, as ext4

A chain of files is by our records alone: what a qcow2's header says of other files is written for people, and is not
followed. A disk that others are based on is written to no more.
"""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import NamedTuple

from corten.aio.threads import answered, to_disk_thread
from corten.engine.volumes import MAKING, Volume, Volumes
from corten.errors import Conflict, Corrupt, CortenError, Invalid, NotFound
from corten.kernel import paths
from corten.kernel.full_disk import writing
from corten.kernel.sync import sync_directory
from corten.spec import disk_images, qcow2
from corten.units.sizes import parse_bytes
from corten.vm.board import Layer

# Copies an image of this format (the first descriptor) to the empty file (the second) as a qcow2, which is then grown
# to so many bytes; 0: it is as large as the image.
Convert = Callable[[str, int, int, int], Awaitable[None]]

# Makes an ext4 file system with all that an OCI image (the first) has, in the empty file (the second), as large as
# that.
Fill = Callable[[str, int], Awaitable[None]]

log = logging.getLogger(__name__)
_OPTIONS = frozenset(("size", "format", "backing", "from", "image"))
_SOURCES = ("from", "backing", "image")
_FORMATS = ("qcow2", "raw")
_STEP = 1 << 20  # bytes: sizes are rounded up to these
DEFAULT_SIZE = "10g"  # of a disk that has what an image has
_LONGEST_CHAIN = 32
_PENDING = "freezing"  # an option of a disk's record, while `Disks.freeze` is at it
_ABSORBING = "absorbing"  # the same, while `Disks.absorb` is
BASE_OF = "corten.base-of"  # a label of what `Disks.fork` makes, and of what comes beneath a disk: that disk
_OF_CONTENT = (
    "from",
    "image",
    "format",
    "size",
    _PENDING,
)  # options of a disk that say nothing any more of what it has become


class DiskFile(NamedTuple):
    path: Path
    format: str


class Disks:
    """Errors of `create`: Invalid, NotFound, Conflict, Exhausted, Failed."""

    def __init__(self, volumes: Volumes, convert: Convert, fill: Fill) -> None:
        self._volumes, self._convert, self._fill = volumes, convert, fill

    async def create(
        self, name: str, options: Mapping[str, str], labels: Mapping[str, str] | None = None, unsettled: bool = False
    ) -> Volume:
        """The disk, made when there is none of that name with these options; `unsettled` as of
        `Volumes.create_disk`."""
        given = {key: value for key, value in options.items() if value}
        if unknown := given.keys() - _OPTIONS:
            raise Invalid(f'create {name}: invalid option: "{min(unknown)}": a disk has {", ".join(sorted(_OPTIONS))}')
        if given.get("format", "qcow2") not in _FORMATS:
            raise Invalid(f"create {name}: a disk is of the format {' or '.join(_FORMATS)}, not {given['format']}")
        if sum(key in given for key in _SOURCES) > 1 or not given.keys() & {"size", *_SOURCES}:
            raise Invalid(f"create {name}: a disk has a size, or is a copy (from) or a clone (backing) of another, or"
                          " has what an image has (image)")  # fmt: skip
        size = _size(name, given["size"]) if "size" in given else 0
        if "from" in given:
            copying = self._copying(name, given["from"], size)
            return await self._volumes.create_disk(name, given, labels, copying, unsettled)
        if "image" in given:
            given = {"size": DEFAULT_SIZE, **given}
            filling = self._filling(given, _size(name, given["size"]))
            return await self._volumes.create_disk(name, given, labels, filling, unsettled)
        if "backing" in given:
            size = self._clonable(name, given, size)
        if given.get("format") == "raw":
            return await self._volumes.create_disk(
                name, given, labels, lambda place: _empty_raw(place, size), unsettled
            )
        base = self.file(given["backing"]) if "backing" in given else None
        return await self._volumes.create_disk(name, given, labels, lambda place: _empty(place, size, base), unsettled)

    def keep(self, names: Iterable[str]) -> None:
        """What these disks were made for is recorded."""
        for name in names:
            self._volumes.settle(name)

    def discard(self, names: Sequence[str]) -> None:
        """What these disks were made for, in this order, is not to be: none is left."""
        for name in reversed(names):  # each may be based on one before it
            with suppress(CortenError):
                self._volumes.discard(name)

    def remove(self, name: str) -> None:
        """With what `fork` has put beneath it, or came with it, where nothing else has that. Conflict while something
        has the disk."""
        base = self._volumes.get(name).options.get("backing", "")
        self._volumes.remove(name)
        while base and self.base_of(base) and not self._volumes.users(base):
            base, unused = self._volumes.get(base).options.get("backing", ""), base
            self._volumes.remove(unused)

    def _clonable(self, name: str, given: Mapping[str, str], size: int) -> int:
        """The size of a clone."""
        backing = given["backing"]
        if given.get("format") == "raw":
            raise Invalid(f"create {name}: a disk that is based on another is a qcow2")
        if len(self.chain(backing)) >= _LONGEST_CHAIN:
            raise Invalid(f"create {name}: {backing} is at the end of {_LONGEST_CHAIN} disks: make a copy of it first")
        own = self.size(backing)
        if size and size < own:
            raise Invalid(f"create {name}: {size} bytes are fewer than the {own} of {backing}")
        return size or own

    def _copying(self, name: str, path: str, size: int) -> Callable[[Path], Awaitable[None]]:
        if not os.path.isabs(path):
            raise Invalid(f"create {name}: {path} is no absolute path of a file on the daemon's machine")

        async def fill(place: Path) -> None:
            with ExitStack() as held:
                source, image = await image_at(path)
                held.callback(os.close, source)
                if size and image.size > size:
                    raise Invalid(f"create {name}: {path} is a disk of {image.size} bytes, more than {size}")
                target = os.open(place / "disk.qcow2", os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
                held.callback(os.close, target)
                await self._convert(image.format, source, target, size)
            sync_directory(place)

        return fill

    def _filling(self, given: Mapping[str, str], size: int) -> Callable[[Path], Awaitable[None]]:
        async def fill(place: Path) -> None:
            raw = place / "disk.raw"
            await _empty_raw(place, size)
            with ExitStack() as held:
                empty = os.open(raw, os.O_RDWR | os.O_CLOEXEC)
                held.callback(os.close, empty)
                await self._fill(given["image"], empty)
                os.fchown(empty, os.geteuid(), os.getegid())  # it was mke2fs's
                await to_disk_thread(os.fsync, empty)
                if given.get("format") != "raw":
                    source = os.open(raw, os.O_RDONLY | os.O_CLOEXEC)
                    held.callback(os.close, source)
                    target = os.open(place / "disk.qcow2", os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
                    held.callback(os.close, target)
                    await self._convert("raw", source, target, 0)
                    raw.unlink()
            sync_directory(place)

        return fill

    async def copy(self, source: Path, target: Path) -> None:
        """Of a raw image, as a qcow2, where there is none yet: whole or not at all."""
        if target.exists():
            return
        fresh = target.with_name(f".{target.name}.new")
        with ExitStack() as held:
            given = os.open(source, os.O_RDONLY | os.O_CLOEXEC)
            held.callback(os.close, given)
            made = os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            held.callback(os.close, made)
            await self._convert("raw", given, made, 0)
        fresh.rename(target)
        sync_directory(target.parent)

    def file(self, name: str) -> DiskFile:
        """Of a disk, without what it is based on. NotFound, Conflict for another volume, Corrupt when it is gone."""
        place = self._volumes.disk(name)
        format = self._volumes.get(name).options.get("format", "qcow2")
        path = place / f"disk.{format}"
        if not path.is_file():
            raise Corrupt(f"disk {name} has lost its file {path}")
        return DiskFile(path, format)

    def chain(self, name: str) -> list[DiskFile]:
        """The files of a disk, each based on the one before. Corrupt for one that never ends."""
        found: list[DiskFile] = []
        while name:
            if len(found) > _LONGEST_CHAIN:
                raise Corrupt(f"disk {name} is based on itself")
            found.append(self.file(name))
            name = self._volumes.get(name).options.get("backing", "")
        return found[::-1]

    def names(self, name: str) -> list[str]:
        """Of the volumes of that chain, the disk's own last."""
        found = [name]
        while backing := self._volumes.get(found[-1]).options.get("backing", ""):
            found.append(backing)
        return found[::-1]

    def size(self, name: str) -> int:
        """Bytes of the disk, as a guest sees it."""
        file = self.file(name)
        if file.format == "raw":
            return file.path.stat().st_size
        with file.path.open("rb") as opened:
            return _header(opened.read(qcow2.HEAD), name).size

    # ------------------------------------------------------------------------------------------------------- clones

    async def freeze(self, name: str) -> str:
        """What is on the disk becomes a volume of its own, to which nothing is written any more, and the disk is based
        on it: its name. For a disk that no QEMU has open.

        An empty disk has nothing that could be kept: what it is based on is the answer.
        """
        backing = self._volumes.get(name).options.get("backing", "")
        return backing if backing and self._is_empty(name) else await self.fork(name)

    async def fork(self, name: str) -> str:
        """The same, whatever is on the disk, and also where a QEMU has it open: that one goes on to write to the file
        that is the new volume's until its command to change that.

        The file gets a second name in the new volume; the disk's record says that this is under way; a new file, empty
        and based on it, takes its place; the record says so. `recover` completes or undoes what a crash has left.
        """
        own, file = self._volumes.get(name), self.file(name)
        backing = own.options.get("backing", "")
        if len(self.chain(name)) >= _LONGEST_CHAIN:
            raise Conflict(f"disk {name} is at the end of {_LONGEST_CHAIN} files: vm rebase makes them fewer")
        taken = {volume.name for volume in self._volumes.list()}
        base = next(text for n in range(1, len(taken) + 2) if (text := f"{name}-base{n}") not in taken)
        given: dict[str, str] = {"format": own.options.get("format", "qcow2")}
        if backing:
            given["backing"] = backing

        async def link(place: Path) -> None:
            os.link(file.path, place / file.path.name)
            sync_directory(place)

        await self._volumes.create_disk(base, given, {BASE_OF: name}, link, unsettled=True)
        try:
            self._volumes.with_options(name, {**own.options, _PENDING: base})
            fresh = file.path.with_name(".fresh")
            _write_empty(fresh, self.size(name), self.file(base))
            path = file.path.with_name("disk.qcow2")
            fresh.rename(path)
            if path != file.path:
                file.path.unlink()
            sync_directory(path.parent)
            self._frozen(name, base)
        except (CortenError, OSError):  # of a full disk, say
            self._complete_or_undo(self._volumes.get(name), base)
            raise
        return base

    def absorb(self, name: str) -> None:
        """The disk becomes what it is based on, which has all that the disk had by now, or was all of it before a
        `fork`; the base is no volume any more. `recover` completes what a crash has left. Conflict where something else
        has the base."""
        own = self._volumes.get(name)
        base = own.options["backing"]
        if others := self._volumes.users(base) - {f"volume {name}", MAKING}:
            raise Conflict(f"disk {base} is in use by {', '.join(sorted(others))}")
        self._volumes.with_options(name, {**own.options, _ABSORBING: base})
        self._absorbed(name, base)

    def _absorbed(self, name: str, base: str) -> None:
        """Every step can be done again."""
        if any(volume.name == base for volume in self._volumes.list()):
            its = self.file(base)
            self._take_place(name, its.path, os.link)
            given = self._volumes.get(base).options
            kept = {key: given[key] for key in ("backing", "format") if key in given}
            self._volumes.with_options(name, self._without_content(name) | kept | {_ABSORBING: base})
            self._volumes.discard(base)
        left = {key: value for key, value in self._volumes.get(name).options.items() if key != _ABSORBING}
        self._volumes.with_options(name, left)

    def start_from(self, name: str, base: str) -> None:
        """The disk is empty, and based on this one: what it had is lost. For a disk that no QEMU has open; doing it
        again does the same."""
        size, its = self.size(base), self.file(base)
        self._take_place(name, Path("disk.qcow2"), lambda _, fresh: _write_empty(fresh, size, its))
        self._volumes.with_options(name, self._without_content(name) | {"backing": base})

    def _take_place(self, name: str, like: Path, make: Callable[[Path, Path], None]) -> None:
        """The one file of a disk is what `make` puts there; it is called as `like` is."""
        place = self._volumes.disk(name)
        fresh, path = place / ".fresh", place / like.name
        fresh.unlink(missing_ok=True)
        make(like, fresh)
        fresh.rename(path)
        fresh.unlink(missing_ok=True)  # two names of one file: rename(2) does nothing then
        for other in _FORMATS:
            if f"disk.{other}" != path.name:
                (place / f"disk.{other}").unlink(missing_ok=True)
        sync_directory(place)

    def _without_content(self, name: str) -> dict[str, str]:
        options = self._volumes.get(name).options
        return {key: value for key, value in options.items() if key not in (*_OF_CONTENT, "backing")}

    def base_of(self, name: str) -> str:
        """The disk that a volume was made of by `fork`, or came with; "" for one that is a user's own."""
        return self._volumes.get(name).labels.get(BASE_OF, "")

    def _is_empty(self, name: str) -> bool:
        """Nothing was written to it since it was made."""
        file = self.file(name)
        offset, last = qcow2.empty(self.size(name))[-1]
        return file.format == "qcow2" and file.path.stat().st_size == offset + len(last)

    def _frozen(self, name: str, base: str) -> None:
        self._volumes.with_options(name, self._without_content(name) | {"backing": base})
        self._volumes.settle(base)

    def recover(self, backups: Collection[str] = ()) -> None:
        """At the daemon's start, when machines hold what they have: a disk is frozen, or it is not; and what was made
        for something that is not there goes. `backups` are known to their machines, and held by none."""
        for volume in self._volumes.list():
            if base := volume.options.get(_PENDING, ""):
                self._complete_or_undo(volume, base)
            if base := volume.options.get(_ABSORBING, ""):
                self._absorbed(volume.name, base)
        self._settle_or_discard(backups)

    def _complete_or_undo(self, volume: Volume, base: str) -> None:
        place = self._volumes.disk(volume.name)
        (place / ".fresh").unlink(missing_ok=True)
        mine, its = place / "disk.qcow2", self.file(base).path
        if mine.exists() and not mine.samefile(its):
            (place / "disk.raw").unlink(missing_ok=True)
            self._frozen(volume.name, base)
            return
        if _PENDING in volume.options:
            options = {key: value for key, value in volume.options.items() if key != _PENDING}
            self._volumes.with_options(volume.name, options)
        self._volumes.discard(base)

    def _settle_or_discard(self, backups: Collection[str]) -> None:
        left = self._volumes.unsettled
        while unused := [name for name in left if name not in backups and self._volumes.users(name) <= {MAKING}]:
            for name in unused:
                log.warning("sweep: disk %s, which was made for a machine that is not there", name)
            self.discard(unused)
            left = self._volumes.unsettled
        try:
            self.keep(left)
        except CortenError as error:  # the next daemon does it
            log.warning("disks of machines: %s", error)

    def check_file(self, path: Path, format: str, name: str) -> None:
        """Of a disk that has come from elsewhere. Invalid for what is none, or leads elsewhere."""
        if format == "raw":
            if not 0 < path.stat().st_size <= qcow2.MAX_SIZE:
                raise Invalid(f"disk {name}: a disk has 1 byte to 64 TiB")
            return
        with path.open("rb") as opened:
            try:
                _header(opened.read(qcow2.HEAD), name)
            except Corrupt as error:
                raise Invalid(str(error)) from None

    def check_writable(self, name: str) -> None:
        """Conflict for one that others are based on."""
        if others := self._volumes.based_on(name):
            raise Conflict(f"disk {name} cannot be written to any more: {', '.join(others)} are based on it; clone it")

    def open(self, name: str, read_only: bool, held: ExitStack) -> tuple[tuple[Layer, ...], list[int]]:
        """Layers and descriptors of the chain, which `held` closes. Each header is looked at once more: a machine has
        written to these files, and what would lead QEMU elsewhere is refused."""
        layers, fds = [], []
        files = self.chain(name)
        for index, file in enumerate(files):
            writes = index == len(files) - 1 and not read_only
            fd = os.open(file.path, (os.O_RDWR if writes else os.O_RDONLY) | os.O_CLOEXEC | os.O_NOFOLLOW)
            held.callback(os.close, fd)
            if file.format == "qcow2":
                _header(os.pread(fd, qcow2.HEAD, 0), name)
            layers.append(Layer(file.format, not writes))
            fds.append(fd)
        return tuple(layers), fds


async def image_at(path: str) -> tuple[int, disk_images.Image]:
    """A descriptor of a file that a client names, and what is in it. NotFound, Invalid, Unavailable."""

    def look() -> tuple[int, disk_images.Image]:
        fd = given(path)
        try:
            return fd, recognized(fd, path)
        except BaseException:
            os.close(fd)
            raise

    return await answered(look, path, lambda made: os.close(made[0]))


def given(path: str) -> int:
    """A descriptor of a file that a client names, for reading. It is looked at before it is opened: a pipe would hold
    the daemon up, and some devices do something when they are opened. NotFound, Invalid."""
    try:
        seen = os.open(path, os.O_PATH | os.O_CLOEXEC)
        try:
            mode = os.fstat(seen).st_mode
            if not (stat.S_ISREG(mode) or stat.S_ISBLK(mode)):
                raise Invalid(f"{path}: neither a file nor a block device")
            return paths.reopen(seen, os.O_RDONLY)
        finally:
            os.close(seen)
    except (FileNotFoundError, NotADirectoryError):
        raise NotFound(f"there is no file {path} on the daemon's machine") from None
    except OSError as error:
        raise Invalid(f"{path}: {os.strerror(error.errno or 0).lower()}") from None


def recognized(fd: int, path: str) -> disk_images.Image:
    """What is in a file that is to be a disk. Invalid, with the file's name."""
    try:
        length = os.lseek(fd, 0, os.SEEK_END)
        return disk_images.recognize(os.pread(fd, disk_images.HEAD, 0), length)
    except Invalid as error:
        raise Invalid(f"{path}: {error}") from None
    except OSError as error:
        raise Invalid(f"{path}: cannot be read as a disk: {os.strerror(error.errno or 0).lower()}") from None


def _header(head: bytes, name: str) -> qcow2.Header:
    try:
        header = qcow2.parse(head)
    except Invalid as error:
        raise Corrupt(f"disk {name}: {error}") from None
    if header.data_file or header.encrypted:
        raise Corrupt(f"disk {name}: its header leads to another file, or is encrypted")
    return header


def _size(name: str, text: str) -> int:
    try:
        size = parse_bytes(text)
    except ValueError as error:
        raise Invalid(f"create {name}: {error}") from None
    if not 0 < size <= qcow2.MAX_SIZE:
        raise Invalid(f"create {name}: a disk of {text}: 1 byte to 64 TiB are possible")
    return -(-size // _STEP) * _STEP


async def _empty(place: Path, size: int, base: DiskFile | None) -> None:
    _write_empty(place / "disk.qcow2", size, base)
    sync_directory(place)


def _write_empty(path: Path, size: int, base: DiskFile | None) -> None:
    name = os.fsencode(f"../../{base.path.parent.parent.name}/_data/{base.path.name}") if base else b""
    with open(path, "xb", opener=_private) as file, writing(path):
        for offset, data in qcow2.empty(size, name, base.format.encode() if base else b""):
            file.seek(offset)
            file.write(data)
        file.flush()
        os.fsync(file.fileno())


async def _empty_raw(place: Path, size: int) -> None:
    path = place / "disk.raw"
    with open(path, "xb", opener=_private) as file, writing(path):
        os.ftruncate(file.fileno(), size)
        os.fsync(file.fileno())
    sync_directory(place)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC, 0o600)
