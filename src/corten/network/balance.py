"""Balanced ports in the firewall: a port of this host that leads to one of several containers, chosen by the kernel.

A connection draws a number below SLOTS, and a map says which container has it; conntrack keeps what was drawn. The
sets and rules are in the table only while there is such a port, so a kernel without numgen does all the rest.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from corten.kernel import nft
from corten.kernel.nft import Element, Set

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

SLOTS = 60  # a multiple of all numbers up to six, and how many containers can share a port

_DATA4, _DATA6 = (nft.IPV4_ADDR, nft.INET_SERVICE), (nft.IPV6_ADDR, nft.INET_SERVICE)
SETS = (
    Set("balanced4", (nft.INET_PROTO, nft.IPV4_ADDR, nft.INET_SERVICE, nft.NUMBER), _DATA4),
    Set("balanced6", (nft.INET_PROTO, nft.IPV6_ADDR, nft.INET_SERVICE, nft.NUMBER), _DATA6),
    Set("balanced4_any", (nft.INET_PROTO, nft.INET_SERVICE, nft.NUMBER), _DATA4),
    Set("balanced6_any", (nft.INET_PROTO, nft.INET_SERVICE, nft.NUMBER), _DATA6),
)


class Place(NamedTuple):
    """A port of this host. `protocol` is the kernel's number; `host_ip` may be unspecified: every address."""

    protocol: int
    host_ip: IPAddress
    host_port: int


Targets = Sequence[tuple[IPAddress, int]]
"""Addresses and ports of containers, of the family of the place; none: connections are refused."""


def rules(ipv4: bytes, ipv6: bytes) -> list[bytes]:
    """A port balanced on one address comes before the same port balanced on all."""
    protocol, number = nft.meta(nft.L4PROTO, 0), nft.random
    four, six = nft.dnat(nft.NFPROTO_IPV4, 0, 1), nft.dnat(nft.NFPROTO_IPV6, 0, 4)
    to4, to6 = nft.network_header(16, 4, 1), nft.network_header(24, 16, 1)
    port = nft.transport_header
    return [
        ipv4 + protocol + to4 + port(2, 2, 2) + number(3, SLOTS) + nft.lookup("balanced4", 0, into=0) + four,
        ipv4 + protocol + port(2, 2, 1) + number(2, SLOTS) + nft.lookup("balanced4_any", 0, into=0) + four,
        ipv6 + protocol + to6 + port(2, 2, 5) + number(6, SLOTS) + nft.lookup("balanced6", 0, into=0) + six,
        ipv6 + protocol + port(2, 2, 1) + number(2, SLOTS) + nft.lookup("balanced6_any", 0, into=0) + six,
    ]


def elements(balanced: Mapping[Place, Targets]) -> dict[str, list[Element]]:
    """By the name of their map: all slots of each place, in turns over its targets."""
    found: dict[str, list[Element]] = {}
    for place, targets in balanced.items():
        protocol, port = bytes((place.protocol,)), nft.port(place.host_port)
        exact = () if place.host_ip.is_unspecified else (place.host_ip.packed,)
        name = f"balanced{place.host_ip.version}{'' if exact else '_any'}"
        for slot in range(SLOTS if targets else 0):
            address, to = targets[slot % len(targets)]
            key = nft.value(protocol, *exact, port, nft.number(slot))
            found.setdefault(name, []).append(Element(key, nft.value(address.packed, nft.port(to))))
    return found
