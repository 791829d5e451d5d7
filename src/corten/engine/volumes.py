"""Volumes: directories of the engine's that outlive containers, at <data-root>/volumes/NAME/_data."""

from __future__ import annotations

import logging
import os
import re
import secrets
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path
from typing import NamedTuple

import msgspec

from corten.aio.keyed_locks import KeyedLocks
from corten.aio.threads import alone, to_walk_thread
from corten.engine.events import Events
from corten.engine.volume_places import BIN, VolumePlaces
from corten.errors import Conflict, Invalid, NotFound, Unavailable, Unsupported
from corten.layers import tree
from corten.snapshots.trash import Trash
from corten.spec.docker import times
from corten.spec.docker.filters import Filters
from corten.spec.json import Json
from corten.store.table import Table
from corten.units.durations import SECOND

log = logging.getLogger(__name__)

KIND = "volume"
DISK = "disk"  # the driver of machines' disks: a directory with one file
MAKING = "what it is being made for"
ANONYMOUS = "com.docker.volume.anonymous"
_BIND = frozenset({"bind", "rbind"})
_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+\Z")
_LONGEST = 255  # of a file's name, which it becomes
_LIST_KEYS = frozenset({"dangling", "driver", "label", "name"})
_LOOK = 10.0  # seconds
_PRUNE_KEYS = frozenset({"all", "label", "label!"})


class Volume(msgspec.Struct, omit_defaults=True):
    """`options` are the local driver's: {"type": "none", "o": "bind", "device": "/srv"} binds a directory,
    {"type": "nfs", "device": ":/srv", "o": "addr=10.0.0.1"} is mounted. `unsettled`: what it is made for is not
    recorded yet."""

    name: str
    created: int
    driver: str = "local"
    labels: dict[str, str] = {}
    options: dict[str, str] = {}
    unsettled: bool = False

    @property
    def anonymous(self) -> bool:
        return ANONYMOUS in self.labels

    @property
    def words(self) -> tuple[str, ...]:
        """mount(8)'s, of `o`."""
        return tuple(filter(None, self.options.get("o", "").split(",")))

    @property
    def mounted(self) -> bool:
        """Whether it is a file system that is mounted for its containers, and not a directory."""
        return self.driver != DISK and bool(self.options) and not _BIND & set(self.words)


class Place(NamedTuple):
    """Where a running container has a volume: a path of the host's /proc, and the number of the mount that is there."""

    path: str
    mount: int


def _loaded(listed: Mapping[str, Json]) -> Iterator[tuple[str, Volume]]:
    """One broken record does not hide the others; what it is of stays on the disk."""
    for id, body in listed.items():
        try:
            yield id, msgspec.convert(body, Volume)
        except msgspec.ValidationError as error:
            log.error("the record of volume %s cannot be read: %s", id, error)


