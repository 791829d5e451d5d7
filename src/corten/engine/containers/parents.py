"""Control groups that users choose (--cgroup-parent): those that were made for a container go with the last of them.

What somebody else had made before stays, as does a group that somebody has put other processes or groups into. What is
ours is written down before it is made, so that a daemon that was killed in between leaves nothing either.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from corten.spec.docker.host_config import HostConfig

if TYPE_CHECKING:
    from corten.engine.containers.container import Container
    from corten.engine.containers.containers import Containers
    from corten.engine.parts import Parts

KIND = "cgroup-parent"


class Groups(Protocol):
    """The control groups of this machine, in all trees at once."""

    def missing(self, path: str) -> dict[str, str]:
        """Directories that are not there of the group `path` and of those above it, in every tree: each's group."""
        ...

    def remove(self, directory: str) -> None:
        """Unless something is in it; absent is fine."""
        ...


class NoGroups:
    def missing(self, path: str) -> dict[str, str]:
        return {}

    def remove(self, directory: str) -> None:
        return


def parent_of(parts: Parts, host_config: HostConfig) -> str:
    """The group in which a container's own is made, absolute."""
    parent = host_config.cgroup_parent or parts.settings.cgroup_parent
    return parent if parent.startswith("/") else "/" + parent


def note(parts: Parts, container: Container) -> None:
    """Before a start: what will have to be made for this container alone."""
    if container.record.host_config.cgroup_parent:
        for directory, group in parts.groups.missing(parent_of(parts, container.record.host_config)).items():
            parts.table.put(KIND, directory, {"group": group})


def let_go(containers: Containers) -> None:
    """Take away, innermost first, what was noted and no container is to be started in."""
    parts = containers.parts
    noted = parts.table.list(KIND)
    if not noted:
        return
    used = [f"{parent_of(parts, c.record.host_config)}/" for c in containers.by_id.values()]
    used.append(f"{parts.settings.cgroup_parent}/")
    for directory in sorted(noted, reverse=True):
        if not any(one.startswith(f"{noted[directory]['group']}/") for one in used):
            parts.groups.remove(directory)
            parts.table.delete(KIND, directory)
