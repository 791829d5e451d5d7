"""The firewall as desired state: one nftables table of this daemon's, replaced whole or changed by elements.

    raw         prerouting: nothing from a container to 127.0.0.0/8 (route_localnet is on for the bridges' sake)
    prerouting  destination is this host: look the port up and send it to its container
    output      the same for this host's own connections, its loopback included
    postrouting masquerade: what leaves the bridges, hairpins, and the host's loopback
    forward     what may pass between bridges and the world; everything that is not about our bridges is let alone

The table is inet, named after the daemon's bridge, and owned by the daemon's socket where the kernel has that (Linux
6.9): then no other program can flush it, and a killed daemon's stays. Elsewhere a flush is noticed and repaired.
Guests have a table of the same name in the family netdev, in which their taps are pinned (`pins`): the inet family sees
neither ARP nor what a bridge learns from a frame.

Accepting a packet here does not overrule another table's drop: on a host whose own FORWARD policy is drop, its
administrator has to let the bridge pass there (`foreign_drops` finds such chains).
"""

from __future__ import annotations

import errno
import ipaddress
import socket
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple

from corten.errors import Conflict, Unsupported
from corten.kernel import nft
from corten.kernel.netlink import NETLINK_NETFILTER, Request, Socket
from corten.kernel.nft import Element, Set, Table
from corten.network import balance
from corten.network.balance import Place, Targets
from corten.network.pins import Pin, pinned

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network

Verb = Callable[[Table, str, Sequence[Element]], list[Request]]

PROTOCOLS = {"tcp": socket.IPPROTO_TCP, "udp": socket.IPPROTO_UDP, "sctp": 132}
FORWARDED = ("tcp", "udp")  # what a process can carry in place of the kernel
_TRIES = 5  # while devices go
_LOOPBACK6 = ipaddress.IPv6Address("::1")


@dataclass(frozen=True, slots=True)
class Bridge:
    """What the firewall has of a network. `icc`: its containers may talk; `masquerade`: they leave as the host.

    Of its `subnets`, those in `routed` are not translated: other machines have routes to them, and reach what is
    published there by the container's own address. In `unprotected` they reach every port that way. To `cluster` its
    packets keep their address also where it is translated elsewhere.
    """

    name: str
    subnets: tuple[IPNetwork, ...]
    internal: bool = False
    icc: bool = True
    masquerade: bool = True
    routed: tuple[IPNetwork, ...] = ()
    unprotected: tuple[IPNetwork, ...] = ()
    cluster: tuple[IPNetwork, ...] = ()


class Published(NamedTuple):
    """`host_ip` may be unspecified (0.0.0.0 or ::): every address of this host of that family. `address` is the
    container's; for an IPv6 `host_ip` its IPv4 one where it has no other.

    With `host_port` 0 nothing is translated: the container's own address and port are open (gateway mode routed).
    """

    protocol: str
    host_ip: IPAddress
    host_port: int
    address: IPAddress
    port: int

    @property
    def translated(self) -> bool:
        """The kernel can carry it: within a family, and not to ::1, from where nothing is routed."""
        return self.address.version == self.host_ip.version and self.host_ip != _LOOPBACK6

    @property
    def forwarded(self) -> bool:
        """A process has to carry it, or at least what arrives at ::1."""
        six = self.host_ip.version == 6 and self.host_port > 0 and self.protocol in FORWARDED
        return six and (not self.translated or self.host_ip.is_unspecified)


