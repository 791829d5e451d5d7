"""What the engine asks of a driver of trees, as a protocol; overlay and copy are two."""

from __future__ import annotations

from typing import Protocol

from corten.snapshots.shelf import Shelf, Usage
from corten.spec.mounts import Mount


class Snapshots(Protocol):
    """Trees of files with parents. `name` is a committed, read-only tree; `key` an active, writable one.

    Nothing here mounts: the answers are mounts for the runtime to do inside the container's own mount namespace.
    All methods are synchronous and quick; `remove` of something absent does nothing.
    """

    def prepare(self, key: str, parent: str | None) -> tuple[Mount, ...]:
        """Make a writable tree over `parent` (None: over nothing). Conflict when `key` exists."""

    def mounts(self, key: str) -> tuple[Mount, ...]:
        """The mounts of an active tree again. NotFound."""

    def view(self, name: str) -> tuple[Mount, ...]:
        """Read-only mounts of a tree, also of an active one that is in use. NotFound."""

    @property
    def shelf(self) -> Shelf:
        """The directories behind all trees, for what counts, checks or copies them."""

    def usage(self, key: str) -> Usage:
        """What this tree alone holds, without its parents. Walks the disk."""

    def remove(self, key: str) -> None:
        """Take an active tree away. It is out of the way when this returns; its bytes may go a little later."""
