"""Control groups that users choose (--cgroup-parent): those that were made for a container go with the last of them.

A group that was there before stays, as does, for as long, one that holds other processes or groups. What is ours is
recorded before it is made, so that a daemon that was killed in between leaves nothing either.
"""

from __future__ import annotations

import asyncio
import logging
import os

from corten.engine.containers.container import Container
from corten.engine.containers.containers import Containers
from corten.spec.docker.host_config import HostConfig

KIND = "cgroup-parent"
log = logging.getLogger(__name__)
_PAUSES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 4.0, 8.0)  # seconds


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
    """Remove, innermost first, the recorded groups that no container is to be started in. What cannot be removed yet
    stays recorded: it is tried for a while, with each container that is erased, and at the daemon's start."""
    if containers.emptying is not None:
        containers.emptying.cancel()
        containers.emptying = None
    if _remove_unused(containers):
        containers.emptying = containers.watching.spawn(_remove_later(containers), "the removal of control groups")


async def _remove_later(containers: Containers) -> None:
    """A group is busy for a moment after its last process was reaped, and while another container of it is erased."""
    for pause in _PAUSES:
        await asyncio.sleep(pause)
        if not (left := _remove_unused(containers)):
            return
    log.info("control groups are in use by others, and are tried again later: %s", ", ".join(left))


def _remove_unused(containers: Containers) -> list[str]:
    """Which are in use."""
    noted = containers.table.list(KIND)
    if not noted:
        return []
    used = [f"{parent_of(containers, c.record.host_config)}/" for c in containers.every()]
    used.append(f"{containers.configuration.settings.cgroup_parent}/")
    left = []
    for directory in sorted(noted, reverse=True):
        group = noted[directory].get("group")  # of a record that cannot be read: none that is known
        if not isinstance(group, str) or any(one.startswith(f"{group}/") for one in used):
            continue
        try:
            if containers.groups.remove(directory):
                containers.table.delete(KIND, directory)
            else:
                left.append(directory)
        except OSError as error:
            log.error("control group %s cannot be removed: %s", directory, os.strerror(error.errno or 0).lower())
    return left
