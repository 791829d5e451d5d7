"""Why a container has to be made anew: the cause in words, "" where it is as the files want it."""

from __future__ import annotations

from corten.compose.model import Project, Service
from corten.compose.observed import Container, Observed
from corten.compose.plan.asked import ALWAYS, NEVER
from corten.compose.requests.endpoints import network_name
from corten.compose.requests.mounts import volume_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection


def cause(
    project: Project,
    service: Service,
    container: Container,
    observed: Observed,
    hash: str,
    policy: str,
    changed_networks: Collection[str] = (),
) -> str:
    """`hash` is what the service's is now; `changed_networks` are names of those that are made anew."""
    if policy == NEVER:
        return ""
    if policy == ALWAYS:
        return "it was asked for (--force-recreate)"
    if container.hash != hash:
        return "its configuration has changed"
    image = project.image_of(service)
    now = observed.images.get(image, "")
    if now and container.image and container.image != now:
        return f"image {image} is now {now.removeprefix('sha256:')[:12]}, it has {_short(container.image)}"
    if not container.runs:
        return ""
    return _network_cause(project, service, container, observed, changed_networks) or _volume_cause(
        project, service, container
    )


def _short(id: str) -> str:
    return id.removeprefix("sha256:")[:12]


def _network_cause(
    project: Project, service: Service, container: Container, observed: Observed, changed: Collection[str]
) -> str:
    if service.network_mode:
        return ""
    connected = set(container.networks.values())
    for key in service.networks:
        name = network_name(project, key)
        if name in changed:
            return f"network {name} is made anew"
        known = observed.networks.get(name)
        if known is not None and known.id not in connected and name not in container.networks:
            return f"it is not connected to network {name}"
        if known is not None and container.networks.get(name) not in (None, "", known.id):
            return f"network {name} is another one now"
    return ""


def _volume_cause(project: Project, service: Service, container: Container) -> str:
    mounted = {each.name for each in container.volumes}
    for each in service.volumes:
        if each.type == "volume" and each.source and volume_name(project, each.source) not in mounted:
            return f"volume {volume_name(project, each.source)} is not mounted in it"
    return ""
