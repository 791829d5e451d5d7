"""Control groups that users choose (--cgroup-parent): those that were made for a container go with the last of them.

A group that was there before stays, as does one that holds other processes or groups. What is ours is recorded before
it is made, so that a daemon that was killed in between leaves nothing either.
"""

from __future__ import annotations

from corten.engine.containers.container import Container
from corten.engine.containers.containers import Containers
from corten.spec.docker.host_config import HostConfig

KIND = "cgroup-parent"


def parent_of(containers: Containers, host_config: HostConfig) -> str:
    """The group in which a container's own is made, absolute."""
    parent = host_config.cgroup_parent or containers.configuration.settings.cgroup_parent
    return parent if parent.startswith("/") else "/" + parent


def record_missing(containers: Containers, container: Container) -> None:
    """Before a start: record what will have to be made for this container alone."""
    if container.record.host_config.cgroup_parent:
        for directory, group in containers.groups.missing(parent_of(containers, container.record.host_config)).items():
            containers.table.put(KIND, directory, {"group": group})


def remove_unused(containers: Containers) -> None:
    """Remove, innermost first, the recorded groups that no container is to be started in."""
    noted = containers.table.list(KIND)
    if not noted:
        return
    used = [f"{parent_of(containers, c.record.host_config)}/" for c in containers.every()]
    used.append(f"{containers.configuration.settings.cgroup_parent}/")
    for directory in sorted(noted, reverse=True):
        if not any(one.startswith(f"{noted[directory]['group']}/") for one in used):
            containers.groups.remove(directory)
            containers.table.delete(KIND, directory)
