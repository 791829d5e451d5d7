"""What is reachable from where, from the same facts that the firewall is made of. Pure.

Places: "host" is this machine itself, "outside" any other machine that can send packets here, a network's name stands
for the containers in it.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from corten.network.endpoint import Endpoint
from corten.network.live import Live
from corten.spec.json import Json

HOST, OUTSIDE = "host", "outside"


@dataclass(frozen=True, slots=True)
class Way:
    """A way to a container. `port` is "80/tcp", or "*" for every port; `via` is the address to send to."""

    container: str
    network: str
    port: str
    via: str
    sources: tuple[str, ...]
    obstacles: tuple[str, ...] = ()  # chains of other firewalls that have to let it pass as well

    def to_json(self) -> Json:
        return {
            "Container": self.container,
            "Network": self.network,
            "Port": self.port,
            "Via": self.via,
            "From": list(self.sources),
            "Obstacles": list(self.obstacles),
        }


def ways(networks: Iterable[Live], obstacles: Sequence[str] = ()) -> list[Way]:
    """Every way to every connected container, in a stable order.

    `obstacles` stand in those ways that are forwarded: not from this host, nor between neighbours of a bridge.
    """
    networks = list(networks)
    bridged = [n for n in networks if n.definition.driver == "bridge"]
    with_a_way_out = sorted(n.definition.name for n in bridged if not n.definition.internal)
    found = []
    for live in bridged:
        for endpoint in live.endpoints.values():
            found += _direct(live, endpoint)
            found += _published(live, endpoint, with_a_way_out)
    for live in networks:
        if live.definition.stacked:
            found += [way for endpoint in live.endpoints.values() for way in _direct(live, endpoint)]
    met = [replace(w, obstacles=tuple(obstacles)) if _forwarded(w) else w for w in found]
    return sorted(met, key=lambda w: (w.network, w.container, w.port, w.via))


def _forwarded(way: Way) -> bool:
    return any(source not in (HOST, way.network) for source in way.sources)


def _direct(live: Live, endpoint: Endpoint) -> list[Way]:
    made = live.definition
    if made.stacked:  # neighbours of the parent's network; this host itself has no way to them
        sources: tuple[str, ...] = (made.name,) if made.own_parent else (OUTSIDE, made.name)
    else:
        sources = (made.name,) if made.icc else ()
    found = []
    for version, text in ((4, endpoint.address), (6, endpoint.address6)):
        mode = made.gateway_mode(version) if not made.stacked else ""
        more = (OUTSIDE,) if mode == "nat-unprotected" and not made.internal else ()
        host = (HOST,) if not made.stacked and mode != "isolated" else ()
        if text:
            found.append(Way(endpoint.container_name, made.name, "*", text, (*host, *more, *sources)))
    return found


def _published(live: Live, endpoint: Endpoint, networks: Sequence[str]) -> list[Way]:
    found = []
    for port, rows in endpoint.ports.items():
        for row in rows or ():
            ip = ipaddress.ip_address(row["HostIp"])
            if not row["HostPort"]:  # routed: at its own address
                address = endpoint.address if ip.version == 4 else f"[{endpoint.address6}]"
                own = f"{address}:{port.partition('/')[0]}"
                found.append(Way(endpoint.container_name, live.definition.name, port, own, (HOST, OUTSIDE, *networks)))
                continue
            via = f"[{ip}]:{row['HostPort']}" if ip.version == 6 else f"{ip}:{row['HostPort']}"
            sources = (HOST,) if ip.is_loopback else (HOST, OUTSIDE, *networks)
            found.append(Way(endpoint.container_name, live.definition.name, port, via, sources))
    return found
