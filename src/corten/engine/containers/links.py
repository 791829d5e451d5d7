"""--link on the default network: names of containers ("/app/db" is what /app calls db), rows of /etc/hosts, variables.

A record has the links of its container as ids by alias (`Record.links`), so renames change nothing. In user-defined
networks there are none: the name server has what EndpointSettings.Links says, and there are no variables.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from corten.engine.containers.container import Container
from corten.engine.containers.containers import Containers
from corten.errors import Conflict, Invalid, NotFound
from corten.plan.namespaces import joins, user_defined
from corten.plan.validate.network import parse_link
from corten.spec.docker.host_config import HostConfig
from corten.spec.docker.networking import EndpointSettings

DEFAULT = "bridge"
_NOT_PASSED = ("HOME", "PATH")


def resolve(containers: Containers, host: HostConfig) -> dict[str, str]:
    """Ids by alias, of HostConfig.Links; an alias that is named twice is the first's. Raises Invalid."""
    found: dict[str, str] = {}
    if not user_defined(host.network_mode):
        for text in host.links or ():
            name, alias = parse_link(text)
            found.setdefault(alias, _target(containers, name).id)
    return found


def unused(host: HostConfig, networks: Mapping[str, EndpointSettings]) -> list[str]:
    """A warning of create for HostConfig.Links where only the endpoints' count."""
    if host.links and user_defined(host.network_mode) and not any(settings.links for settings in networks.values()):
        return [
            "HostConfig.Links has no effect in user-defined networks: EndpointSettings.Links names containers there"
        ]
    return []


def _target(containers: Containers, name: str) -> Container:
    """The container of that name; of one in the network of another, that one."""
    try:
        target = containers.get(name)
        while owner := joins(target.record.host_config.network_mode):
            target = containers.get(owner)
    except NotFound as error:  # a 404 would make clients pull the image, and try again
        raise Invalid(f"could not get container for {name}: {error}") from error
    if target.record.host_config.network_mode == "host":
        raise Invalid(
            "conflicting options: host type networking can't be used with links. This would result in undefined "
            "behavior"
        )
    return target


def shown(containers: Containers, container: Container) -> list[str] | None:
    """HostConfig.Links as inspect shows it: "/db:/app/alias"."""
    name = container.record.name
    there = [(alias, target) for alias, id in container.record.links.items() if (target := containers.by_id.get(id))]
    return [f"/{target.record.name}:/{name}/{alias}" for alias, target in there] or None


def names_by_id(containers: Containers) -> dict[str, list[str]]:
    """What containers are called by those that have a link to them: "/app/db"."""
    found: dict[str, list[str]] = {}
    for parent in containers.with_links.values():
        for alias, id in parent.record.links.items():
            found.setdefault(id, []).append(f"/{parent.record.name}/{alias}")
    return found


def linked(containers: Containers, container: Container) -> list[tuple[str, Container]]:
    """(alias, container) of each link, at a start. Raises Conflict when one cannot be reached."""
    found: list[tuple[str, Container]] = []
    if DEFAULT not in container.record.networks:
        return found
    for alias, id in container.record.links.items():
        name, other = f"/{container.record.name}/{alias}", containers.by_id.get(id)
        if other is None:
            raise Conflict(f"Cannot link to a removed container AS {name}: remove the link with rm --link {name[1:]}")
        if DEFAULT not in other.record.networks:
            raise Conflict(f"Cannot link to /{other.record.name}, as it does not belong to the default network")
        if not other.record.state.has_task:
            raise Conflict(f"Cannot link to a non running container: /{other.record.name} AS {name}")
        found.append((alias, other))
    return found


def linking(containers: Containers, container: Container) -> list[Container]:
    """Running containers with a link to this one: where it is may have changed with its start."""
    return [
        other
        for other in containers.with_links.values()
        if other.record.state.has_task and container.id in other.record.links.values()
    ]


def host_rows(containers: Containers, container: Container) -> list[tuple[str, str]]:
    """(address, names) of every link to a container that runs, where both are in the default network. The names are as
    dockerd has them in /etc/hosts: alias, hostname, and the container's own where the alias is another."""
    rows = []
    for alias, id in container.record.links.items():
        other = containers.by_id.get(id)
        endpoint = other.endpoints.get(DEFAULT) if other is not None and DEFAULT in container.endpoints else None
        if other is None or endpoint is None or not (address := endpoint.settings.get("IPAddress")):
            continue
        name = other.record.name
        names = (alias, other.record.config.hostname, name if name != alias else "")
        rows.append((address, " ".join(filter(None, names))))
    return rows


def environment(containers: Containers, container: Container) -> list[str]:
    """Docker's variables about every linked container: where its ports are, what it is called, what it was given."""
    found: list[str] = []
    for alias, other in linked(containers, container):
        endpoint = other.endpoints.get(DEFAULT)
        if endpoint is not None and (address := endpoint.settings.get("IPAddress")):
            prefix = alias.upper().replace("-", "_")
            found += _ports(prefix, address, _exposed(other))
            found.append(f"{prefix}_NAME=/{container.record.name}/{alias}")
            given = (entry.partition("=") for entry in other.record.config.env or ())
            found += [f"{prefix}_ENV_{key}={value}" for key, sign, value in given if sign and key not in _NOT_PASSED]
    return found


def _exposed(container: Container) -> list[tuple[int, str]]:
    """(port, protocol), lowest first; of both protocols tcp first."""
    texts = (port.partition("/") for port in container.record.config.exposed_ports or {})
    return sorted((int(number), protocol or "tcp") for number, _, protocol in texts)


def _ports(prefix: str, address: str, exposed: Sequence[tuple[int, str]]) -> list[str]:
    """NAME_PORT for the lowest, four variables for each, and four more for each run of numbers."""
    rows = [f"{prefix}_PORT={exposed[0][1]}://{address}:{exposed[0][0]}"] if exposed else []
    for port, protocol in exposed:
        name = f"{prefix}_PORT_{port}_{protocol.upper()}"
        rows.append(f"{name}={protocol}://{address}:{port}")
        rows += [f"{name}_ADDR={address}", f"{name}_PORT={port}", f"{name}_PROTO={protocol}"]
    for first, last in _runs(exposed):
        name = f"{prefix}_PORT_{first[0]}_{first[1].upper()}"
        rows += [f"{name}_START={first[1]}://{address}:{first[0]}", f"{name}_PORT_START={first[0]}"]
        rows += [f"{name}_END={last[1]}://{address}:{last[0]}", f"{name}_PORT_END={last[0]}"]
    return rows


def _runs(exposed: Sequence[tuple[int, str]]) -> Iterator[tuple[tuple[int, str], tuple[int, str]]]:
    """First and last of each run of three consecutive numbers or more."""
    start = 0
    for index in range(1, len(exposed) + 1):
        if index == len(exposed) or exposed[index][0] != exposed[index - 1][0] + 1:
            if index - start > 2:
                yield exposed[start], exposed[index - 1]
            start = index
