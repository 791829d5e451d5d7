"""A guest's tap, pinned: what comes by it has the guest's own MAC and addresses, or is dropped. Pure.

Root in a guest writes frames as it likes, and a bridge believes their senders. Each tap has a chain of its own at the
hook that frames pass before a bridge sees them (netdev, ingress), so that the bridge learns nothing from one either,
not even from those that it does not forward (LLDP and its like). Let through is, untagged and from the guest's MAC:

    ARP    that says of the guest's own addresses where they are; asking whether one of them is taken (RFC 5227)
    IPv4   from its addresses
    IPv6   from its addresses, without advertisements of routers, redirects, and advertisements of neighbours for an
           address that is another's; from no address, what finding duplicates of its own takes (RFC 4862)

Who may be reached is for the firewall to say (`firewall`). A guest that routes for others has to translate.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import dataclass

from corten.kernel import nft, rtnetlink
from corten.kernel.netlink import Request
from corten.kernel.nft import Table
from corten.kernel.rtnetlink import IPAddress

_ARP, _IPV4, _IPV6 = b"\x08\x06", b"\x08\x00", b"\x86\xdd"
_ARP_OF_ETHERNET = b"\0\1\x08\0\6\4"  # hardware and protocol, and the lengths of their addresses
_ROUTER, _ASKS, _ADVERTISES, _REDIRECT, _LISTENS = b"\x86", b"\x87", b"\x88", b"\x89", b"\x8f"  # types of ICMPv6
_TARGET = 8  # bytes into a message about a neighbour


@dataclass(frozen=True, slots=True)
class Pin:
    """`device` is the tap's on this host, `addresses` are the guest's, all of one family or both. What is asked for
    names at the address `names` is answered before this, and goes no further."""

    device: str
    mac: str
    addresses: tuple[IPAddress, ...]
    names: IPAddress | None = None


def pinned(table: Table, pin: Pin) -> list[Request]:
    """The chain and its rules; `table` is of the family netdev."""
    chain = nft.ingress_chain(table, pin.device, pin.device)
    return [chain, *(nft.rule(table, pin.device, expressions) for expressions in _rules(pin))]


def _rules(pin: Pin) -> Iterator[bytes]:
    mac = rtnetlink.mac_bytes(pin.mac)
    accept, drop = nft.verdict(nft.ACCEPT), nft.verdict(nft.DROP)
    yield nft.link_header(6, 6, 0) + nft.compare(0, mac, nft.NEQ) + drop
    if pin.names is not None:
        udp = nft.meta(nft.L4PROTO, 0) + nft.compare(0, bytes((socket.IPPROTO_UDP,)))
        asked = _type(_IPV4) + _network(16, pin.names.packed) + udp + nft.transport_header(2, 2, 0)
        yield asked + nft.compare(0, nft.port(53)) + drop
    four = [address.packed for address in pin.addresses if address.version == 4]
    six = [address.packed for address in pin.addresses if address.version == 6]
    arp = _type(_ARP) + _network(0, _ARP_OF_ETHERNET) + _network(8, mac)
    for address in four:
        yield arp + _network(14, address) + accept
        yield arp + _network(14, bytes(4)) + _network(24, address) + accept
        yield _type(_IPV4) + _network(12, address) + accept
    for kind in (_ROUTER, _REDIRECT):
        yield _icmpv6(kind) + drop
    advertised = b"".join(nft.compare(0, address, nft.NEQ) for address in six)
    yield _icmpv6(_ADVERTISES) + nft.transport_header(_TARGET, 16, 0) + advertised + drop
    for address in six:
        yield _type(_IPV6) + _network(8, address) + accept
        target = nft.transport_header(_TARGET, 16, 0) + nft.compare(0, address)
        yield _icmpv6(_ASKS) + _network(8, bytes(16)) + target + accept
    if six:
        yield _icmpv6(_LISTENS) + _network(8, bytes(16)) + accept


def _type(kind: bytes) -> bytes:
    """Of Ethernet; of a tagged frame it is that of the tag."""
    return nft.link_header(12, 2, 0) + nft.compare(0, kind)


def _network(offset: int, data: bytes) -> bytes:
    return nft.network_header(offset, len(data), 0) + nft.compare(0, data)


def _icmpv6(kind: bytes) -> bytes:
    protocol = nft.meta(nft.L4PROTO, 0) + nft.compare(0, bytes((socket.IPPROTO_ICMPV6,)))
    return _type(_IPV6) + protocol + nft.transport_header(0, 1, 0) + nft.compare(0, kind)
