"""Every byte below the data root, by the thing that it belongs to.

First the disk is walked, which finds only paths: this is a blob, that is a writable tree. Afterwards each path gets
its kind and its owner from the engine's records, so that what was made during the walk has a record.

    database     corten.db and its log                 containers   writable trees and bundles
    blobs        layers, configurations, manifests     logs         what containers wrote
    partial      downloads under way, or to be resumed volumes
    layers       unpacked, shared by images            trash        pending deletion
    quarantine   what a repair put aside               engine       its directories, its lock
    builds       what only the cache of builds has, and directories of its clients
    machines     of whole machines: what they are, their consoles' logs, what firmware keeps; disks are volumes
    guests       what containers with kernels of their own share: made again at need
    other        of other owners: data roots of        unknown      everything else
                 daemons with another id map, and the
                 file system's own lost+found

A byte is what is allocated (st_blocks), an inode with several names counts once, directories count: the sum is `du`'s.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from corten.layers.measure import Measure, measure
from corten.layers.tree import open_directory

KINDS = (
    "blobs layers containers logs volumes machines builds guests database partial trash quarantine engine other unknown"
).split()  # as they are listed
QUARANTINE = "quarantine"
_OTHER_ROOT = re.compile(r"[0-9]+\.[0-9]+\Z")  # see daemon.facts.data_root
_LOST = "lost+found"  # of the file system, when one begins here (mklost+found(8)): fsck needs it where it is
_LOG = re.compile(r"[0-9a-f]{64}-json\.log(\..+)?|local-logs")
_DATABASE = ("corten.db", "corten.db-wal", "corten.db-shm", "corten.db-journal")
# Directories of ours whose entries each belong to something: the place that an entry is.
_DIRECTORIES = {
    "content/blobs/sha256": "blob",
    "content/blobs/sha512": "blob",
    "content/ingest": "part",
    "snapshots": "tree",
    "volumes": "volume",
    "machines": "machine",
    "vm/layers": "guest image",
    "vm/disks": "guest disk",
    QUARANTINE: "quarantine",
}
_OPENED = ("", "content", "content/blobs", "vm", *_DIRECTORIES, "containers")


@dataclass(slots=True)
class Item:
    """One thing on disk: where it is (`path` relative to the data root), what place that is, bytes and inodes.

    `kind` and `owner` come from `attribute`. `error` says why the rest of it could not be counted.
    """

    place: str
    path: str
    name: str
    bytes: int
    inodes: int
    kind: str = ""
    owner: str = ""
    error: str = ""


@dataclass(slots=True)
class Walk:
    """The account of one data root. Blocks on the disk. What is removed while it goes on is not in it."""

    root: Path
    _links: set[tuple[int, int]] = field(default_factory=set)

    def items(self) -> Iterator[Item]:
        yield from self._own("")
        yield from self._directory("")

    def _directory(self, path: str) -> Iterator[Item]:
        for name in self._names(path):
            below = f"{path}/{name}" if path else name
            if below in _OPENED and self._is_directory(below):
                yield from self._own(below)
                yield from self._directory(below)
            elif name == _LOST and self._is_directory(below):
                yield from self._whole("other", path, name)
            elif path == "containers" and self._is_directory(below):
                yield from self._bundle(below, name)
            else:
                yield from self._whole(_place(path, name), path, name)

    def _bundle(self, path: str, id: str) -> Iterator[Item]:
        yield from self._own(path, "bundle", id)
        for name in self._names(path):
            for item in self._whole("log" if _LOG.match(name) else "bundle", path, name):
                item.name = id
                yield item

    def _whole(self, place: str, directory: str, name: str) -> Iterator[Item]:
        """An entry and everything below it."""
        found, error = Measure(seen=self._links), ""
        try:
            fd = open_directory(os.fsencode(self.root / directory))
        except FileNotFoundError:
            return
        try:
            measure(fd, os.fsencode(name), found)
        except OSError as raised:  # one thing that cannot be read must not fail the account of all
            error = str(raised)
        finally:
            os.close(fd)
        self._links |= found.fresh
        path = f"{directory}/{name}" if directory else name
        yield Item(place, path, name, found.bytes, found.inodes, error=error)

    def _own(self, path: str, place: str = "engine", name: str = "") -> Iterator[Item]:
        """A directory itself, without what is in it."""
        try:
            status = os.lstat(self.root / path)
        except FileNotFoundError:
            return
        yield Item(place, path or ".", name or path or ".", status.st_blocks * 512, 1)

    def _names(self, path: str) -> list[str]:
        try:
            return sorted(os.listdir(self.root / path))
        except FileNotFoundError:
            return []

    def _is_directory(self, path: str) -> bool:
        return (self.root / path).is_dir() and not (self.root / path).is_symlink()


def _place(directory: str, name: str) -> str:
    """What an entry of one of our directories is, by where it is."""
    if directory == "":
        if name in _DATABASE:
            return "database"
        if name in ("lock", "places", "docker-init"):
            return "engine"
        if name == "build":
            return "builds"
        if name == "vm":
            return "guests"
        return "other" if _OTHER_ROOT.match(name) else "unknown"
    if (directory, name) in (("snapshots", ".trash"), ("volumes", ".removed"), ("vm/layers", ".trash")):
        return "trash"
    if (directory, name) == ("volumes", ".moving"):
        return "engine"
    if directory == "vm":
        return "guests"
    if directory == "snapshots" and name.startswith("."):
        return "unknown"
    return _DIRECTORIES.get(directory, "unknown")


def totals(items: list[Item]) -> dict[str, tuple[int, int, int]]:
    """kind to (bytes, inodes, things), for every kind."""
    sums = {kind: [0, 0, 0] for kind in KINDS}
    things: dict[str, set[str]] = {kind: set() for kind in KINDS}
    for item in items:
        sums[item.kind][0] += item.bytes
        sums[item.kind][1] += item.inodes
        things[item.kind].add(item.owner or item.name)
    return {kind: (bytes, inodes, len(things[kind])) for kind, (bytes, inodes, _) in sums.items()}
