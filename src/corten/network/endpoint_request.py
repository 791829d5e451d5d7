"""What a container asks of a network, and the endpoint and the device that become of it. Pure."""

from __future__ import annotations

import ipaddress
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from corten.errors import Failed, Invalid
from corten.network import options
from corten.network.addresses import AddressRequest, Lease
from corten.network.definition import Definition, parse_address
from corten.network.driver import ActiveNetwork, Namespace
from corten.network.endpoint import Endpoint
from corten.network.interface import InterfaceSpec, interface, mac_of
from corten.network.ports import PortMap
from corten.spec.docker.networking import EndpointIPAMConfig, EndpointSettings


@dataclass(frozen=True, slots=True)
class EndpointRequest:
    """One container, to be connected to one network.

    `network` is its name or id. `settings` is Docker's EndpointSettings. `names` are what the container is called in
    the network, its own name first. `port_bindings`, `exposed` and `publish_all` are HostConfig.PortBindings,
    Config.ExposedPorts and HostConfig.PublishAllPorts. `index` numbers the container's interfaces: eth0, eth1.
    `previous` are addresses that it had before, and gets again where they are free and nothing else is asked for.
    `asks_bridge`: in a user-defined network it asks the bridge's address for names (`Endpoint.names_at`).
    """

    network: str
    container_id: str
    namespace: Namespace
    settings: EndpointSettings = field(default_factory=EndpointSettings)
    names: Sequence[str] = ()
    port_bindings: PortMap = field(default_factory=dict)
    exposed: Sequence[str] = ()
    publish_all: bool = False
    index: int = 0
    previous: Sequence[str] = ()
    asks_bridge: bool = False

    @property
    def name(self) -> str:
        return self.names[0] if self.names else self.container_id[:12]


def address_request(network: ActiveNetwork, settings: EndpointSettings) -> AddressRequest:
    """Read and check EndpointSettings, as far as that goes without knowing what is in use. Invalid."""
    made, ipam = network.definition, settings.ipam_config or EndpointIPAMConfig()
    v4 = parse_address(ipam.ipv4_address, "IPv4 address") if ipam.ipv4_address else None
    v6 = parse_address(ipam.ipv6_address, "IPv6 address") if ipam.ipv6_address else None
    if (v4 is not None and v4.version != 4) or (v6 is not None and v6.version != 6):
        raise Invalid(f"invalid address of network {made.name}: {v4 if v4 and v4.version != 4 else v6}")
    if (v4 or v6) and (made.default_bridge or not network.driver.reachability.addresses):
        raise Invalid("user specified IP address is supported on user defined networks only")
    unused = next((a for a in (v4, v6) if a is not None and not made.has(a.version)), None)
    if unused is not None:
        raise Invalid(f"address {unused}: IPv{unused.version} is not enabled for network {made.name}")
    if (v4 or v6) and not made.user_ranges:
        raise Invalid(
            "user specified IP address is supported only when connecting to networks with user configured subnets"
        )
    local = tuple(parse_address(text, "link-local address") for text in ipam.link_local_ips or ())
    if not all(address.is_link_local for address in local):
        raise Invalid(f"invalid link-local address: {next(a for a in local if not a.is_link_local)}")
    return AddressRequest(v4, v6, local, _mac(settings.mac_address))


def as_before(network: ActiveNetwork, wanted: AddressRequest, previous: Sequence[str]) -> AddressRequest:
    """The same with addresses of an earlier run, where none are asked for and the network still has them."""
    pools = {4: network.addresses.v4, 6: network.addresses.v6}
    for text in previous:
        address = ipaddress.ip_address(text)
        pool, field = pools[address.version], f"v{address.version}"
        if pool is not None and getattr(wanted, field) is None and address in pool.network:
            wanted = wanted._replace(v4=address) if address.version == 4 else wanted._replace(v6=address)
    return wanted


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


def bare_endpoint(made: Definition, request: EndpointRequest) -> Endpoint:
    """Of a network that gives no addresses: nothing in it but that it is there."""
    return Endpoint(
        made.id, made.name, secrets.token_hex(32), request.container_id, request.name, settings_in=request.settings
    )


def new_endpoint(network: ActiveNetwork, lease: Lease, mac: str, request: EndpointRequest) -> Endpoint:
    """An endpoint that has no device yet and publishes nothing. Invalid for the name of its interface."""
    made, pools, settings = network.definition, network.addresses, request.settings
    first = lease.v4 or lease.v6
    if first is None:
        raise Failed(f"network {made.name} has no addresses")
    aliases = [str(alias) for alias in settings.aliases or []]
    names = [*request.names, *aliases, request.container_id[:12]]
    routed = not made.internal
    return Endpoint(
        network_id=made.id,
        network_name=made.name,
        endpoint_id=secrets.token_hex(32),
        container_id=request.container_id,
        container_name=request.name,
        interface=_interface_name(made.options, settings.driver_opts or {}, request.index),
        mac=mac or mac_of(first),
        address=str(lease.v4 or ""),
        prefix=pools.v4.prefix if pools.v4 is not None else 0,
        gateway=str(pools.v4.next_hop) if pools.v4 is not None and routed else "",
        address6=str(lease.v6 or ""),
        prefix6=pools.v6.prefix if pools.v6 is not None else 0,
        gateway6=str(pools.v6.next_hop) if pools.v6 is not None and routed else "",
        aliases=aliases,
        dns_names=[] if made.default_bridge else list(dict.fromkeys(names)),
        gw_priority=int(settings.gw_priority),
        names_at=str(pools.v4.next_hop) if request.asks_bridge and not made.predefined and pools.v4 is not None else "",
        settings_in=settings,
    )


def interface_spec(made: Definition, endpoint: Endpoint, wanted: AddressRequest, default_route: bool) -> InterfaceSpec:
    """The device of an endpoint. `default_route`: it gives the container its default route."""
    interfaces = [
        interface(ipaddress.ip_address(address), prefix)
        for address, prefix in ((endpoint.address, endpoint.prefix), (endpoint.address6, endpoint.prefix6))
        if address
    ]
    interfaces += [interface(address, 16 if address.version == 4 else 64) for address in wanted.link_local]
    texts = (endpoint.gateway, endpoint.gateway6) if default_route else ()
    gateways = tuple(ipaddress.ip_address(text) for text in texts if text)
    return InterfaceSpec(endpoint.interface, endpoint.mac, tuple(interfaces), gateways, made.mtu)


def _interface_name(made: Mapping[str, str], asked: Mapping[str, str], index: int) -> str:
    """From the options of the network and of the endpoint."""
    name = asked.get(options.INTERFACE_NAME) or f"{made.get(options.INTERFACE_PREFIX) or 'eth'}{index}"
    if not 0 < len(name.encode()) <= 15 or "/" in name or name in (".", "..") or any(c.isspace() for c in name):
        raise Invalid(f"invalid interface name {name!r}: at most 15 bytes, no slash, no space")
    return name
