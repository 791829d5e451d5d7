"""What is reachable from where, from the same facts that the firewall is made of. Pure.

Places: "host" is this machine itself, "outside" any other machine that can send packets here, a network's name stands
for the containers in it.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from corten.network.driver import HOST, OUTSIDE, ActiveNetwork
from corten.network.endpoint import Endpoint
from corten.spec.json import Json


@dataclass(frozen=True, slots=True)
class Way:
    """A way to a container. `port` is "80/tcp", or "*" for every port; `via` is the address to send to. `by_process`:
    it ends at this host, where a process carries it on."""

    container: str
    network: str
    port: str
    via: str
    sources: tuple[str, ...]
    obstacles: tuple[str, ...] = ()  # chains of other firewalls that have to let it pass as well
    by_process: bool = False

    def to_json(self) -> Json:
        return {
            "Container": self.container,
            "Network": self.network,
            "Port": self.port,
            "Via": self.via,
            "From": list(self.sources),
            "Obstacles": list(self.obstacles),
        }


def ways(networks: Iterable[ActiveNetwork], obstacles: Sequence[str] = ()) -> list[Way]:
    """Every way to every connected container, in a stable order.

    `obstacles` stand in those ways that are forwarded: not from this host, nor between neighbours of a bridge.
    """
    networks = list(networks)
    routed_here = sorted(network.definition.name for network in networks if network.can_publish)
    found = []
    for network in networks:
        for endpoint in network.endpoints.values():
            found += _direct(network, endpoint)
            found += _published(network, endpoint, routed_here)
    met = [replace(w, obstacles=tuple(obstacles)) if _forwarded(w) else w for w in found]
    return sorted(met, key=lambda w: (w.network, w.container, w.port, w.via))


def _forwarded(way: Way) -> bool:
    return not way.by_process and any(source not in (HOST, way.network) for source in way.sources)


def _direct(network: ActiveNetwork, endpoint: Endpoint) -> list[Way]:
    """By the container's own addresses."""
    made, driver = network.definition, network.driver
    return [
        Way(endpoint.container_name, made.name, "*", text, driver.sources(made, version))
        for version, text in ((4, endpoint.address), (6, endpoint.address6))
        if text
    ]


def _published(network: ActiveNetwork, endpoint: Endpoint, networks: Sequence[str]) -> list[Way]:
    found, name = [], network.definition.name
    for port, rows in endpoint.ports.items():
        for row in rows or ():
            ip = ipaddress.ip_address(row["HostIp"])
            if not row["HostPort"]:  # routed: at its own address
                address = endpoint.address if ip.version == 4 else f"[{endpoint.address6}]"
                own = f"{address}:{port.partition('/')[0]}"
                found.append(Way(endpoint.container_name, name, port, own, (HOST, OUTSIDE, *networks)))
                continue
            via = f"[{ip}]:{row['HostPort']}" if ip.version == 6 else f"{ip}:{row['HostPort']}"
            sources = (HOST,) if ip.is_loopback else (HOST, OUTSIDE, *networks)
            by_process = ip.version == 6 and not endpoint.address6
            found.append(Way(endpoint.container_name, name, port, via, sources, by_process=by_process))
    return found
