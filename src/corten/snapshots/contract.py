"""The protocol of drivers of trees, which overlay and copy implement, and of what guests have instead: disks."""

from __future__ import annotations

from pathlib import Path
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


class GuestImages(Protocol):
    """Trees as disks of guests, which see none of the host's directories: EROFS images, each of a committed tree with
    all that it stands on, shared by all guests.

        fd = await images.image(chain)     # the top layer's tree; made now, when there is none
        machine.plug_disk(Disk("layers", fd, read_only=True))
        os.close(fd)

    The tree has to stay meanwhile: a writable one stands on it, or a lease is held. The descriptor stays good when the
    image is removed, which it is with its tree.
    """

    async def image(self, name: str) -> int:
        """A descriptor of the image of the tree `name`, open for reading, the caller's. Calls at the same time share
        one making. Raises NotFound for a tree that is absent or writable, Unsupported for one that has what EROFS
        lacks, and Failed, Exhausted, Unavailable when none can be made: nothing is left of it then."""


class GuestDisks(Protocol):
    """What guests write to: a sparse file for each, with a file system that the host never mounts."""

    async def disk(self, directory: Path, size: int = ...) -> int:
        """A descriptor of the disk in a container's `directory`, to read and write by, the caller's. It is made when it
        is not there: an empty ext4 of `size` bytes, rounded up to MiB, 10 GiB by default. Raises Invalid for fewer
        than 16 MiB and for 16 TiB, Unsupported without e2fsprogs, Failed, Unavailable, and the disk's OSError:
        nothing is left of it then. It is removed with the directory."""