_PAIR = (nft.IFNAME, nft.IFNAME)
_SETS = (
    Set("bridges", (nft.IFNAME,)),
    Set("internal", (nft.IFNAME,)),
    Set("same", _PAIR),
    Set("icc", _PAIR),
    Set("masquerade4", (nft.IPV4_ADDR,), interval=True),
    Set("masquerade6", (nft.IPV6_ADDR,), interval=True),
    Set("local4", (nft.IPV4_ADDR,), interval=True),
    Set("local6", (nft.IPV6_ADDR,), interval=True),
    Set("routed4", (nft.IPV4_ADDR,), interval=True),
    Set("routed6", (nft.IPV6_ADDR,), interval=True),
    Set("unprotected4", (nft.IPV4_ADDR,), interval=True),
    Set("unprotected6", (nft.IPV6_ADDR,), interval=True),
    Set("cluster", (nft.IFNAME,)),
    Set("cluster4", (nft.IPV4_ADDR,), interval=True),
    Set("cluster6", (nft.IPV6_ADDR,), interval=True),
    Set("open4", (nft.INET_PROTO, nft.IPV4_ADDR, nft.INET_SERVICE)),
    Set("open6", (nft.INET_PROTO, nft.IPV6_ADDR, nft.INET_SERVICE)),
    Set("ports4", (nft.INET_PROTO, nft.IPV4_ADDR, nft.INET_SERVICE), (nft.IPV4_ADDR, nft.INET_SERVICE)),
    Set("ports6", (nft.INET_PROTO, nft.IPV6_ADDR, nft.INET_SERVICE), (nft.IPV6_ADDR, nft.INET_SERVICE)),
    Set("ports4_any", (nft.INET_PROTO, nft.INET_SERVICE), (nft.IPV4_ADDR, nft.INET_SERVICE)),
    Set("ports6_any", (nft.INET_PROTO, nft.INET_SERVICE), (nft.IPV6_ADDR, nft.INET_SERVICE)),
)


def ruleset(
    table: Table,
    flags: int,
    bridges: Iterable[Bridge],
    published: Iterable[Published],
    balanced: Mapping[Place, Targets] | None = None,
) -> list[Request]:
    """The whole table, to be made where none is."""
    requests = [nft.new_table(table, flags)]
    sets = (*_SETS, *(balance.SETS if balanced else ()))
    requests += [nft.new_set(table, definition, number) for number, definition in enumerate(sets, 1)]
    requests += _chains(table)
    requests += _rules(table, bool(balanced))
    for name, elements in _bridge_elements(list(bridges)).items():
        requests += nft.add_elements(table, name, elements)
    for name, elements in {**port_elements(published), **balance.elements(balanced or {})}.items():
        requests += nft.add_elements(table, name, elements)
    return requests


def _chains(table: Table) -> list[Request]:
    return [
        nft.base_chain(table, "raw", "filter", nft.PREROUTING, -300),
        nft.base_chain(table, "prerouting", "nat", nft.PREROUTING, -100),
        nft.base_chain(table, "output", "nat", nft.OUTPUT, -100),
        nft.base_chain(table, "postrouting", "nat", nft.POSTROUTING, 100),
        nft.base_chain(table, "forward", "filter", nft.FORWARD, 0),
        nft.chain(table, "ports"),
    ]


