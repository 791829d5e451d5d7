"""Control groups that users choose (--cgroup-parent): those that were made for a container go with the last of them.

A group that was there before stays, as does one that holds other processes or groups. What is ours is recorded before
it is made, so that a daemon that was killed in between leaves nothing either.
"""

from __future__ import annotations

from corten.engine.containers.container import Container
from corten.engine.containers.containers import Containers
from corten.engine.parts import Parts
from corten.spec.docker.host_config import HostConfig

KIND = "cgroup-parent"


def parent_of(parts: Parts, host_config: HostConfig) -> str:
    """The group in which a container's own is made, absolute."""
    parent = host_config.cgroup_parent or parts.settings.cgroup_parent
    return parent if parent.startswith("/") else "/" + parent


def record_missing(parts: Parts, container: Container) -> None:
    """Before a start: record what will have to be made for this container alone."""
    if container.record.host_config.cgroup_parent:
        for directory, group in parts.groups.missing(parent_of(parts, container.record.host_config)).items():
            parts.table.put(KIND, directory, {"group": group})


def remove_unused(containers: Containers) -> None:
    """Remove, innermost first, the recorded groups that no container is to be started in."""
    parts = containers.parts
    noted = parts.table.list(KIND)
    if not noted:
        return
    used = [f"{parent_of(parts, c.record.host_config)}/" for c in containers.every()]
    used.append(f"{parts.settings.cgroup_parent}/")
    for directory in sorted(noted, reverse=True):
        if not any(one.startswith(f"{noted[directory]['group']}/") for one in used):
            parts.groups.remove(directory)
            parts.table.delete(KIND, directory)
