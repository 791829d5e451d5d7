"""Other limits for a container of a pod, which may be running: what Kubernetes calls a resize in place."""

from __future__ import annotations

from dataclasses import replace

import msgspec

from corten.engine.containers import update as container_update
from corten.engine.containers.container import Container
from corten.engine.pods.pods import Pods
from corten.plan import pods as plan
from corten.spec.docker.host_config import UpdateConfig
from corten.spec.protobuf import cri


async def update(pods: Pods, container: Container, asked: cri.LinuxContainerResources) -> None:
    """What is 0 or empty stays as it is. Raises Invalid, Conflict, Unavailable; its status then says what it has."""
    await container_update.update(pods.containers, container, UpdateConfig(**plan.limits(asked)))
    member = container.record.pod
    assert member is not None
    config = msgspec.convert(member.config, cri.ContainerConfig)
    linux = config.linux or cri.LinuxContainerConfig()
    merged = _merged(linux.resources or cri.LinuxContainerResources(), asked)
    config.linux = replace(linux, resources=merged)
    member.config = msgspec.to_builtins(config)
    pods.containers.save(container)


def _merged(old: cri.LinuxContainerResources, new: cri.LinuxContainerResources) -> cri.LinuxContainerResources:
    given = {name: value for name in _FIELDS if (value := getattr(new, name))}
    return replace(old, **given)


_FIELDS = tuple(field for field in cri.LinuxContainerResources.__slots__)