class Volumes:
    """All volumes, and which containers refer to them. Only `size` and `prune` walk the disk."""

    def __init__(self, root: Path, table: Table, events: Events, owner: tuple[int, int] = (0, 0)) -> None:
        self._root = root
        self.trash = Trash(root / BIN)
        self._places = VolumePlaces(root, self.trash, owner)
        self._table = table
        self._events = events
        self._users: dict[str, set[str]] = {}
        self._making: set[str] = set()  # names of disks
        self._mounted: dict[str, dict[str, Place]] = {}
        self._locks: KeyedLocks[str] = KeyedLocks()
        listed = table.list(KIND)
        self._all = dict(_loaded(listed))
        self._places.recover(listed)

    def create(
        self,
        name: str = "",
        driver: str = "",
        options: Mapping[str, str] | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> Volume:
        """The volume `name`, made when there is none; with no name a new anonymous one. Invalid, Conflict, NotFound."""
        if driver == DISK:
            return self._known_disk(name)
        if driver not in ("", "local"):
            raise NotFound(f'error looking up volume plugin {driver}: plugin "{driver}" not found')
        if name:
            self._check_name(name)
        if name in self._making:
            raise Conflict(f"volume {name} is being made")
        if (known := self._all.get(name)) is not None:
            if options and dict(options) != known.options:
                raise Conflict(f"volume {name} already exists with other options")
            return known
        _check_options(name, options or {})
        given = dict(labels or {})
        if not name:
            name, given = secrets.token_hex(32), {**given, ANONYMOUS: ""}
        return self._make(Volume(name, times.now(), labels=given, options=dict(options or {})))

    def has_disks(self) -> bool:
        return any(volume.driver == DISK for volume in self._all.values())

    def _known_disk(self, name: str) -> Volume:
        """Of containers' mounts and the like, which name a driver."""
        if name in self._all:
            return self._all[name]
        raise NotFound(f"get {name}: no such volume: disks of machines are made by POST /volumes/create alone")

    async def create_disk(
        self,
        name: str,
        options: Mapping[str, str],
        labels: Mapping[str, str] | None,
        fill: Callable[[Path], Awaitable[None]],
        unsettled: bool = False,
    ) -> Volume:
        """A volume of the driver `disk`, made when there is none of the name; `fill` puts its file into the directory.
        Nothing is left when that raises. Conflict for a volume of that name with other options.

        One that is `unsettled` has to be new (Conflict). Until `settle` or `discard` nothing else can take or remove
        it, and the next daemon finds it among `unsettled` when this one is killed."""
        self._check_name(name)
        async with self._locks.lock(name):
            if (known := self._all.get(name)) is not None:
                if unsettled or known.driver != DISK or dict(options) != known.options:
                    raise Conflict(f"volume {name} already exists{'' if unsettled else ' with other options'}")
                return known
            self._making.add(name)
            try:
                self._places.begin(name)
                await fill(self._places.begun(name))
            except BaseException:
                self._places.throw_away(name)
                raise
            finally:
                self._making.discard(name)
            made = Volume(name, times.now(), DISK, dict(labels or {}), dict(options), unsettled)
            return self._record(made)

    @property
    def unsettled(self) -> Sequence[str]:
        return [volume.name for volume in self._all.values() if volume.unsettled]

    def settle(self, name: str) -> None:
        """What it was made for is recorded. Repeating it does nothing."""
        if self.get(name).unsettled:
            changed = msgspec.structs.replace(self.get(name), unsettled=False)
            self._table.put(KIND, name, msgspec.to_builtins(changed))
            self._all[name] = changed

    def discard(self, name: str) -> None:
        """What it was made for is not to be. Errors as of `remove`."""
        self._all[name] = msgspec.structs.replace(self.get(name), unsettled=False)
        self.remove(name)

    def _check_name(self, name: str) -> None:
        if len(name) == 1:
            raise Invalid(
                f"create {name}: volume name is too short, names should be at least two alphanumeric characters"
            )
        if not _NAME.match(name):
            raise Invalid(
                f'create {name}: "{name}" includes invalid characters for a local volume name, only '
                '"[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed. If you intended to pass a host directory, use absolute path'
            )
        if len(name) > _LONGEST:
            raise Invalid(f"create {name[:32]}...: a volume's name has at most {_LONGEST} characters, not {len(name)}")

    def with_options(self, name: str, options: Mapping[str, str]) -> None:
        """They have changed; on disk when this returns."""
        changed = msgspec.structs.replace(self.get(name), options=dict(options))
        self._table.put(KIND, name, msgspec.to_builtins(changed))
        self._all[name] = changed

    def _make(self, volume: Volume) -> Volume:
        self._places.begin(volume.name)
        return self._record(volume)

    def _record(self, volume: Volume) -> Volume:
        try:
            self._table.put(KIND, volume.name, msgspec.to_builtins(volume))
        except BaseException:
            self._places.throw_away(volume.name)
            raise
        self._places.settle(volume.name)
        self._all[volume.name] = volume
        self._events.publish("volume", "create", volume.name, {"driver": volume.driver})
        return volume

    def adopt(self, name: str) -> Volume:
        """Make a volume of the directory `name`, which has no record. Invalid when no volume can be so named."""
        if name in self._all or not _NAME.match(name) or not self._places.data(name).is_dir():
            raise Invalid(f"{self._root / name} cannot be a volume: it has no _data, or no volume may have this name")
        return self._make(Volume(name, times.now()))

    def restore(self, name: str) -> None:
        """Make the directory of a volume that has lost it. NotFound."""
        self._places.begin(self.get(name).name)
        self._places.settle(name)

    def get(self, name: str) -> Volume:
        if (volume := self._all.get(name)) is None:
            raise NotFound(f"get {name}: no such volume")
        return volume

    def path(self, name: str) -> Path:
        """The directory that containers get: the volume's own, or what its options bind."""
        volume = self.get(name)
        if volume.driver == DISK:
            raise Conflict(f"volume {name} is the disk of a machine, and no container can mount it")
        if volume.options and not volume.mounted:
            return Path(volume.options["device"])
        return self._places.data(name)

    def disk(self, name: str) -> Path:
        """The directory of a disk. NotFound, Conflict for another volume."""
        if self.get(name).driver != DISK:
            raise Conflict(f"volume {name} is no disk: its driver is {self.get(name).driver}")
        return self._places.data(name)

    def lock(self, name: str) -> AbstractAsyncContextManager[None]:
        """While a container mounts a volume that is mounted."""
        return self._locks.lock(name)

    def has_mounted(self, name: str, container: str, place: Place) -> None:
        """A running container has the volume."""
        self._mounted.setdefault(name, {})[container] = place

    def has_unmounted(self, name: str, container: str) -> None:
        self._mounted.get(name, {}).pop(container, None)

    def where_mounted(self, name: str) -> Place | None:
        """Where another container has it, which is how its files are shared; None when none runs."""
        return next(iter(self._mounted.get(name, {}).values()), None)

    async def fill(self, name: str, container: str, fill: Callable[[Path], Awaitable[bool]]) -> None:
        """Give an empty volume, held by the new `container`, its first content: all of it at once, or nothing.

        `fill` is called with a directory, and says whether it had anything. Two containers made at the same time may
        share the volume; one that others hold by now is filled in place, where they have it mounted.
        """
        async with self._locks.lock(name):
            path = self.path(name)
            shared = path != self._places.data(name) or bool(self.users(name) - {container})
            if not (await _empty_elsewhere(name, path) if shared else _empty(path)):
                return
            if shared:
                await fill(path)
                return
            try:
                if await fill(self._places.stage(name)) and _empty(path):  # something on the host may have written
                    self._places.exchange(name)
            finally:
                self._places.discard_stage(name)

    async def filled(self, name: str) -> None:
        """Wait for the end of its filling."""
        async with self._locks.lock(name):
            return

    def hold(self, name: str, container: str) -> None:
        """`container` refers to the volume, which now cannot be removed. Repeating it does nothing."""
        self._users.setdefault(name, set()).add(container)

    def release(self, name: str, container: str) -> None:
        users = self._users.get(name, set())
        users.discard(container)
        if not users:
            self._users.pop(name, None)

    def users(self, name: str) -> frozenset[str]:
        """Containers and machines that refer to it, disks that are based on it, and MAKING while it is unsettled."""
        found = {*self._users.get(name, ()), *(f"volume {other}" for other in self.based_on(name))}
        return frozenset(found | {MAKING} if name in self._all and self._all[name].unsettled else found)

    def based_on(self, name: str) -> Sequence[str]:
        """Disks of which a part is in the disk `name`."""
        return [v.name for v in self._all.values() if v.driver == DISK and v.options.get("backing") == name]

    def remove(self, name: str, force: bool = False) -> None:
        """NotFound (not with `force`), and Conflict while a container refers to it."""
        if name not in self._all:
            if force:
                return
            raise NotFound(f"get {name}: no such volume")
        if users := self.users(name):
            raise Conflict(f"remove {name}: volume is in use - [{', '.join(sorted(users))}]")
        volume = self._all[name]
        self._places.withdraw(name)
        try:
            self._table.delete(KIND, name)
        except BaseException:
            self._places.settle(name)
            raise
        del self._all[name]
        self._places.throw_away(name)  # its files go behind the answer, and at the latest with the next daemon
        self._events.publish("volume", "destroy", name, {"driver": volume.driver})

    def list(self, filters: Filters | None = None) -> list[Volume]:
        wanted = filters or Filters()
        wanted.check(_LIST_KEYS)
        dangling = wanted.flag("dangling") if "dangling" in wanted else None
        named = wanted.pattern("name")
        return [
            volume
            for name, volume in sorted(self._all.items())
            if (dangling is None or dangling != bool(self.users(name)))
            and named(name)
            and wanted.allows("driver", volume.driver)
            and wanted.match_labels("label", volume.labels)
        ]

    async def prune(self, filters: Filters | None = None) -> tuple[Sequence[str], int]:
        """Remove what no container refers to: anonymous volumes, with `all` named ones too. Their names and bytes."""
        wanted = filters or Filters()
        wanted.check(_PRUNE_KEYS)
        every, removed, freed = wanted.flag("all"), [], 0
        for name, volume in sorted(self._all.items()):
            if not (every or volume.anonymous) or wanted.excludes_labels("label!", volume.labels):
                continue
            if self.users(name) or not wanted.match_labels("label", volume.labels):
                continue
            size = max(0, await to_walk_thread(self.size, name))
            if self.users(name) or name not in self._all:  # taken, or removed, while we counted
                continue
            self.remove(name)
            removed.append(name)
            freed += size
        self._events.publish("volume", "prune", "", {"reclaimed": str(freed)})
        return removed, freed

    def size(self, name: str) -> int:
        """Bytes of its files, each link counted once; 0 when it is not there (any more), -1 when it cannot be read."""
        try:
            top = tree.open_directory(os.fsencode(self._places.data(name)))
        except FileNotFoundError:
            return 0
        try:
            return tree.usage(top)[0]
        except OSError as error:
            log.warning("cannot count volume %s: %s", name, error)
            return -1
        finally:
            os.close(top)

    def shown(self, volume: Volume, usage: bool = False) -> Json:
        """Docker's Volume object; `usage` adds UsageData, which walks the disk."""
        shown: Json = {
            "CreatedAt": times.rfc3339(volume.created // SECOND * SECOND),
            "Driver": volume.driver,
            "Labels": volume.labels or None,
            "Mountpoint": str(self._places.data(volume.name)),
            "Name": volume.name,
            "Options": volume.options or None,
            "Scope": "local",
        }
        if usage:
            shown["UsageData"] = {"RefCount": len(self.users(volume.name)), "Size": self.size(volume.name)}
        return shown


def _empty(directory: Path) -> bool:
    with os.scandir(directory) as entries:
        return next(entries, None) is None


async def _empty_elsewhere(name: str, directory: Path) -> bool:
    """The same for one that other containers have, or that is anywhere: those can hold up who reads it. Raises
    Unavailable when they do."""
    try:
        return await alone(partial(_empty, directory), _LOOK)
    except TimeoutError:
        raise Unavailable(f"the directory of volume {name} does not answer") from None


def _check_options(name: str, options: Mapping[str, str]) -> None:
    """A directory that is bound, or a file system by type and device, with the words of mount(8)."""
    if not options:
        return
    for key in options:
        if key not in ("type", "o", "device", "size"):
            raise Invalid(f'create {name}: invalid option: "{key}"')
    if "size" in options:
        raise Unsupported(f"create {name}: quota size requested but no quota support")
    if any("\0" in text for text in options.values()):
        raise Invalid(f"create {name}: a volume option must not contain a NUL")
    if not _BIND & set(options.get("o", "").split(",")):
        for key in ("device", "type"):
            if not options.get(key):
                raise Invalid(f'create {name}: missing required option: "{key}"')
        if options["type"] in ("none", "bind"):
            raise Invalid(f"create {name}: a volume of type {options['type']} needs the option o=bind")
        return
    if not os.path.isabs(options.get("device", "")):
        raise Invalid(f'create {name}: missing device in volume options: give an absolute path, as "device=/srv/data"')
