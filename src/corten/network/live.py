"""A network in use, and how an endpoint of it comes about. Pure."""

from __future__ import annotations

import ipaddress
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field

from corten.errors import Failed, Invalid
from corten.network import definition as define
from corten.network.addresses import Addresses, Lease, Wanted
from corten.network.bridge import Interface, Plug, Port, interface, mac_of
from corten.network.definition import Definition
from corten.network.endpoint import Endpoint
from corten.network.firewall import Bridge, Published
from corten.network.ports import Target, published_again
from corten.spec.docker.networking import EndpointSettings

_IFNAME = "com.docker.network.endpoint.ifname"


@dataclass(slots=True)
class Live:
    """A network with what is in use of it."""

    definition: Definition
    addresses: Addresses
    endpoints: dict[str, Endpoint] = field(default_factory=dict)  # by endpoint id; changed by `add` and `drop`
    of: dict[str, Endpoint] = field(default_factory=dict)  # the same by container id: each is in a network once
    plugged: dict[int, Endpoint] = field(default_factory=dict)  # the same by number of the device, where there is one

    def add(self, endpoint: Endpoint) -> None:
        """A new endpoint, or another state of a known one."""
        if (before := self.endpoints.get(endpoint.endpoint_id)) is not None:
            self.plugged.pop(before.ifindex, None)
        self.endpoints[endpoint.endpoint_id] = endpoint
        self.of[endpoint.container_id] = endpoint
        if endpoint.ifindex:
            self.plugged[endpoint.ifindex] = endpoint

    def drop(self, endpoint_id: str) -> bool:
        """False when it is not there."""
        gone = self.endpoints.pop(endpoint_id, None)
        if gone is None:
            return False
        del self.of[gone.container_id]
        self.plugged.pop(gone.ifindex, None)
        return True

    @property
    def wall(self) -> Bridge:
        """What the firewall has to know."""
        made = self.definition
        subnets = tuple(s.network for s in self.addresses.subnets)
        routed, unprotected = (
            tuple(s for s in subnets if made.gateway_mode(s.version) == mode) for mode in ("routed", "nat-unprotected")
        )
        return Bridge(made.bridge, subnets, made.internal, made.icc, made.masquerade, routed, unprotected)

    @property
    def gateways(self) -> list[Interface]:
        """The addresses that its bridge has on this host."""
        return [g for g in self.addresses.gateways if self.definition.on_bridge(g.version)]

    def target(self, endpoint: Endpoint) -> Target:
        """Where ports of one of its endpoints lead."""
        lease = lease_of(endpoint)
        routed = frozenset(v for v in (4, 6) if self.definition.gateway_mode(v) == "routed")
        return Target(endpoint.container_name, endpoint.endpoint_id, lease.v4, lease.v6, routed)

    @property
    def ports(self) -> list[Port]:
        """What stands in its bridge."""
        isolated = not self.definition.icc
        return [Port(e.ifindex, isolated, any(e.ports.values())) for e in self.endpoints.values() if e.host_interface]

    @property
    def host_binding(self) -> str:
        """What an empty HostIp means on this network; empty for every address."""
        text = self.definition.options.get(define.HOST_BINDING, "")
        return "" if text == "0.0.0.0" else text

    def occupied(self, wish: Wanted) -> bool:
        """An address that is asked for is in use."""
        pools = ((self.addresses.v4, wish.v4), (self.addresses.v6, wish.v6))
        return any(pool is not None and ip is not None and pool.in_use(ip) for pool, ip in pools)

    def bare(self, container_id: str, name: str, settings: EndpointSettings) -> Endpoint:
        """An endpoint of host or none: nothing in it but that it is there."""
        made = self.definition
        return Endpoint(made.id, made.name, secrets.token_hex(32), container_id, name, settings_in=settings)

    def endpoint(
        self,
        lease: Lease,
        wish: Wanted,
        container_id: str,
        names: Sequence[str],
        settings: EndpointSettings,
        index: int,
        host_prefix: str,
    ) -> Endpoint:
        """An endpoint that is not plugged in yet and publishes nothing. Invalid for the name of its interface."""
        made, pools = self.definition, self.addresses
        first = lease.v4 or lease.v6
        if first is None:
            raise Failed(f"network {made.name} has no addresses")
        id = secrets.token_hex(32)
        aliases = [str(alias) for alias in settings.aliases or []]
        routed = not made.internal
        return Endpoint(
            network_id=made.id,
            network_name=made.name,
            endpoint_id=id,
            container_id=container_id,
            container_name=names[0] if names else container_id[:12],
            interface=_interface_name(made, settings, index),
            host_interface="" if made.stacked else host_prefix + id[:9],
            mac="" if made.driver == "ipvlan" else wish.mac or mac_of(first),
            address=str(lease.v4 or ""),
            prefix=pools.v4.prefix if pools.v4 is not None else 0,
            gateway=str(pools.v4.gateway) if pools.v4 is not None and routed else "",
            address6=str(lease.v6 or ""),
            prefix6=pools.v6.prefix if pools.v6 is not None else 0,
            gateway6=str(pools.v6.gateway) if pools.v6 is not None and routed else "",
            aliases=aliases,
            dns_names=[] if made.default_bridge else list(dict.fromkeys([*names, *aliases, container_id[:12]])),
            gw_priority=int(settings.gw_priority),
            settings_in=settings,
        )

    def plug(self, endpoint: Endpoint, wish: Wanted, leads: bool) -> Plug:
        """The device of an endpoint. `leads`: it gives the container its default route."""
        made = self.definition
        interfaces = [
            interface(ipaddress.ip_address(address), prefix)
            for address, prefix in ((endpoint.address, endpoint.prefix), (endpoint.address6, endpoint.prefix6))
            if address
        ]
        interfaces += [interface(address, 16 if address.version == 4 else 64) for address in wish.link_local]
        gateways = tuple(ipaddress.ip_address(text) for text in (endpoint.gateway, endpoint.gateway6) if text and leads)
        publishes = any(endpoint.ports.values())
        return Plug(endpoint.interface, endpoint.mac, tuple(interfaces), gateways, made.mtu, not made.icc, publishes)


def _interface_name(made: Definition, settings: EndpointSettings, index: int) -> str:
    options = settings.driver_opts or {}
    name = options.get(_IFNAME) or f"{made.options.get(define.INTERFACE_PREFIX) or 'eth'}{index}"
    if not 0 < len(name.encode()) <= 15 or "/" in name or name in (".", "..") or any(c.isspace() for c in name):
        raise Invalid(f"invalid interface name {name!r}: at most 15 bytes, no slash, no space")
    return name


def rank(endpoint: Endpoint) -> tuple[int, str]:
    """The smallest of a container's endpoints gives it its default route: highest priority, then first name."""
    return -endpoint.gw_priority, endpoint.network_name


def lease_of(endpoint: Endpoint) -> Lease:
    return Lease(
        ipaddress.ip_address(endpoint.address) if endpoint.address else None,
        ipaddress.ip_address(endpoint.address6) if endpoint.address6 else None,
    )


def published(endpoint: Endpoint) -> list[Published]:
    lease = lease_of(endpoint)
    target = Target(endpoint.container_name, endpoint.endpoint_id, lease.v4, lease.v6)
    return published_again(endpoint.ports, target)
