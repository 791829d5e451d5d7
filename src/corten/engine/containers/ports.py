"""Published ports that change while a container runs: PublishAdd and PublishRm of POST /containers/ID/update (ours).

Both have the shape of HostConfig.PortBindings. A port without rows in PublishRm takes all of its bindings away; a row
takes those that it names. What changes at a running container is kept for its next start as well.
"""

from __future__ import annotations

from collections.abc import Mapping

from corten.engine.containers.container import Container
from corten.engine.containers.containers import Containers
from corten.errors import Conflict, NotFound
from corten.plan.namespaces import own_network
from corten.plan.validate.network import check_bindings
from corten.spec.docker.host_config import PortBinding, UpdateConfig

Bindings = Mapping[str, list[PortBinding]]


async def republish(containers: Containers, container: Container, body: UpdateConfig) -> None:
    """All of it or nothing; the caller holds the lock and saves the record. Invalid, NotFound, Conflict, Failed."""
    adds = {port: rows or [PortBinding()] for port, rows in _with_protocols(body.publish_add).items()}
    removes = _with_protocols(body.publish_rm)
    if not adds and not removes:
        return
    record = container.record
    if not own_network(record.host_config):
        raise Conflict(f"container {container.id} has no network of its own to publish ports of")
    exposed = {**(record.config.exposed_ports or {}), **{port: {} for port in adds}}
    wished = _without(container, removes)
    if container.endpoints:
        changed = await containers.networks.republish(container.id, adds, removes, list(exposed))
        container.endpoints[changed.record["network_name"]] = changed
        record.endpoints = {name: endpoint.record for name, endpoint in container.endpoints.items()}
    for port, rows in adds.items():
        wished[port] = [*wished.get(port, ()), *rows]
    record.config = record.config.replace(exposed_ports=exposed)
    record.host_config = record.host_config.replace(port_bindings=wished)


def _with_protocols(given: Bindings | None) -> dict[str, list[PortBinding]]:
    """The PortMap with the protocol in each port's name. Raises Invalid for a port or an address that is none."""
    rows_of = {port if "/" in port else f"{port}/tcp": rows for port, rows in (given or {}).items()}
    check_bindings(rows_of)
    return rows_of


def _without(container: Container, removes: Bindings) -> dict[str, list[PortBinding]]:
    """HostConfig.PortBindings without what is removed. NotFound for what is not there."""
    wished = {port: list(rows) for port, rows in (container.record.host_config.port_bindings or {}).items()}
    for port, rows in removes.items():
        before = wished.pop(port, [])
        kept = [one for one in before if rows and not any(_names(row, one, _places(container, port)) for row in rows)]
        if kept:
            wished[port] = kept
        if len(kept) == len(before) and not _places(container, port):
            raise NotFound(f"container {container.record.name} does not publish port {port}")
    return wished


def _names(row: PortBinding, binding: PortBinding, places: list[dict[str, str]]) -> bool:
    """Whether the row of a removal means this binding. One whose port was our choice is known by where it led."""
    port, ip = row.host_range, row.host_ip
    own_port, own_ip = binding.host_range or "0", binding.host_ip
    if own_port == "0" and port:
        return any(p["HostPort"] == port and own_ip in ("", p["HostIp"]) and ip in ("", p["HostIp"]) for p in places)
    return port in ("", own_port) and ip in ("", own_ip)


def _places(container: Container, port: str) -> list[dict[str, str]]:
    """Where the port is published now."""
    return [row for endpoint in container.endpoints.values() for row in endpoint.ports.get(port) or ()]
