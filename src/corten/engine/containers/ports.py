"""Published ports that change while a container runs: PublishAdd and PublishRm of POST /containers/ID/update (ours).

Both have the shape of HostConfig.PortBindings. A port without rows in PublishRm takes all of its bindings away; a row
takes those that it names. What changes at a running container is kept for its next start as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from corten.engine.containers.container import Container
from corten.engine.oci.namespaces import own_network
from corten.engine.seams import Json
from corten.engine.validate.network import check_bindings
from corten.errors import Conflict, Invalid, NotFound

if TYPE_CHECKING:
    from corten.engine.containers.containers import Containers

FIELDS = ("PublishAdd", "PublishRm")


async def republish(containers: Containers, container: Container, body: Json) -> None:
    """All of it or nothing; the caller holds the lock and saves the record. Invalid, NotFound, Conflict, Failed."""
    adds, removes = (_bindings(body, field) for field in FIELDS)
    if not adds and not removes:
        return
    record = container.record
    if not own_network(record.host_config):
        raise Conflict(f"container {container.id} has no network of its own to publish ports of")
    exposed = {**(record.config.get("ExposedPorts") or {}), **{port: {} for port in adds}}
    wished = _without(container, removes)
    if container.endpoints:
        changed = await containers.parts.networks.republish(container.id, adds, removes, list(exposed))
        container.endpoints[changed.record["network_name"]] = changed
        record.endpoints = {name: endpoint.record for name, endpoint in container.endpoints.items()}
    for port, rows in adds.items():
        wished[port] = [*wished.get(port, ()), *rows]
    record.config = {**record.config, "ExposedPorts": exposed}
    record.host_config = {**record.host_config, "PortBindings": wished}


def _bindings(body: Json, field: str) -> dict[str, list[Json]]:
    """With the protocol in each port's name. Invalid."""
    given = body.get(field) or {}
    if not isinstance(given, dict) or not all(isinstance(rows or [], list) for rows in given.values()):
        raise Invalid(f"invalid JSON: {field} must be bindings by port")
    rows_of = {port if "/" in port else f"{port}/tcp": list(rows or []) for port, rows in given.items()}
    if not all(isinstance(row, dict) for rows in rows_of.values() for row in rows):
        raise Invalid(f"invalid JSON: a binding in {field} must be an object")
    check_bindings(rows_of)
    if field == "PublishAdd":
        return {port: rows or [{"HostIp": "", "HostPort": ""}] for port, rows in rows_of.items()}
    return rows_of


def _without(container: Container, removes: Mapping[str, list[Json]]) -> dict[str, list[Json]]:
    """HostConfig.PortBindings without what is removed. NotFound for what is not there."""
    wished = {port: list(rows or []) for port, rows in (container.record.host_config.get("PortBindings") or {}).items()}
    for port, rows in removes.items():
        before = wished.pop(port, [])
        kept = [one for one in before if rows and not any(_names(row, one, _places(container, port)) for row in rows)]
        if kept:
            wished[port] = kept
        if len(kept) == len(before) and not _places(container, port):
            raise NotFound(f"container {container.record.name} does not publish port {port}")
    return wished


def _names(row: Mapping[str, Any], binding: Mapping[str, Any], places: list[Json]) -> bool:
    """Whether the row of a removal means this binding. One whose port was our choice is known by where it led."""
    port, ip = str(row.get("HostPort") or ""), row.get("HostIp") or ""
    own_port, own_ip = str(binding.get("HostPort") or "0"), binding.get("HostIp") or ""
    if own_port == "0" and port:
        return any(p["HostPort"] == port and own_ip in ("", p["HostIp"]) and ip in ("", p["HostIp"]) for p in places)
    return port in ("", own_port) and ip in ("", own_ip)


def _places(container: Container, port: str) -> list[Json]:
    """Where the port is published now."""
    return [row for endpoint in container.endpoints.values() for row in endpoint.ports.get(port) or ()]
