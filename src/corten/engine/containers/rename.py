"""Another name for a container."""

from __future__ import annotations

from corten.engine.containers import network as container_network
from corten.engine.containers.container import Container
from corten.engine.containers.containers import Containers
from corten.engine.containers.names import check_name
from corten.errors import Invalid, NotFound


async def rename(containers: Containers, container: Container, name: str) -> None:
    """Raises Invalid for a name that cannot be one, or is its own, and Conflict for one that is taken."""
    if not name:
        raise Invalid("Neither old nor new names may be empty")
    new = check_name(name)
    async with container.lock:
        record = container.record
        if container.gone:
            raise NotFound(f"No such container: {container.id}")
        old = record.name
        if new == old:
            raise Invalid("Renaming a container with the same name as its current name")
        containers.check_free(new)
        _call(containers, container, new)
        try:
            containers.save(container)
        except BaseException:
            _call(containers, container, old)
            raise
        containers.publish(container, "rename", oldName="/" + old)


def _call(containers: Containers, container: Container, name: str) -> None:
    del containers.by_name[container.record.name]
    container.record.name = name
    containers.by_name[name] = container
    container_network.renamed(containers, container)
