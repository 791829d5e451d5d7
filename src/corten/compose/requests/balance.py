"""Ports that all containers of a service share: `deploy.endpoint_mode: vip`, as HostConfig.BalancedPorts.

An addition of ours to the engine's API: of other engines only one container of a service can have a port of the host.
"""

from __future__ import annotations

from corten.compose.model import Project, Service
from corten.spec.docker.host_config import BalancedPort


def balanced_ports(project: Project, service: Service) -> list[BalancedPort]:
    return [
        BalancedPort(
            group=f"{project.name}/{service.name}",
            port=f"{each.target}/{each.protocol or 'tcp'}",
            host_ip=each.host_ip,
            host_port=each.published,
        )
        for each in service.balanced
    ]