def _rules(table: Table, balanced: bool) -> list[Request]:
    from_us = nft.meta(nft.IIFNAME, 0) + nft.lookup("bridges", 0)
    to_us = nft.meta(nft.OIFNAME, 0) + nft.lookup("bridges", 0)
    not_from_us = nft.meta(nft.IIFNAME, 0) + nft.lookup("bridges", 0, inverted=True)
    not_to_us = nft.meta(nft.OIFNAME, 0) + nft.lookup("bridges", 0, inverted=True)
    pair = nft.meta(nft.IIFNAME, 0) + nft.meta(nft.OIFNAME, 4)
    translated = nft.ct(nft.CT_STATUS, 0) + nft.any_bit(0, nft.STATUS_DNAT)
    known = nft.ct(nft.CT_STATE, 0) + nft.any_bit(0, nft.STATE_ESTABLISHED | nft.STATE_RELATED)
    ipv4, ipv6 = _family(nft.NFPROTO_IPV4), _family(nft.NFPROTO_IPV6)
    to_loopback = ipv4 + nft.network_header(16, 1, 0) + nft.compare(0, b"\x7f")
    from_loopback = ipv4 + nft.network_header(12, 1, 0) + nft.compare(0, b"\x7f")
    to_loopback6 = ipv6 + nft.network_header(24, 16, 0) + nft.compare(0, _LOOPBACK6.packed)
    not_lo = nft.meta(nft.IIFNAME, 0) + nft.compare(0, nft.ifname("lo"), nft.NEQ)
    to_this_host = nft.fib_daddr_type(0) + nft.compare(0, nft.ADDRTYPE_LOCAL.to_bytes(4, sys.byteorder))
    in_cluster, returned = nft.meta(nft.IIFNAME, 0) + nft.lookup("cluster", 0), nft.verdict(nft.RETURN)
    accept, drop, masquerade = nft.verdict(nft.ACCEPT), nft.verdict(nft.DROP), nft.masquerade()
    to_ports = to_this_host + nft.verdict(nft.JUMP, "ports")
    rows: list[tuple[str, bytes]] = [
        ("raw", from_us + to_loopback + drop),
        # a neighbour must not reach what is published on 127.0.0.1: the kernel's own check comes after this hook
        ("prerouting", to_loopback + not_lo + nft.verdict(nft.RETURN)),
        ("prerouting", to_ports),
        # the kernel drops what comes back to ::1 from outside: the forwarder listens there
        ("output", to_loopback6 + nft.verdict(nft.RETURN)),
        ("output", to_ports),
        *(("ports", row) for row in (balance.rules(ipv4, ipv6) if balanced else ())),
        *(("ports", row) for row in _port_rules(ipv4, ipv6)),
        ("postrouting", from_loopback + to_us + masquerade),
        # Hairpin: the answer has to come back through this host. With br_netfilter a frame that stays on its bridge
        # is here without an input device; a connection between two networks has one, and keeps its source.
        ("postrouting", pair + nft.lookup("same", 0) + translated + masquerade),
        ("postrouting", from_us + translated + to_us + nft.verdict(nft.RETURN)),
        (
            "postrouting",
            ipv4 + nft.network_header(12, 4, 0) + nft.lookup("local4", 0) + to_us + translated + masquerade,
        ),
        (
            "postrouting",
            ipv6 + nft.network_header(8, 16, 0) + nft.lookup("local6", 0) + to_us + translated + masquerade,
        ),
        ("postrouting", ipv4 + in_cluster + nft.network_header(16, 4, 0) + nft.lookup("cluster4", 0) + returned),
        ("postrouting", ipv6 + in_cluster + nft.network_header(24, 16, 0) + nft.lookup("cluster6", 0) + returned),
        ("postrouting", ipv4 + nft.network_header(12, 4, 0) + nft.lookup("masquerade4", 0) + not_to_us + masquerade),
        ("postrouting", ipv6 + nft.network_header(8, 16, 0) + nft.lookup("masquerade6", 0) + not_to_us + masquerade),
        # what was published must not leave by another way while its bridge is gone
        ("forward", ipv4 + nft.network_header(16, 4, 0) + nft.lookup("local4", 0) + not_to_us + translated + drop),
        ("forward", ipv6 + nft.network_header(24, 16, 0) + nft.lookup("local6", 0) + not_to_us + translated + drop),
        ("forward", not_from_us + not_to_us + accept),
        ("forward", pair + nft.lookup("icc", 0) + accept),
        ("forward", known + accept),
        ("forward", nft.meta(nft.IIFNAME, 0) + nft.lookup("internal", 0) + drop),
        ("forward", nft.meta(nft.OIFNAME, 0) + nft.lookup("internal", 0) + drop),
        ("forward", to_us + translated + accept),
        *(("forward", to_us + row + accept) for row in _routed(ipv4, ipv6, not_from_us)),
        ("forward", to_us + drop),  # other networks of ours, and the world to ports that are not published
    ]
    return [nft.rule(table, chain, expressions) for chain, expressions in rows]


def _routed(ipv4: bytes, ipv6: bytes, not_from_us: bytes) -> list[bytes]:
    """What may be sent straight to a container: open ports and pings where it is routed, from outside everything
    where it is unprotected."""
    protocol = nft.meta(nft.L4PROTO, 0)
    to4, to6 = ipv4 + nft.network_header(16, 4, 0), ipv6 + nft.network_header(24, 16, 0)
    return [
        ipv4 + protocol + nft.network_header(16, 4, 1) + nft.transport_header(2, 2, 2) + nft.lookup("open4", 0),
        ipv6 + protocol + nft.network_header(24, 16, 1) + nft.transport_header(2, 2, 5) + nft.lookup("open6", 0),
        ipv4 + protocol + nft.compare(0, bytes((socket.IPPROTO_ICMP,))) + to4 + nft.lookup("routed4", 0),
        ipv6 + protocol + nft.compare(0, bytes((socket.IPPROTO_ICMPV6,))) + to6 + nft.lookup("routed6", 0),
        not_from_us + to4 + nft.lookup("unprotected4", 0),
        not_from_us + to6 + nft.lookup("unprotected6", 0),
    ]


