"""The addresses of one network, both families, and what an endpoint may ask for."""

from __future__ import annotations

from typing import NamedTuple

from corten.errors import Invalid
from corten.network.bridge import Interface, interface
from corten.network.definition import Definition, parse_address
from corten.network.endpoint import Endpoint
from corten.network.ipam import IPAddress, Subnet
from corten.spec.docker.networking import EndpointIPAMConfig, EndpointSettings


class Lease(NamedTuple):
    v4: IPAddress | None
    v6: IPAddress | None


class Wanted(NamedTuple):
    """What a client asked of its endpoint; None leaves the choice to us."""

    v4: IPAddress | None = None
    v6: IPAddress | None = None
    link_local: tuple[IPAddress, ...] = ()
    mac: str = ""


def wanted(definition: Definition, settings: EndpointSettings) -> Wanted:
    """Read and check EndpointSettings, as far as that goes without knowing what is in use. Invalid."""
    ipam = settings.ipam_config or EndpointIPAMConfig()
    v4 = parse_address(ipam.ipv4_address, "IPv4 address") if ipam.ipv4_address else None
    v6 = parse_address(ipam.ipv6_address, "IPv6 address") if ipam.ipv6_address else None
    if (v4 is not None and v4.version != 4) or (v6 is not None and v6.version != 6):
        raise Invalid(f"invalid address of network {definition.name}: {v4 if v4 and v4.version != 4 else v6}")
    if (v4 or v6) and (definition.driver in ("host", "null") or definition.default_bridge):
        raise Invalid("user specified IP address is supported on user defined networks only")
    if (v4 or v6) and not definition.user_ranges:
        raise Invalid(
            "user specified IP address is supported only when connecting to networks with user configured subnets"
        )
    local = tuple(parse_address(text, "link-local address") for text in ipam.link_local_ips or ())
    if not all(address.is_link_local for address in local):
        raise Invalid(f"invalid link-local address: {next(a for a in local if not a.is_link_local)}")
    return Wanted(v4, v6, local, _mac(settings.mac_address))


def _mac(text: str) -> str:
    if not text:
        return ""
    raw = text.replace("-", ":").lower().split(":")
    try:
        numbers = [int(part, 16) for part in raw]
    except ValueError as error:
        raise Invalid(f"invalid MAC address: {text!r}") from error
    if len(raw) != 6 or not all(len(part) == 2 for part in raw) or numbers[0] & 1 or not any(numbers):
        raise Invalid(f"invalid MAC address: {text!r}")
    return ":".join(raw)


class Addresses:
    """Allocators of a network whose ranges were chosen."""

    def __init__(self, definition: Definition) -> None:
        pools = {r.version: r.pool() for r in definition.ranges}
        self.v4: Subnet | None = pools.get(4)
        self.v6: Subnet | None = pools.get(6)

    @property
    def subnets(self) -> tuple[Subnet, ...]:
        return tuple(s for s in (self.v4, self.v6) if s is not None)

    @property
    def gateways(self) -> list[Interface]:
        return [interface(s.gateway, s.prefix) for s in self.subnets]

    def lease(self, wish: Wanted) -> Lease:
        """Addresses for one endpoint. Exhausted, Forbidden when taken, Invalid when not of this network."""
        if (wish.v4 and self.v4 is None) or (wish.v6 and self.v6 is None):
            raise Invalid(f"address {wish.v4 if self.v4 is None else wish.v6}: the network has no such family enabled")
        v4 = self.v4.allocate(wish.v4) if self.v4 is not None else None
        try:
            v6 = self.v6.allocate(wish.v6) if self.v6 is not None else None
        except BaseException:
            self.release(Lease(v4, None))
            raise
        return Lease(v4, v6)

    def release(self, lease: Lease) -> None:
        if lease.v4 is not None and self.v4 is not None:
            self.v4.release(lease.v4)
        if lease.v6 is not None and self.v6 is not None:
            self.v6.release(lease.v6)

    def adopt(self, endpoint: Endpoint) -> Lease:
        """Take the addresses of an earlier daemon's endpoint again. Forbidden when they are in use."""
        v4 = parse_address(endpoint.address) if endpoint.address else None
        v6 = parse_address(endpoint.address6) if endpoint.address6 else None
        if v4 is not None and self.v4 is not None:
            self.v4.allocate(v4)
        if v6 is not None and self.v6 is not None:
            self.v6.allocate(v6)
        return Lease(v4, v6)
