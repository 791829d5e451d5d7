"""Where a service's container is in the networks: mode, endpoints, aliases, links."""

from __future__ import annotations

from corten.compose.model import Project, Service, ServiceNetwork
from corten.spec.docker.networking import EndpointIPAMConfig, EndpointSettings
from corten.spec.docker.struct import UNSET

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    Linked = Mapping[str, tuple[str, ...]]

_OF_SERVICE = "service:"
_MADE_BY_ENGINE = ("host", "bridge", "none", "default")  # networks in which no container has a name
_INTERFACE = "com.docker.network.endpoint.ifname"


def network_name(project: Project, key: str) -> str:
    known = project.networks.get(key)
    return known.name if known is not None else key


def sharing(service: Service) -> tuple[str, ...]:
    """The services whose namespaces or volumes it shares: they have to be there first."""
    modes = (service.network_mode, service.ipc, service.pid)
    found = [mode.removeprefix(_OF_SERVICE) for mode in modes if mode.startswith(_OF_SERVICE)]
    found += [each.partition(":")[0] for each in service.volumes_from if not each.startswith("container:")]
    return tuple(dict.fromkeys(found))


def shared(mode: str, ids: Mapping[str, str]) -> str:
    """A mode with the container's id in the service's place."""
    if not mode.startswith(_OF_SERVICE):
        return mode
    name = mode.removeprefix(_OF_SERVICE)
    return f"container:{ids.get(name, name)}"


def mode(project: Project, service: Service, ids: Mapping[str, str]) -> str:
    if service.network_mode:
        return shared(service.network_mode, ids)
    first = next(iter(service.networks_by_priority), "")
    return network_name(project, first) if first else "none"


def endpoints(
    project: Project,
    service: Service,
    name: str,
    number: int,
    linked: Linked,
    aliases: bool,
    version: tuple[int, ...],
) -> dict[str, EndpointSettings]:
    """By the engine's names of the networks, the first one first."""
    if service.network_mode:
        return {}
    found = {}
    for at, key in enumerate(service.networks_by_priority):
        network = network_name(project, key)
        given = service.networks[key] or ServiceNetwork()
        names = [name, *([service.name, *given.aliases] if aliases else [])]
        with_names = network not in _MADE_BY_ENGINE
        options = {**given.driver_opts, **({_INTERFACE: given.interface_name} if given.interface_name else {})}
        mac = given.mac_address or (service.mac_address if at == 0 else "")
        found[network] = EndpointSettings(
            ipam_config=_addresses(given),
            aliases=list(dict.fromkeys(names)) if with_names else UNSET,
            links=(links(project, service, number, linked) if with_names else []) or UNSET,
            driver_opts=options or UNSET,
            mac_address=mac if mac and version >= (1, 44) else UNSET,
            gw_priority=given.gw_priority if given.gw_priority and version >= (1, 48) else UNSET,
        )
    return found


def _addresses(given: ServiceNetwork) -> EndpointIPAMConfig:
    if not (given.ipv4_address or given.ipv6_address or given.link_local_ips):
        return UNSET
    return EndpointIPAMConfig(
        ipv4_address=given.ipv4_address or UNSET,
        ipv6_address=given.ipv6_address or UNSET,
        link_local_ips=list(given.link_local_ips) or UNSET,
    )


def links(project: Project, service: Service, number: int, linked: Linked) -> list[str]:
    """CONTAINER:NAME for each name by which a container of another service is known here."""
    found = []
    for text in service.links:
        other, _, alias = text.partition(":")
        for container in linked.get(other, ()):
            found += [
                f"{container}:{alias or other}",
                f"{container}:{other}-{number}",
                f"{container}:{project.name}-{other}-{number}",
            ]
    for text in service.external_links:
        container, _, alias = text.partition(":")
        found.append(f"{container}:{alias or container}")
    return found