def _port_rules(ipv4: bytes, ipv6: bytes) -> list[bytes]:
    """A port published on one address comes before the same port published on all."""
    protocol = nft.meta(nft.L4PROTO, 0)
    four, six = nft.dnat(nft.NFPROTO_IPV4, 0, 1), nft.dnat(nft.NFPROTO_IPV6, 0, 4)
    return [
        ipv4
        + protocol
        + nft.network_header(16, 4, 1)
        + nft.transport_header(2, 2, 2)
        + nft.lookup("ports4", 0, into=0)
        + four,
        ipv4 + protocol + nft.transport_header(2, 2, 1) + nft.lookup("ports4_any", 0, into=0) + four,
        ipv6
        + protocol
        + nft.network_header(24, 16, 1)
        + nft.transport_header(2, 2, 5)
        + nft.lookup("ports6", 0, into=0)
        + six,
        ipv6 + protocol + nft.transport_header(2, 2, 1) + nft.lookup("ports6_any", 0, into=0) + six,
    ]


def _family(family: int) -> bytes:
    return nft.meta(nft.NFPROTO, 0) + nft.compare(0, bytes((family,)))


def _bridge_elements(bridges: Sequence[Bridge]) -> dict[str, list[Element]]:
    def names(chosen: Iterable[Bridge]) -> list[Element]:
        return [Element(nft.ifname(b.name)) for b in chosen]

    def pairs(chosen: Iterable[Bridge]) -> list[Element]:
        return [Element(nft.ifname(b.name) * 2) for b in chosen]

    every = [s for b in bridges for s in b.subnets]
    hidden = [s for b in bridges if b.masquerade and not b.internal for s in b.subnets if s not in b.routed]
    routed = [s for b in bridges for s in b.routed]
    bare = [s for b in bridges for s in b.unprotected]
    cluster = [s for b in bridges for s in b.cluster]
    families = {"local": every, "masquerade": hidden, "routed": routed, "unprotected": bare, "cluster": cluster}
    return {
        "bridges": names(bridges),
        "internal": names(b for b in bridges if b.internal),
        "same": pairs(bridges),
        "icc": pairs(b for b in bridges if b.icc),
        "cluster": names(b for b in bridges if b.cluster),
        **{
            f"{name}{version}": [e for s in subnets if s.version == version for e in _interval(s)]
            for name, subnets in families.items()
            for version in (4, 6)
        },
    }


def _interval(subnet: IPNetwork) -> list[Element]:
    beyond = int(subnet.broadcast_address) + 1
    size = subnet.max_prefixlen // 8
    start = Element(subnet.network_address.packed)
    if beyond >> (8 * size):  # it reaches the end of the address space: the interval stays open
        return [start]
    return [start, Element(beyond.to_bytes(size, "big"), end=True)]


def port_elements(published: Iterable[Published]) -> dict[str, list[Element]]:
    """Elements by the name of their map."""
    found: dict[str, list[Element]] = {}
    for one in (one for one in published if one.translated):
        protocol = bytes((PROTOCOLS[one.protocol],))
        data = nft.value(one.address.packed, nft.port(one.port))
        version = one.address.version
        if not one.host_port:
            element = Element(nft.value(protocol, one.address.packed, nft.port(one.port)))
            found.setdefault(f"open{version}", []).append(element)
        elif one.host_ip.is_unspecified:
            element = Element(nft.value(protocol, nft.port(one.host_port)), data)
            found.setdefault(f"ports{version}_any", []).append(element)
        else:
            element = Element(nft.value(protocol, one.host_ip.packed, nft.port(one.host_port)), data)
            found.setdefault(f"ports{version}", []).append(element)
    return found


