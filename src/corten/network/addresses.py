"""The addresses of one network, of both families."""

from __future__ import annotations

from typing import NamedTuple

from corten.errors import Invalid
from corten.network.definition import Definition, parse_address
from corten.network.endpoint import Endpoint
from corten.network.interface import Interface, interface
from corten.network.ipam import IPAddress, Subnet


class Lease(NamedTuple):
    v4: IPAddress | None
    v6: IPAddress | None


class AddressRequest(NamedTuple):
    """What a client asked of its endpoint; None leaves the choice to us."""

    v4: IPAddress | None = None
    v6: IPAddress | None = None
    link_local: tuple[IPAddress, ...] = ()
    mac: str = ""


class Addresses:
    """Allocators of a network whose ranges were chosen."""

    def __init__(self, definition: Definition) -> None:
        pools = {r.version: r.pool() for r in definition.ranges if definition.has(r.version)}
        self.v4: Subnet | None = pools.get(4)
        self.v6: Subnet | None = pools.get(6)

    @property
    def subnets(self) -> tuple[Subnet, ...]:
        return tuple(s for s in (self.v4, self.v6) if s is not None)

    @property
    def gateways(self) -> list[Interface]:
        return [interface(s.gateway, s.prefix) for s in self.subnets]

    def lease(self, request: AddressRequest) -> Lease:
        """Addresses for one endpoint. Exhausted, Forbidden when taken, Invalid when not of this network."""
        if (request.v4 and self.v4 is None) or (request.v6 and self.v6 is None):
            raise Invalid(
                f"address {request.v4 if self.v4 is None else request.v6}: the network has no such family enabled"
            )
        v4 = self.v4.allocate(request.v4) if self.v4 is not None else None
        try:
            v6 = self.v6.allocate(request.v6) if self.v6 is not None else None
        except BaseException:
            self.release(Lease(v4, None))
            raise
        return Lease(v4, v6)

    def occupied(self, request: AddressRequest) -> bool:
        """An address that is asked for is in use."""
        pools = ((self.v4, request.v4), (self.v6, request.v6))
        return any(pool is not None and ip is not None and pool.in_use(ip) for pool, ip in pools)

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
