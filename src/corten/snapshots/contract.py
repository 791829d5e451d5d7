"""The protocol of drivers of trees; overlay and copy implement it."""

from __future__ import annotations

from typing import Protocol

from corten.snapshots.tree_store import TreeStore, Usage
from corten.spec.mounts import Mount


class Snapshots(Protocol):
    """Trees of files with parents. `name` is a committed, read-only tree; `key` an active, writable one.

    Nothing here mounts: the answers are mounts for the runtime to do inside the container's own mount namespace.
    All methods are synchronous and quick; `remove` of something absent does nothing.
    """

    def prepare(self, key: str, parent: str | None) -> tuple[Mount, ...]:
        """Make a writable tree over `parent` (None: over nothing). Raises Conflict when `key` exists."""

    def mounts(self, key: str) -> tuple[Mount, ...]:
        """The mounts of an active tree again. Raises NotFound when it is absent."""

    def view(self, name: str) -> tuple[Mount, ...]:
        """Read-only mounts of a tree, also of an active one that is in use. Raises NotFound when it is absent."""

    def places(self, name: str) -> dict[str, str]:
        """Where a tree lies on this machine, by the names of Docker's GraphDriver.Data: only what is there. Raises
        NotFound when it is absent."""

    @property
    def tree_store(self) -> TreeStore:
        """The directories and records of all trees, for code that counts, checks or copies them."""

    def usage(self, key: str) -> Usage:
        """Size of this tree alone, without its parents. Walks the disk. Raises NotFound when it is absent."""

    def keep(self, key: str, name: str, size: int) -> None:
        """Make the active tree `key`, which is mounted nowhere any more, the committed tree `name` on the same parent.

        The caller has synced its files, whose `size` in bytes is what this tree adds. Durable when it returns. Raises
        NotFound, and Conflict when `name` exists, or `key` is committed: then nothing has changed.
        """

    def remove(self, key: str) -> None:
        """Remove an active tree. It is renamed away when this returns; its bytes may be freed a little later."""
