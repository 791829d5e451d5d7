"""The hash by which a container is known to be as its service says: that of Docker Compose (`output.hashes`), of the
service as its containers see it."""

from __future__ import annotations

from msgspec.structs import replace

from corten.compose.model import Service
from corten.compose.output import network_hash, service_hash, volume_hash
from corten.compose.requests.endpoints import shared

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["network_hash", "resolved", "volume_hash"]


def resolved(service: Service, ids: Mapping[str, str]) -> str:
    """With containers' ids in the place of the services whose namespaces or volumes it shares."""
    return service_hash(
        replace(
            service,
            network_mode=shared(service.network_mode, ids),
            ipc=shared(service.ipc, ids),
            pid=shared(service.pid, ids),
            volumes_from=tuple(_from(text, ids) for text in service.volumes_from),
        )
    )


def _from(text: str, ids: Mapping[str, str]) -> str:
    if text.startswith("container:"):
        return text.removeprefix("container:")
    name = text.partition(":")[0]  # the mode does not count there
    return ids.get(name, name)
