"""A container in a pod: the namespaces that it has with the pod's others, and its pod's ids.

What a pod shares is kept by its sandbox (`corten.sandbox.sandboxes`), so a container joins it whether or not others
run. What is asked of the pod as a whole is `corten.engine.pods`.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

from corten.engine.containers.containers import Containers
from corten.engine.containers.records import Membership, Record
from corten.errors import Conflict, NotFound
from corten.plan.facts import HostFacts, MountPoint
from corten.plan.isolation import facts_for, guest_of
from corten.tasks.contract import LogFile, Namespace


def facts_of(record: Record, facts: HostFacts) -> HostFacts:
    """What this machine can do for the container: in a pod with the pod's ids, not the daemon's."""
    found = facts_for(record.host_config, facts)
    if record.pod is None:
        return found
    return replace(found, uid_map=tuple(record.pod.uids), gid_map=tuple(record.pod.gids))


def with_ids(points: Sequence[MountPoint], member: Membership) -> list[MountPoint]:
    return [replace(point, idmapped=True) if point.destination in member.idmapped else point for point in points]


def log_file(member: Membership) -> LogFile:
    """Nothing of it is rotated here: that is the kubelet's."""
    return LogFile(path=Path(member.log) if member.log else None, max_size=0, max_file=1, format="cri")


def alone(containers: Containers, record: Record, stack: AsyncExitStack) -> None:
    """In a pod that has guests no other container runs until `stack` is closed: a guest has all of the pod's network.
    Conflict."""
    if record.pod is None or not guest_of(record.host_config):
        return
    pod, runs = record.pod.pod, containers.in_pods
    if (other := runs.get(pod, record.id)) != record.id:
        raise Conflict(f"container {other} runs in pod {pod}: a pod in a guest has one container at a time")
    runs[pod] = record.id
    stack.callback(runs.pop, pod, None)


async def network_of(containers: Containers, member: Membership) -> Namespace:
    """The pod's network. Raises Conflict when the pod is stopped, Unavailable."""
    if member.pod in containers.sandboxes.held():
        try:
            return await containers.sandboxes.open(member.pod)
        except NotFound:
            pass
    raise Conflict(f"pod {member.pod} does not run")


async def join(containers: Containers, member: Membership, paths: dict[str, str], held: AsyncExitStack) -> str | None:
    """Add the `paths` of what it shares, by descriptors that `held` closes. Returns where the pod's /dev/shm is found,
    None where it has one of its own. Raises Conflict when the pod, or the container that is its target, is stopped."""
    kinds = [kind for kind in member.shares if kind != "network"]
    shm = None
    if kinds:
        try:
            shared = await containers.sandboxes.open_shared(member.pod)
        except NotFound as error:
            raise Conflict(f"pod {member.pod} does not run") from error
        held.callback(shared.close)
        for kind in kinds:
            if (fd := shared.descriptors.get(kind)) is not None:
                paths[kind] = f"/proc/{os.getpid()}/fd/{fd}"
        if "ipc" in paths:
            shm = str(shared.memory)
    if member.target:
        paths["pid"] = _processes_of(containers, member.target, held)
    return shm


def _processes_of(containers: Containers, target: str, held: AsyncExitStack) -> str:
    try:
        other = containers.get(target)
        if other.task is None:
            raise NotFound("it does not run")
        fd = other.task.open_namespace("pid")
    except NotFound as error:
        raise Conflict(f"cannot join the processes of container {target}: it does not run") from error
    held.callback(os.close, fd)
    return f"/proc/{os.getpid()}/fd/{fd}"
