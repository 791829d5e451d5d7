"""Addresses: which subnet a network gets, and which address an endpoint. Pure: no kernel, no disk.

A subnet hands out its lowest free address, so that numbers stay small and the same container tends to get the same
address again. Both kinds of request cost O(log n), also with 65,000 addresses in use.
"""

from __future__ import annotations

import heapq
import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from corten.errors import Exhausted, Forbidden, Invalid

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class Pool:
    """Addresses from which networks get subnets of `size` bits of prefix. Docker: default-address-pools."""

    base: IPNetwork
    size: int


def parse_pool(base: str, size: int) -> Pool:
    """A pool from the configuration's words. Invalid."""
    try:
        network = ipaddress.ip_network(base)
    except ValueError as error:
        raise Invalid(f"invalid address pool {base!r}: {error}") from error
    if not network.prefixlen <= size <= network.max_prefixlen:
        raise Invalid(f"invalid address pool {base!r}: size {size} is not from {network.prefixlen} on")
    return Pool(network, size)


def _pools(*rows: tuple[str, int]) -> tuple[Pool, ...]:
    return tuple(Pool(ipaddress.ip_network(base), size) for base, size in rows)


# Docker's own defaults, in its order.
DEFAULT_POOLS = _pools(
    ("172.17.0.0/16", 16),
    ("172.18.0.0/16", 16),
    ("172.19.0.0/16", 16),
    ("172.20.0.0/14", 16),
    ("172.24.0.0/14", 16),
    ("172.28.0.0/14", 16),
    ("192.168.0.0/16", 20),
)


def ula_pool(seed: bytes) -> Pool:
    """The /48 of unique local addresses (RFC 4193) that belongs to a daemon: 40 bits from `seed`."""
    prefix = b"\xfd" + seed[:5].ljust(5, b"\0") + bytes(10)
    return Pool(ipaddress.IPv6Network((prefix, 48)), 64)


def choose(pools: Iterable[Pool], taken: Mapping[IPNetwork, str], version: int = 4) -> IPNetwork:
    """The first subnet of the pools that overlaps nothing in `taken` (subnet -> what holds it, for the error).

    Exhausted when there is none; the message names what is in the way. A hit skips all of what it overlaps, so
    a route to 10.0.0.0/8 costs one step.
    """
    others = sorted((n for n in taken if n.version == version), key=lambda n: int(n.network_address))
    blocking: list[str] = []
    for pool in pools:
        if pool.base.version != version:
            continue
        step = 1 << (pool.base.max_prefixlen - pool.size)
        start, stop = int(pool.base.network_address), int(pool.base.broadcast_address) + 1
        while start + step <= stop:
            hit = next((n for n in others if int(n.network_address) < start + step and _end(n) > start), None)
            if hit is None:
                return ipaddress.ip_network((start, pool.size)) if version == 4 else _network6(start, pool.size)
            if len(blocking) < 4 and taken[hit] not in blocking:
                blocking.append(taken[hit])
            start = max(start + step, -(-_end(hit) // step) * step)
    raise Exhausted(
        f"could not find an available, non-overlapping IPv{version} address pool among the defaults to assign to the "
        f"network: {', '.join(blocking) or 'no pools are configured'} in the way; give a subnet, or more pools"
    )


def _end(network: IPNetwork) -> int:
    return int(network.broadcast_address) + 1


def _network6(start: int, size: int) -> ipaddress.IPv6Network:
    return ipaddress.IPv6Network((start, size))


def overlapping(subnet: IPNetwork, taken: Mapping[IPNetwork, str]) -> str | None:
    """What holds the first subnet of `taken` that overlaps."""
    return next((holder for other, holder in taken.items() if _overlap(subnet, other)), None)


def _overlap(one: IPNetwork, other: IPNetwork) -> bool:
    if isinstance(one, ipaddress.IPv4Network) and isinstance(other, ipaddress.IPv4Network):
        return one.overlaps(other)
    if isinstance(one, ipaddress.IPv6Network) and isinstance(other, ipaddress.IPv6Network):
        return one.overlaps(other)
    return False


#: The auxiliary addresses that stand for the gateway of containers, where that is not this host.
NEXT_HOP = {4: "DefaultGatewayIPv4", 6: "DefaultGatewayIPv6"}


class Subnet:
    """The addresses of one subnet. `range` limits what is chosen freely; what is asked for may lie outside of it."""

    def __init__(
        self,
        network: IPNetwork,
        gateway: IPAddress | None = None,
        range: IPNetwork | None = None,
        auxiliary: Mapping[str, IPAddress] | None = None,
    ) -> None:
        self.network = network
        self.range = range if range is not None else network
        if not _overlap(self.range, network) or self.range.prefixlen < network.prefixlen:
            raise Invalid(f"invalid pool request: range {self.range} is not within subnet {network}")
        self.auxiliary = dict(auxiliary or {})
        self._used: set[int] = set()
        self._freed: list[int] = []
        self._next = int(self.range.network_address)
        for name, address in self.auxiliary.items():
            self._check(address, f"auxiliary address {name}")
            self._used.add(int(address))
        if gateway is not None:
            self._check(gateway, "gateway")
            self._used.add(int(gateway))
            self.gateway = gateway
        else:
            self.gateway = self.allocate()

    @property
    def prefix(self) -> int:
        return self.network.prefixlen

    @property
    def next_hop(self) -> IPAddress:
        """Where containers' default route leads: the gateway, or the auxiliary address that libnetwork has for it."""
        return self.auxiliary.get(NEXT_HOP[self.network.version], self.gateway)

    def allocate(self, wanted: IPAddress | None = None) -> IPAddress:
        """The lowest free address, or `wanted`. Invalid outside of the subnet, Forbidden when taken, Exhausted."""
        if wanted is not None:
            self._check(wanted, "address")
            if int(wanted) in self._used:
                raise Forbidden(f"address {wanted} is already in use")
            self._used.add(int(wanted))
            return wanted
        number = self._lowest()
        self._used.add(number)
        return self._address(number)

    def release(self, address: IPAddress) -> None:
        """Idempotent."""
        number = int(address)
        if number in self._used and address in self.network:
            self._used.discard(number)
            if address in self.range and number < self._next:
                heapq.heappush(self._freed, number)

    def in_use(self, address: IPAddress) -> bool:
        return int(address) in self._used

    def _lowest(self) -> int:
        while self._freed:
            number = heapq.heappop(self._freed)
            if number not in self._used:
                return number
        last = int(self.range.broadcast_address)
        while self._next <= last:
            number = self._next
            self._next += 1
            if number not in self._used and self._usable(number):
                return number
        raise Exhausted(f"no available IPv{self.network.version} addresses on this network's address pool {self.range}")

    def _usable(self, number: int) -> bool:
        """Not the network's own number, nor its broadcast address (a /31, /32, /127 and /128 have neither)."""
        if self.network.max_prefixlen - self.network.prefixlen < 2:
            return True
        if number == int(self.network.network_address):
            return False
        return self.network.version == 6 or number != int(self.network.broadcast_address)

    def _check(self, address: IPAddress, what: str) -> None:
        if address.version != self.network.version or address not in self.network:
            raise Invalid(f"{what} {address} is not in subnet {self.network}")
        if not self._usable(int(address)):
            raise Invalid(f"{what} {address} is the network or broadcast address of {self.network}")

    def _address(self, number: int) -> IPAddress:
        if self.network.version == 4:
            return ipaddress.IPv4Address(number)
        return ipaddress.IPv6Address(number)
