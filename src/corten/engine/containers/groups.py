"""The control groups of the machine that are not a container's own, as a protocol."""

from __future__ import annotations

from typing import Protocol


class Groups(Protocol):
    """The control groups of this machine, in all trees at once."""

    def missing(self, path: str) -> dict[str, str]:
        """Directories that are not there of the group `path` and of those above it, in every tree: each's group."""
        ...

    def remove(self, directory: str) -> bool:
        """Whether it is not there any more: False while processes or groups are in it. OSError otherwise."""
        ...
