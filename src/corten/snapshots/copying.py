"""Trees by copying: every tree is whole, and a container's is a copy of its image's. Slow and large, works anywhere."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from corten.errors import Invalid
from corten.layers import copy, inherit
from corten.layers import tree as trees
from corten.snapshots.shelf import Draft, Mkdir, Shelf, Table, Tree, Usage
from corten.spec.mounts import Mount


class Copying:
    """The same as `Overlay`, for file systems that overlayfs cannot use."""

    def __init__(self, root: Path, table: Table, mkdir: Mkdir = os.mkdir) -> None:
        self._shelf = Shelf(root, table, mkdir)

    def prepare(self, key: str, parent: str | None) -> tuple[Mount, ...]:
        below = self._shelf.lineage(parent)[:1] if parent is not None else []
        draft = self._shelf.new(work=False)
        try:
            for tree in below:
                _merge(self._shelf.files(tree), draft.path)
            self._shelf.add(key, Tree(draft.directory, parent, False, 0))
        except BaseException:
            self._shelf.discard(draft)
            raise
        return self.mounts(key)

    def mounts(self, key: str) -> tuple[Mount, ...]:
        return (Mount("bind", str(self._shelf.files(self._shelf.get(key))), "/", ("rbind", "rw")),)

    def view(self, name: str) -> tuple[Mount, ...]:
        return (Mount("bind", str(self._shelf.files(self._shelf.get(name))), "/", ("rbind", "ro")),)

    def usage(self, key: str) -> Usage:
        return self._shelf.usage(key)

    def remove(self, key: str) -> None:
        self._shelf.remove(key)

    def receive(self) -> Draft:
        return self._shelf.new(work=False)

    def commit(
        self,
        draft: Draft,
        name: str,
        parent: str | None,
        size: int,
        implied: Sequence[bytes] = (),
        links: Sequence[tuple[bytes, bytes]] = (),
    ) -> None:
        """As `Overlay.commit`; the copies are synced here."""
        with self._shelf.syncing() as sync:
            whole = self.complete(draft, parent, implied, links)
            try:
                sync()
                self._shelf.add(name, Tree(whole.directory, parent, True, size))
            except BaseException:
                self._shelf.discard(whole)
                raise

    def complete(
        self, draft: Draft, parent: str | None, implied: Sequence[bytes], links: Sequence[tuple[bytes, bytes]]
    ) -> Draft:
        """As `Overlay.complete`: the draft is one layer in overlay's form, and is merged over a copy of its parent."""
        whole: Draft | None = None
        try:
            if links and parent is None:
                raise Invalid(f"layer has a hard link to a file that does not exist: {links[0][1]!r}")
            whole = self._shelf.new(work=False)
            if parent is not None:
                below = self._shelf.files(self._shelf.lineage(parent)[0])
                _settle(draft.path, below, implied, links)
                _merge(below, whole.path)
            _merge(draft.path, whole.path)
            return whole
        except BaseException:
            if whole is not None:
                self._shelf.discard(whole)
            raise
        finally:
            self._shelf.discard(draft)

    def discard(self, draft: Draft) -> None:
        self._shelf.discard(draft)

    @property
    def shelf(self) -> Shelf:
        return self._shelf


def _settle(draft: Path, below: Path, implied: Sequence[bytes], links: Sequence[tuple[bytes, bytes]]) -> None:
    tree, parent = (trees.open_directory(os.fsencode(path)) for path in (draft, below))
    try:
        inherit.settle(tree, [parent], implied, links)
    finally:
        os.close(tree)
        os.close(parent)


def _merge(source: Path, target: Path) -> None:
    from_fd, to_fd = (trees.open_directory(os.fsencode(path)) for path in (source, target))
    try:
        copy.merge(from_fd, to_fd)
    finally:
        os.close(from_fd)
        os.close(to_fd)
