"""What an engine of ours starts first after a reboot: `depends_on`, as HostConfig.StartAfter.

Other engines do not know the field, and ignore it.
"""

from __future__ import annotations

from corten.compose.model import Project, Service
from corten.compose.names import container_name
from corten.spec.docker.host_config import RestartPolicy, StartAfter

_CONDITIONS = {
    "service_started": "started",
    "service_healthy": "healthy",
    "service_completed_successfully": "completed",
}
_WITH_ENGINE = ("always", "unless-stopped")
_MOST = 64  # that an engine takes


def start_after(project: Project, service: Service, policy: RestartPolicy) -> list[StartAfter]:
    """By name, one for each container of a service that it depends on."""
    if policy.name not in _WITH_ENGINE:
        return []
    found = [
        StartAfter(container=container_name(project, other, number), condition=_CONDITIONS[each.condition])
        for name, each in sorted(service.depends_on.items())
        if (other := project.services.get(name)) is not None
        for number in range(1, min(other.replicas, _MOST) + 1)
    ]
    return found[:_MOST]
