"""Which subnets a new network gets: those that its maker gave, or free ones of the pools."""

from __future__ import annotations

import fcntl
import hashlib
import ipaddress
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from corten.errors import Forbidden, Invalid
from corten.kernel import rtnetlink
from corten.kernel.netlink import Socket
from corten.network import definition as define
from corten.network import options
from corten.network.config import NetworkConfig
from corten.network.definition import Definition, Range
from corten.network.driver import ActiveNetwork
from corten.network.ipam import NEXT_HOP, IPNetwork, Pool, choose, overlapping, ula_pool
from corten.network.links import alias_of

_PATIENCE = 2.0  # seconds; the others need milliseconds


@contextmanager
def lock() -> Iterator[None]:
    """No other daemon of this network namespace chooses a subnet meanwhile: two that start at the same time would
    otherwise both find the same one free, and neither's containers could be reached.

    The lock is on the namespace itself, so it needs no file and ends with its holder. A daemon that does not get it in
    time continues without.
    """
    fd = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        deadline = time.monotonic() + _PATIENCE
        while not _locked(fd) and time.monotonic() < deadline:
            time.sleep(0.005)
        yield
    finally:
        os.close(fd)


def _locked(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def chosen(
    made: Definition, own_device: str, others: Iterable[ActiveNetwork], config: NetworkConfig, route: Socket
) -> tuple[Range, ...]:
    """The ranges of a network with subnet and gateway filled in; those of a family that is not enabled stand behind
    them as they are. What `own_device` has is not in its way.

    A given subnet must not overlap another network's (Forbidden); a host route in its way is the giver's decision.
    A chosen one avoids both (Exhausted, naming what is in the way).
    """
    ours = {
        subnet.network: f"network {network.definition.name} ({subnet.network})"
        for network in others
        for subnet in network.addresses.subnets
    }
    found = []
    for version in (4, 6):
        if not made.has(version):
            continue
        given = next((r for r in made.ranges if r.version == version and r.subnet), None)
        if given is None:
            pools = config.pools if version == 4 else _ula(config)
            given = Range(str(choose(pools, {**_host(route, own_device), **ours}, version)))
        elif (holder := overlapping(define.parse_subnet(given.subnet), ours)) is not None:
            raise Forbidden(
                f"invalid pool request: Pool overlaps with other one on this address space: {given.subnet} and {holder}"
            )
        found.append(given.with_gateway(made.user_ranges and given in made.ranges))
    return (*found, *(r for r in made.ranges if r.subnet and not made.has(r.version)))


def _ula(config: NetworkConfig) -> list[Pool]:
    """The daemon's own IPv6 pool: from the machine's id and the daemon's label, so that it stays the same."""
    given = [pool for pool in config.pools if pool.base.version == 6]
    try:
        machine = Path("/etc/machine-id").read_bytes()
    except OSError:
        machine = b""
    return given or [ula_pool(hashlib.sha256(machine + config.label.encode()).digest())]


def _host(route: Socket, but: str) -> dict[IPNetwork, str]:
    """This host's addresses and routes, but the default route and those of the bridge `but`, with their holders."""
    names = {link.ifindex: link.name for link in rtnetlink.links(route)}
    found: dict[IPNetwork, str] = {}
    for one in rtnetlink.routes(route):
        if one.destination.prefixlen and names.get(one.ifindex) != but:
            found[one.destination] = f"route {one.destination} by {names.get(one.ifindex, '?')}"
    for address in rtnetlink.addresses(route):
        if names.get(address.ifindex) != but:
            found[address.interface.network] = f"{names.get(address.ifindex, '?')} ({address.interface})"
    return found


def default_ranges(old: Definition | None, config: NetworkConfig, route: Socket) -> tuple[Range, ...]:
    """For the default bridge: --bip, or the addresses of a bridge that is there already, or what was chosen before,
    unless another program has that now."""
    own = [config.bip] if config.bip else _present(config.bridge, route)
    found = old.ranges if old is not None else ()
    if old is not None and not own and not _still_there(old, config, route):
        found = _still_free(found, _host(route, config.bridge))
    for text in own:
        try:
            address = ipaddress.ip_interface(text)
        except ValueError as error:
            raise Invalid(f"invalid address of the default bridge: {text!r}") from error
        given = Range(str(address.network), config.fixed_cidr, str(address.ip))
        found = (given, *(r for r in found if r.version != address.version))
    if config.fixed_cidr6:
        found = (*(r for r in found if r.version == 4), Range(config.fixed_cidr6))
    next_hops = {4: config.default_gateway, 6: config.default_gateway6}
    found = tuple(_with_next_hop(r, next_hops[r.version]) for r in found)
    return tuple(r for r in found if r.version == 4 or config.ipv6)


def _still_there(old: Definition, config: NetworkConfig, route: Socket) -> bool:
    """The bridge that the daemon had before, by another name than now: containers may run in it."""
    name = old.options.get(options.BRIDGE_NAME, "")
    link = rtnetlink.link_named(route, name) if name else None
    return link is not None and link.alias in (alias_of(name, config.owner), alias_of(name, ""))


def _still_free(ranges: Iterable[Range], taken: Mapping[IPNetwork, str]) -> tuple[Range, ...]:
    return tuple(r for r in ranges if overlapping(define.parse_subnet(r.subnet), taken) is None)


def _with_next_hop(given: Range, address: str) -> Range:
    """Where its containers' default route leads when that is not the bridge."""
    name = NEXT_HOP[given.version]
    others = {key: value for key, value in given.auxiliary.items() if key != name}
    return replace(given, auxiliary=others | ({name: address} if address else {}))


def _present(bridge: str, route: Socket) -> list[str]:
    index = next((link.ifindex for link in rtnetlink.links(route) if link.name == bridge), None)
    present = [a.interface for a in rtnetlink.addresses(route) if a.ifindex == index]
    return [str(i) for i in present if i.version == 4][:1]
