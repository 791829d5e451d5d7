"""--link on the default network: names in /etc/hosts, and variables. In user-defined networks the name server has
links, and there are no variables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from corten.engine.containers.container import Container
from corten.engine.containers.containers import Containers
from corten.errors import Conflict

_NOT_PASSED = ("HOME", "PATH")


def linked(containers: Containers, container: Container) -> list[tuple[str, Container]]:
    """(alias, container) of each link. NotFound for a container that is gone, Conflict for one that does not run."""
    found = []
    for text in container.record.host_config.links or ():
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
    for other in containers.with_links.values():
        targets = [text.partition(":")[0].removeprefix("/") for text in other.record.host_config.links or ()]
        if other.record.state.has_task and (container.record.name in targets or container.id in targets):
            found.append(other)
    return found


def host_entries(containers: Containers, container: Container) -> list[str]:
    """ "name:address" for every name of every linked container that runs, on a network that both are in."""
    entries = []
    for text in container.record.host_config.links or ():
        target, _, alias = text.partition(":")
        other = containers.by_name.get(target.removeprefix("/")) or containers.by_id.get(target)
        if other is None or (address := _address(container, other)) == "":
            continue
        names = ((alias or target).rpartition("/")[2], other.record.config.hostname, other.record.name)
        entries += [f"{name}:{address}" for name in dict.fromkeys(names) if name]
    return entries


def environment(containers: Containers, container: Container) -> list[str]:
    """Docker's variables about every linked container: where its ports are, what it is called, what it was given."""
    found: list[str] = []
    if "bridge" not in container.record.networks:
        return found
    for alias, other in linked(containers, container):
        endpoint = other.endpoints.get("bridge")
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


def _address(container: Container, other: Container) -> str:
    shared = (other.endpoints[name] for name in container.endpoints if name in other.endpoints)
    return next((address for e in shared if (address := e.settings.get("IPAddress") or "")), "")
