"""Where trees lie on disk and which are their parents; used by both drivers, which say how a tree is mounted.

    <root>/ID/fs     the tree itself, or what it changes      ID is short: 127 of these paths go into one mount
    <root>/ID/work   overlay's scratch directory, for writable trees
    <root>/.trash    pending deletion

A tree without a record does not exist: `sweep` removes it. The record is written after the tree is on disk. While
there is a record that cannot be read, any directory may be its tree's, and any tree below it: neither is removed.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple, Protocol

import msgspec

from corten.errors import Conflict, NotFound
from corten.layers import tree as trees
from corten.snapshots.block_groups import BlockGroups
from corten.snapshots.syncing import Syncing
from corten.snapshots.trash import Trash
from corten.spec.json import Json

log = logging.getLogger(__name__)
Mkdir = Callable[[str, int], None]
Removed = Callable[[str], None]
KIND = "snapshot"
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


class Table(Protocol):
    """Durable records: (kind, id) to a JSON object (`corten.store.records.Records`)."""

    def put(self, kind: str, id: str, body: Json) -> None: ...

    def delete(self, kind: str, id: str) -> None: ...

    def rename(self, kind: str, id: str, new: str, body: Json) -> None: ...

    def list(self, kind: str) -> dict[str, Json]: ...


class Tree(NamedTuple):
    """`size` is the apparent size of its files in bytes, for committed trees. `earlier`: its parent is no layer below,
    but an earlier form of this one, which has the files that are the same in both, and counts in `size` as well; `own`
    is then what is in this one alone."""

    directory: str
    parent: str | None
    committed: bool
    size: int
    earlier: bool = False
    own: int = 0

    @property
    def bytes(self) -> int:
        """On the disk."""
        return self.own if self.earlier else self.size


class Usage(NamedTuple):
    """Apparent size of the files in bytes, and the number of inodes."""

    bytes: int
    inodes: int


class Draft(NamedTuple):
    """An uncommitted layer: an empty tree to unpack into, without a record."""

    directory: str
    path: Path


class TreeStore:
    """The trees below `root`; all records are in memory. Thread-safe. `mkdir` makes directories of writable trees;
    `removed` gets the name of each committed one that is gone, and of each one that has another content."""

    def __init__(self, root: Path, table: Table, mkdir: Mkdir = os.mkdir, removed: Removed = lambda name: None) -> None:
        self.root = root
        self._top = str(root)
        self._mkdir = mkdir
        self._removed = removed
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._groups = BlockGroups(root)
        self._table = table
        self._lock = threading.RLock()
        self.trash = Trash(root / ".trash")
        self._trees, self._unreadable = _loaded(table.list(KIND))
        self._children: dict[str, int] = {}
        self._drafts: set[str] = set()
        for tree in self._trees.values():
            self._count(tree.parent, 1)
        numbers = (int(name, 36) for name in os.listdir(root) if set(name) <= set(_DIGITS) and len(name) < 12)
        self._next = max(numbers, default=-1) + 1

    def get(self, key: str) -> Tree:
        tree = self._trees.get(key)
        if tree is None:
            raise NotFound(f"no such snapshot: {key}")
        return tree

    def has(self, key: str) -> bool:
        return key in self._trees

    def keys(self, committed: bool) -> list[str]:
        with self._lock:
            return [key for key, tree in self._trees.items() if tree.committed == committed]

    def files(self, tree: Tree | Draft) -> Path:
        return Path(self.place(tree, "fs"))

    def place(self, tree: Tree | Draft, part: str) -> str:
        """The path of "fs" or "work" of a tree; as text, because a mount has one for each layer."""
        return f"{self._top}/{tree.directory}/{part}"

    def lineage(self, name: str) -> list[Tree]:
        """The committed tree `name` and those below it, topmost first.

        Raises NotFound when one of them is absent, Conflict when one is writable.
        """
        trees: list[Tree] = []
        current: str | None = name
        while current is not None:
            tree = self.get(current)
            if not tree.committed:
                raise Conflict(f"snapshot {current} is writable and cannot be a parent")
            trees.append(tree)
            current = tree.parent
        return trees

    def new(self, work: bool) -> Draft:
        """Directories for one more tree."""
        if work:  # a container's own files are few
            return self._make(work)
        return self._groups.choose(lambda: self._make(work), self._unmake)

    def _make(self, work: bool) -> Draft:
        with self._lock:
            name = _base36(self._next)
            self._next += 1
            self._drafts.add(name)
        top = f"{self._top}/{name}"
        (self._mkdir if work else os.mkdir)(top, 0o700)  # a tree has the modes of what writes there
        for part in ("fs", "work") if work else ("fs",):
            os.mkdir(f"{top}/{part}", 0o755)
        os.chmod(f"{top}/fs", 0o755)
        return Draft(name, Path(f"{top}/fs"))

    def _unmake(self, draft: Draft) -> None:
        """An empty one, as `_make` made it."""
        os.rmdir(draft.path)
        os.rmdir(draft.path.parent)
        with self._lock:
            self._drafts.discard(draft.directory)

    def add(self, key: str, tree: Tree) -> None:
        """Record `tree` under `key`. Durable when it returns. Raises Conflict when `key` is taken."""
        with self._lock:
            if key in self._trees:
                raise Conflict(f"snapshot {key} already exists")
            self._table.put(KIND, key, {"tree": list(tree)})
            self._trees[key] = tree
            self._unreadable.discard(key)
            self._drafts.discard(tree.directory)
            self._count(tree.parent, 1)

    def replace(self, key: str, draft: Draft, parent: str | None) -> None:
        """Make `draft` the content of the tree `key`, all that it has above `parent`, and remove the old content.
        Durable when it returns. Raises NotFound when there is no tree `key`.
        """
        with self._lock:
            old = self.get(key)
            new = old._replace(directory=draft.directory, parent=parent, earlier=False, own=0)
            self._table.put(KIND, key, {"tree": list(new)})
            self._trees[key] = new
            self._count(old.parent, -1)
            self._count(parent, 1)
            self._drafts.discard(draft.directory)
            above = [name for name in self._trees if key in self._below(name)]
        for name in above:
            self._removed(name)
        self.trash.take(self.root / old.directory)

    def _below(self, key: str) -> list[str]:
        """The tree `key` and all that it stands on."""
        found = list[str]()
        current: str | None = key
        while current is not None and current in self._trees:
            found.append(current)
            current = self._trees[current].parent
        return found

    def keep(self, key: str, name: str, size: int) -> Tree:
        """Make the writable tree `key` the committed tree `name`. Durable when it returns.

        Raises NotFound when there is no tree `key`, Conflict when `name` is taken or `key` is committed.
        """
        with self._lock:
            tree = self.get(key)
            if name in self._trees:
                raise Conflict(f"snapshot {name} already exists")
            if tree.committed:
                raise Conflict(f"snapshot {key} is committed already")
            kept = tree._replace(committed=True, size=size)
            self._table.rename(KIND, key, name, {"tree": list(kept)})
            del self._trees[key]
            self._trees[name] = kept
            self._unreadable.discard(name)
        return kept

    def all(self) -> dict[str, Tree]:
        """All trees by key, at this moment."""
        with self._lock:
            return dict(self._trees)

    def owners(self) -> dict[str, str]:
        """Directory to key of every tree; to "" for drafts."""
        with self._lock:
            return dict.fromkeys(self._drafts, "") | {tree.directory: key for key, tree in self._trees.items()}

    def remove_unrecorded(self, directory: str) -> bool:
        """Remove a directory that belongs to no tree. False when it belongs to one, or may."""
        with self._lock:
            if self._unreadable or directory in self.owners() or directory.startswith("."):
                return False
            self.trash.take(self.root / directory)
            return True

    def remove(self, key: str) -> None:
        """Remove a tree; does nothing when it is absent. Raises Conflict when it is the parent of others."""
        with self._lock:
            tree = self._trees.get(key)
            if tree is None:
                self._forget_unreadable(key)
                return
            if self._children.get(key):
                raise Conflict(f"snapshot {key} is the parent of {self._children[key]} others")
            self._forget(key)
        if tree.committed:
            self._removed(key)
            self._groups.emptied(self.files(tree))
        self.trash.take(f"{self._top}/{tree.directory}")

    def discard(self, draft: Draft) -> None:
        """Remove a draft. Does nothing to one that is removed or has become a tree: its user may fail after `add`."""
        with self._lock:
            if draft.directory not in self._drafts:
                return
            self._groups.emptied(draft.path)
            self.trash.take(self.root / draft.directory)
            self._drafts.discard(draft.directory)

    def sweep(self) -> None:
        """At start: remove trees without a record, and records without a tree."""
        with self._lock:
            for key in [key for key, tree in self._trees.items() if not self.files(tree).is_dir()]:
                self._forget(key)
            if self._unreadable:
                return
            known = {tree.directory for tree in self._trees.values()}
            for name in os.listdir(self.root):
                if name not in known and set(name) <= set(_DIGITS):  # lost+found, say, is no tree
                    self.trash.take(self.root / name)

    def remove_if_childless(self, key: str) -> bool:
        """`remove`, unless it is the parent of others. Whether it was removed."""
        with self._lock:
            if self._children.get(key):
                return False
            self.remove(key)
            return True

    def _forget(self, key: str) -> None:
        tree = self._trees.pop(key)
        self._table.delete(KIND, key)
        self._count(tree.parent, -1)

    def _forget_unreadable(self, key: str) -> None:
        """What it was of is gone; its directory is for a later `sweep`."""
        if key in self._unreadable:
            self._table.delete(KIND, key)
            self._unreadable.discard(key)

    def size(self, key: str) -> int:
        """Bytes of a committed tree; 0 when it is absent."""
        tree = self._trees.get(key)
        return tree.size if tree is not None else 0

    def shares(self, names: Iterable[str]) -> dict[str, int]:
        """Bytes on the disk of those of these layers that are here. What several stand on, an earlier form of them,
        counts once: for itself where it is among them, else for the first of them."""
        wanted, counted, found = dict.fromkeys(names), set[str](), dict[str, int]()
        with self._lock:
            for name in wanted:
                tree = self._trees.get(name)
                if tree is None:
                    continue
                found[name] = tree.bytes
                while tree.earlier and tree.parent not in wanted and tree.parent not in counted:
                    below = self._trees.get(tree.parent or "")
                    if below is None:
                        break
                    counted.add(tree.parent or "")
                    tree = below
                    found[name] += tree.bytes
        return found

    def usage(self, key: str) -> Usage:
        """Walk the tree `key` alone. Raises NotFound, or FileNotFoundError when its directory is missing."""
        top = trees.open_directory(os.fsencode(self.files(self.get(key))))
        try:
            return Usage(*trees.usage(top))
        finally:
            os.close(top)

    def layer(self, name: str) -> list[Tree]:
        """The committed tree `name` and the earlier forms that it stands on, topmost first. Raises as `lineage`."""
        found = list[Tree]()
        for tree in self.lineage(name):
            found.append(tree)
            if not tree.earlier:
                break
        return found

    def whole(self, name: str) -> bool:
        """Whether all directories are there that the layer `name` is in."""
        try:
            return all(self.files(tree).is_dir() for tree in self.layer(name))
        except NotFound:
            return False

    def ancestors_in_use(self) -> set[str]:
        """Every committed tree that is an ancestor of a writable one, or an earlier form of another; or may be."""
        used: set[str] = set()
        with self._lock:
            if self._unreadable:
                return {key for key, tree in self._trees.items() if tree.committed}
            for tree in self._trees.values():
                current = None if tree.committed and not tree.earlier else tree.parent
                while current is not None and current not in used:
                    used.add(current)
                    below = self._trees.get(current)
                    current = below.parent if below else None
        return used

    def syncing(self) -> Syncing:
        """A `Syncing` of `root`, to be entered before the files that it syncs are written."""
        return Syncing(self.root)

    def drain(self) -> None:
        """Wait until what was removed by now has been erased."""
        self.trash.drain()

    def close(self) -> None:
        self.trash.close()

    def _count(self, parent: str | None, change: int) -> None:
        if parent is not None:
            self._children[parent] = self._children.get(parent, 0) + change


def _loaded(listed: Mapping[str, Json]) -> tuple[dict[str, Tree], set[str]]:
    """The trees, and the keys of those whose records cannot be read. These do not hide the others."""
    trees, unreadable = dict[str, Tree](), set[str]()
    for key, body in listed.items():
        try:
            trees[key] = msgspec.convert(body.get("tree"), Tree)
        except msgspec.ValidationError as error:
            log.error("the record of snapshot %s cannot be read, and no tree is removed for now: %s", key, error)
            unreadable.add(key)
    return trees, unreadable


def _base36(number: int) -> str:
    text = _DIGITS[number % 36]
    while number := number // 36:
        text = _DIGITS[number % 36] + text
    return text
