"""What both drivers of trees have in common: the store's directories and records, and the order of a commit."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

from corten.snapshots.tree_store import Draft, Mkdir, Removed, Table, Tree, TreeStore, Usage

Links = Sequence[tuple[bytes, bytes]]


class StoredTrees(ABC):
    """Part of `Snapshots`, and the import of layers: `receive`, unpack into the draft, `commit` or `discard`.

    `overlays`: a tree can be what differs from an earlier form of the same layer."""

    overlays = False

    def __init__(self, root: Path, table: Table, mkdir: Mkdir = os.mkdir, removed: Removed = lambda name: None) -> None:
        self._store = TreeStore(root, table, mkdir, removed)

    @property
    def tree_store(self) -> TreeStore:
        """The directories and records: sizes, parents, which are in use."""
        return self._store

    @abstractmethod
    def places(self, name: str) -> dict[str, str]:
        """See `Snapshots`."""

    def usage(self, key: str) -> Usage:
        return self._store.usage(key)

    def remove(self, key: str) -> None:
        self._store.remove(key)

    def receive(self) -> Draft:
        """An empty tree for one layer. It need not have its parent yet: layers unpack side by side."""
        return self._store.new(work=False)

    def commit(
        self,
        draft: Draft,
        name: str,
        parent: str | None,
        size: int,
        implied: Sequence[bytes] = (),
        links: Links = (),
        earlier: bool = False,
        own: int = 0,
    ) -> None:
        """Make the unpacked draft the tree `name`. The caller has synced its files to disk.

        `earlier`, where `overlays`: `parent` is an earlier form of the layer, and the draft what differs, `own` bytes.

        `implied` and `links` are the unpacker's result: what is done about them is synced here. Raises Conflict when
        `name` exists; then the draft is discarded.
        """
        with self._store.syncing() as sync:
            whole = self.complete(draft, parent, implied, links)
            try:
                if self._writes(implied, links):
                    sync()
                self._store.add(name, Tree(whole.directory, parent, True, size, earlier, own))
            except BaseException:
                self._store.discard(whole)
                raise

    def keep(self, key: str, name: str, size: int) -> None:
        self._store.keep(key, name, size)

    @abstractmethod
    def complete(self, draft: Draft, parent: str | None, implied: Sequence[bytes], links: Links) -> Draft:
        """The draft as the tree that `commit` would make of it. Discarded on an error.

        Raises Invalid for a hard link to a file that does not exist.
        """

    @abstractmethod
    def _writes(self, implied: Sequence[bytes], links: Links) -> bool:
        """Whether `complete` wrote what the caller has not synced."""

    def discard(self, draft: Draft) -> None:
        self._store.discard(draft)
