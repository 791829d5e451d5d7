"""Trees by overlayfs: one directory for each layer, and a writable one for each container (kernel, overlayfs.rst).

A container's mount is `lowerdir=TOP:...:BOTTOM`, `upperdir` and `workdir`. `kernel.mount.new` gives the lower ones
each by itself (fsconfig `lowerdir+`, Linux 6.5) when they are longer together than the 255 bytes that fsconfig takes.
Redirects, metacopies and the index are off: they would make a layer's content depend on attributes and inode numbers
that do not travel in a tar.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from corten.errors import Invalid
from corten.layers import inherit
from corten.layers import tree as trees
from corten.layers.limits import quoted
from corten.snapshots.stored import Links, StoredTrees
from corten.snapshots.tree_store import Draft, Tree
from corten.spec.mounts import Mount

SETTINGS = ("index=off", "redirect_dir=off", "metacopy=off")


class Overlay(StoredTrees):
    """`Snapshots`, and the import of layers."""

    overlays = True

    # ---------------------------------------------------------------------------------------------- trees to use

    def prepare(self, key: str, parent: str | None) -> tuple[Mount, ...]:
        lower = self._store.lineage(parent) if parent is not None else []
        draft = self._store.new(work=True)
        try:
            if lower:
                _like(self._store.place(lower[0], "fs"), draft.path)
            self._store.add(key, Tree(draft.directory, parent, False, 0))
        except BaseException:
            self._store.discard(draft)
            raise
        return self.mounts(key)

    def mounts(self, key: str) -> tuple[Mount, ...]:
        tree = self._store.get(key)
        upper = self._store.place(tree, "fs")
        if tree.parent is None:
            return (Mount("bind", upper, "/", ("rbind", "rw")),)
        lower = self._lower(self._store.lineage(tree.parent))
        options = (f"lowerdir={lower}", f"upperdir={upper}", f"workdir={self._store.place(tree, 'work')}", *SETTINGS)
        return (Mount("overlay", "overlay", "/", options),)

    def view(self, name: str) -> tuple[Mount, ...]:
        top = self._store.get(name)
        lower = [top, *(self._store.lineage(top.parent) if top.parent is not None else ())]
        if len(lower) == 1:  # overlay needs two at least
            return (Mount("bind", self._store.place(lower[0], "fs"), "/", ("rbind", "ro")),)
        return (Mount("overlay", "overlay", "/", ("ro", f"lowerdir={self._lower(lower)}", *SETTINGS)),)

    def places(self, name: str) -> dict[str, str]:
        tree = self._store.get(name)
        found = {"UpperDir": self._store.place(tree, "fs")}
        if tree.parent is not None:
            found["LowerDir"] = self._lower(self._store.lineage(tree.parent))
        if not tree.committed:
            found["WorkDir"] = self._store.place(tree, "work")
        return found

    def _lower(self, lineage: Sequence[Tree]) -> str:
        return ":".join(self._store.place(tree, "fs") for tree in lineage)

    def keep(self, key: str, name: str, size: int) -> None:
        """An upper directory has a layer's form already (overlayfs.rst, "whiteouts and opaque directories")."""
        tree = self._store.keep(key, name, size)
        self._store.trash.take(Path(self._store.place(tree, "work")))

    # ---------------------------------------------------------------------------------------------- import of layers

    def complete(self, draft: Draft, parent: str | None, implied: Sequence[bytes], links: Links) -> Draft:
        try:
            if parent is not None and (implied or links):
                self._settle(draft, parent, implied, links)
            elif links:
                raise Invalid(f"layer has a hard link to a file that does not exist: {quoted(links[0][1])}")
        except BaseException:
            self._store.discard(draft)
            raise
        return draft

    def _settle(
        self, draft: Draft, parent: str, implied: Sequence[bytes], links: Sequence[tuple[bytes, bytes]]
    ) -> None:
        opened: list[int] = []
        try:
            for path in (draft.path, *(self._store.files(tree) for tree in self._store.lineage(parent))):
                opened.append(trees.open_directory(os.fsencode(path)))
            inherit.settle(opened[0], opened[1:], implied, links)
        finally:
            for fd in opened:
                os.close(fd)

    def _writes(self, implied: Sequence[bytes], links: Links) -> bool:
        return bool(implied or links)


def _like(model: str, made: Path) -> None:
    """The root of an overlay looks as its uppermost directory does."""
    status = os.stat(model)
    os.chown(made, status.st_uid, status.st_gid)
    os.chmod(made, status.st_mode & 0o7777)