def _exists(device: str) -> bool:
    try:
        socket.if_nametoindex(device)
    except OSError:
        return False
    return True


class Firewall:
    """The table in the kernel. Methods are synchronous: 0.2 ms for ports, some ms for a whole replacement."""

    def __init__(self, name: str) -> None:
        """`name` is the table's, private to this daemon."""
        self.table = Table(nft.NFPROTO_INET, name)
        self.bridges: dict[str, Bridge] = {}
        self.published: set[Published] = set()
        self.balanced: dict[Place, Targets] = {}
        self.pins: dict[str, Pin] = {}  # by device
        self._guests = Table(nft.NFPROTO_NETDEV, name)
        self._flags = nft.NFT_TABLE_F_OWNER | nft.NFT_TABLE_F_PERSIST
        self._transactions = nft.Transactions()
        self.watch = Socket(NETLINK_NETFILTER)

    def close(self) -> None:
        """The table stays."""
        self._transactions.close()
        self.watch.close()

    def observe(self) -> None:
        """From now on `watch` becomes readable when a table changes."""
        self.watch.join(nft.NFNLGRP_NFTABLES)

    def present(self) -> bool:
        return self.table in self._transactions.tables()

    @property
    def owned(self) -> bool:
        """The kernel keeps others from changing the table."""
        return bool(self._flags)

    def claim(self) -> None:
        """Make the table ours, empty when it was not there. Conflict when another daemon holds it."""
        try:
            self._transactions.commit([nft.new_table(self.table, self._flags)])
        except OSError as error:
            if error.errno == errno.EPERM:
                raise Conflict(
                    f"nftables table {self.table.name} belongs to another process: "
                    "is a daemon with the same bridge running?"
                ) from error
            if not self._flags or not nft.unsupported(error):
                raise
            self._flags = 0
            self.claim()

    def replace(self) -> None:
        """Put the desired state in place of whatever the table holds, in one step."""
        self.claim()
        whole = ruleset(self.table, self._flags, self.bridges.values(), self.published, self.balanced)
        self._transactions.commit([nft.delete_table(self.table), *whole])
        self._replace_pins()

    def _replace_pins(self) -> None:
        """Of devices that are gone there is nothing to pin; one may go between this look and the kernel's."""
        before = [nft.delete_table(self._guests)] if self._guests in self._transactions.tables() else []
        for tries in range(_TRIES, 0, -1):
            here = [pin for pin in self.pins.values() if _exists(pin.device)]
            requests = [nft.new_table(self._guests, self._flags)] if here else []
            try:
                self._transactions.commit([*before, *requests, *(r for pin in here for r in pinned(self._guests, pin))])
                return
            except FileNotFoundError:
                if tries == 1:
                    raise

    def pin(self, pin: Pin) -> None:
        """From now on nothing else passes. Unsupported where the kernel has no such chains."""
        self.unpin(pin.device)
        table = nft.new_table(self._guests, self._flags)
        try:
            self._transactions.commit([table, *pinned(self._guests, pin)])
        except OSError as error:
            if nft.unsupported(error):
                raise Unsupported(
                    "this kernel cannot keep a guest to its own addresses: nftables has no family netdev "
                    "(CONFIG_NF_TABLES_NETDEV, CONFIG_NETFILTER_INGRESS)"
                ) from error
            raise
        self.pins[pin.device] = pin

    def expect_pin(self, pin: Pin) -> None:
        """The kernel has it already, or gets it at the next `replace`."""
        self.pins[pin.device] = pin

    def unpin(self, device: str) -> None:
        """Idempotent. To be called when the device is gone. A kernel before 6.16 has removed the chain itself."""
        if self.pins.pop(device, None) is None:
            return
        gone = nft.delete_chain(self._guests, device) if self.pins else [nft.delete_table(self._guests)]
        with suppress(FileNotFoundError):
            self._transactions.commit(gone)

    def add_bridge(self, bridge: Bridge) -> None:
        """A network's part of the table alone, in place of the whole: with hundreds of networks that takes 30 ms."""
        if self.bridges.get(bridge.name) not in (None, bridge):
            self.bridges[bridge.name] = bridge
            self.replace()
            return
        self.bridges[bridge.name] = bridge
        self._change_bridge(nft.add_elements, bridge)

    def drop_bridge(self, name: str) -> None:
        """The opposite; idempotent."""
        bridge = self.bridges.pop(name, None)
        if bridge is not None:
            self._change_bridge(nft.delete_elements, bridge)

    def _change_bridge(self, verb: Verb, bridge: Bridge) -> None:
        requests: list[Request] = []
        for name, elements in _bridge_elements([bridge]).items():
            if elements:
                requests += verb(self.table, name, elements)
        try:
            self._transactions.commit(requests)
        except FileNotFoundError:  # the table was flushed meanwhile
            self.replace()

    def remove(self) -> None:
        """Take the table away."""
        self.claim()
        self._transactions.commit([nft.delete_table(self.table)])
        self.pins = {}
        self._replace_pins()

    def publish(self, ports: Sequence[Published]) -> None:
        """Add ports; all of them or none."""
        if not ports:
            return
        self._change(nft.add_elements, ports)
        self.published.update(ports)

    def expect(self, ports: Sequence[Published]) -> None:
        """The kernel has these already (an earlier daemon put them there), or gets them at the next `replace`."""
        self.published.update(ports)

    def unpublish(self, ports: Sequence[Published]) -> None:
        """Idempotent. A table that was flushed meanwhile is restored, without these ports."""
        gone = [port for port in ports if port in self.published]
        if not gone:
            return
        self.published.difference_update(gone)
        try:
            self._change(nft.delete_elements, gone)
        except FileNotFoundError:
            self.replace()

    def balance(self, changes: Mapping[Place, Targets], now: bool = True) -> None:
        """What these ports lead to from now on; a place without targets stays, and refuses. Connections that there are
        go on. Without `now` it comes with the next `replace`."""
        before = {place: self.balanced[place] for place in changes if place in self.balanced}
        first = not self.balanced
        self.balanced.update(changes)
        if now:
            self._rebalance(before, {place: self.balanced[place] for place in changes}, first)

    def unbalance(self, places: Iterable[Place]) -> None:
        """Idempotent."""
        gone = {place: self.balanced.pop(place) for place in list(places) if place in self.balanced}
        if gone:
            self._rebalance(gone, {}, not self.balanced)

    def _rebalance(self, before: Mapping[Place, Targets], after: Mapping[Place, Targets], whole: bool) -> None:
        """In one step. `whole`: the sets and rules come or go as well."""
        requests: list[Request] = []
        for verb, balanced in ((nft.delete_elements, before), (nft.add_elements, after)):
            for name, elements in balance.elements(balanced).items():
                requests += verb(self.table, name, elements)
        try:
            if not whole:
                self._transactions.commit(requests)
        except FileNotFoundError:  # the table was flushed meanwhile
            whole = True
        if whole:
            self.replace()

    def _change(self, verb: Verb, ports: Sequence[Published]) -> None:
        requests: list[Request] = []
        for name, elements in port_elements(ports).items():
            requests += verb(self.table, name, elements)
        self._transactions.commit(requests)

    def disturbed(self) -> bool:
        """Another program changed the table since the last call (call it when `watch` is readable)."""
        ours = self._transactions.socket.port
        try:
            heard = self.watch.notifications()
        except OSError as error:
            if error.errno != errno.ENOBUFS:
                raise
            return True  # notifications were lost: better to look
        return any(m.port != ours and nft.changed_table(m) == self.table.name for m in heard)

    def foreign_drops(self) -> list[str]:
        """Other tables' chains that drop or refuse what they do not allow to be forwarded: "family table chain"."""
        families = {nft.NFPROTO_IPV4: "ip", nft.NFPROTO_IPV6: "ip6", nft.NFPROTO_INET: "inet"}
        return [
            f"{families[c.family]} {c.table} {c.name}"
            for c in self._transactions.chains()
            if c.hook == nft.FORWARD and c.family in families and c.table != self.table.name
            if self._transactions.closed(c)
        ]
