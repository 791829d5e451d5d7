"""--link on the default network: names in /etc/hosts. In user-defined networks the name server knows links."""

from __future__ import annotations

from typing import TYPE_CHECKING

from corten.engine.containers.container import Container
from corten.errors import Conflict

if TYPE_CHECKING:
    from corten.engine.containers.containers import Containers


def linked(containers: Containers, container: Container) -> list[tuple[str, Container]]:
    """(alias, container) of each link. NotFound for a container that is gone, Conflict for one that does not run."""
    found = []
    for text in container.record.host_config.get("Links") or ():
        target, _, alias = text.partition(":")
        other = containers.get(target)
        if not other.record.state.has_task:
            name = (alias or other.record.name).rpartition("/")[2]
            raise Conflict(
                f"Cannot link to a non running container: /{other.record.name} AS /{container.record.name}/{name}"
            )
        found.append(((alias or target).rpartition("/")[2], other))
    return found


def linking(containers: Containers, container: Container) -> list[Container]:
    """Running containers with a link to this one: where it is may have changed with its start."""
    found = []
    for other in containers.by_id.values():
        links = other.record.host_config.get("Links") if other.record.state.has_task else None
        targets = [text.partition(":")[0].removeprefix("/") for text in links or ()]
        if container.record.name in targets or container.id in targets:
            found.append(other)
    return found


def host_entries(containers: Containers, container: Container) -> list[str]:
    """ "name:address" for every name of every linked container that runs, on a network that both are in."""
    entries = []
    for text in container.record.host_config.get("Links") or ():
        target, _, alias = text.partition(":")
        other = containers.by_name.get(target.removeprefix("/")) or containers.by_id.get(target)
        if other is None or (address := _address(container, other)) == "":
            continue
        names = ((alias or target).rpartition("/")[2], other.record.config.get("Hostname") or "", other.record.name)
        entries += [f"{name}:{address}" for name in dict.fromkeys(names) if name]
    return entries


def _address(container: Container, other: Container) -> str:
    shared = (other.endpoints[name] for name in container.endpoints if name in other.endpoints)
    return next((address for e in shared if (address := e.settings.get("IPAddress") or "")), "")
