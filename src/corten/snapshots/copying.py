"""Trees by copying: every tree is whole, and a container's is a copy of its image's. Slow and large, works anywhere."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from corten.errors import Invalid
from corten.layers import copy, inherit
from corten.layers import tree as trees
from corten.layers.limits import quoted
from corten.snapshots.stored import Links, StoredTrees
from corten.snapshots.tree_store import Draft, Tree
from corten.spec.mounts import Mount


class Copying(StoredTrees):
    """The same as `Overlay`, for file systems that overlayfs cannot use."""

    def prepare(self, key: str, parent: str | None) -> tuple[Mount, ...]:
        below = self._store.lineage(parent)[:1] if parent is not None else []
        draft = self._store.new(work=False)
        try:
            for tree in below:
                _merge(self._store.files(tree), draft.path)
            self._store.add(key, Tree(draft.directory, parent, False, 0))
        except BaseException:
            self._store.discard(draft)
            raise
        return self.mounts(key)

    def mounts(self, key: str) -> tuple[Mount, ...]:
        return (Mount("bind", self._store.place(self._store.get(key), "fs"), "/", ("rbind", "rw")),)

    def view(self, name: str) -> tuple[Mount, ...]:
        return (Mount("bind", self._store.place(self._store.get(name), "fs"), "/", ("rbind", "ro")),)

    def places(self, name: str) -> dict[str, str]:
        return {"MergedDir": self._store.place(self._store.get(name), "fs")}  # it is whole

    def complete(self, draft: Draft, parent: str | None, implied: Sequence[bytes], links: Links) -> Draft:
        """The draft is one layer in overlay's form, and is merged over a copy of its parent."""
        whole: Draft | None = None
        try:
            if links and parent is None:
                raise Invalid(f"layer has a hard link to a file that does not exist: {quoted(links[0][1])}")
            whole = self._store.new(work=False)
            if parent is not None:
                below = self._store.files(self._store.lineage(parent)[0])
                _settle(draft.path, below, implied, links)
                _merge(below, whole.path)
            _merge(draft.path, whole.path)
            return whole
        except BaseException:
            if whole is not None:
                self._store.discard(whole)
            raise
        finally:
            self._store.discard(draft)

    def _writes(self, implied: Sequence[bytes], links: Links) -> bool:
        return True


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
