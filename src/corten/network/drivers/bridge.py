"""The bridge driver: a pair of devices for each container, one end a port of the network's bridge on this host.

This host is the gateway. What leaves a network, and what gets in by published ports, passes the firewall.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from corten.kernel import conntrack, rtnetlink
from corten.kernel.netlink import Request, Socket
from corten.kernel.rtnetlink import IPAddress
from corten.network import sysctls
from corten.network.bridges import BridgeGone, Bridges, Port
from corten.network.definition import Definition
from corten.network.driver import HOST, OUTSIDE, ActiveNetwork, Namespace, Publishing, Reachability
from corten.network.drivers import bridge_options
from corten.network.drivers.bridge_network import gateways, ports, rules
from corten.network.drivers.bridge_options import bridge_name, gateway_mode, icc
from corten.network.drivers.link_watcher import LinkWatcher
from corten.network.endpoint import Endpoint
from corten.network.flows import Flows
from corten.network.guest import GuestNamespace, Tap
from corten.network.host_firewall import HostFirewall
from corten.network.interface import InterfaceSpec, mac_of
from corten.network.links import HostLinks, Listing, beside, delete_all
from corten.network.reaper import Reaper


class BridgeDriver:
    """`driver.Driver`."""

    reachability = Reachability(publishes=True, gateway=True)
    predefined_only = False

    def __init__(self, links: HostLinks, firewall: HostFirewall, reaper: Reaper, flows: Flows) -> None:
        self._links, self._firewall, self._reaper, self._flows = links, firewall, reaper, flows
        self.watcher: LinkWatcher | None = None
        self.bridges = Bridges(links)

    # --------------------------------------------------------------------------------------------------- networks

    def check(self, definition: Definition) -> None:
        bridge_options.check(definition)

    def device(self, definition: Definition) -> str:
        return bridge_name(definition)

    def restore(self, networks: Sequence[ActiveNetwork]) -> None:
        listing = self._links.listing() if networks else None
        for network in networks:
            self._ensure(network, now=False, listing=listing)

    def ensure(self, network: ActiveNetwork) -> None:
        self._ensure(network)

    def _ensure(self, network: ActiveNetwork, now: bool = True, listing: Listing | None = None) -> None:
        """Without `now` the rules come with the next replacement. `listing` is of this moment, for many networks."""
        made = network.definition
        if made.ipv6:
            self._firewall.changed(sysctls.forward6())
        mac = mac_of(network.addresses.gateways[0].ip)
        self.bridges.ensure(bridge_name(made), gateways(network), made.mtu, mac, listing)
        self._firewall.add_bridge(rules(network), now)

    async def remove(self, network: ActiveNetwork) -> None:
        name = bridge_name(network.definition)
        self.bridges.forget(name)
        self._firewall.drop_bridge(name)
        link = self._links.marked(name)
        if link is not None:
            await asyncio.to_thread(delete_all, [link.ifindex])

    # -------------------------------------------------------------------------------------------------- endpoints

    def attach(self, network: ActiveNetwork, endpoint: Endpoint, spec: InterfaceSpec, namespace: Namespace) -> Endpoint:
        """A bridge that another program deleted is made again, with the ports that it had."""
        bridge = bridge_name(network.definition)
        host_interface = self._links.prefix + endpoint.endpoint_id[:9]
        port = Port(0, not icc(network.definition), endpoint.hairpin)

        def attach() -> tuple[int, int]:
            if isinstance(namespace, GuestNamespace):
                pinned = replace(endpoint, host_interface=host_interface, index=0).pin
                assert pinned is not None, "it is a guest's"
                try:
                    fd, host_index = self.bridges.attach_guest(
                        bridge, host_interface, port, spec, lambda: self._firewall.pin(pinned)
                    )
                except BaseException:
                    self._firewall.unpin(host_interface)
                    raise
                namespace.taps.append(Tap(fd, spec))
                return 0, host_index
            with Socket(fd=namespace.route) as inside:
                return self.bridges.attach(bridge, host_interface, port, namespace.fd, inside, spec)

        try:
            index, host_index = attach()
        except BridgeGone:
            self.repair(network)
            index, host_index = attach()
        return replace(endpoint, index=index, host_interface=host_interface, host_index=host_index)

    def detach(self, endpoint: Endpoint, release: Callable[[], None], namespace: Namespace | None) -> None:
        """The device goes with its namespace, or a little later; then its flows are forgotten."""

        async def gone() -> None:
            for text in (endpoint.address, endpoint.address6):
                if text:
                    await self._flows.forget(conntrack.forget_address, ipaddress.ip_address(text))
            self._firewall.unpin(endpoint.host_interface)
            if (other := self._links.find(beside(endpoint.host_interface))) is not None and other.kind == "ifb":
                await asyncio.to_thread(delete_all, [other.ifindex])
            release()

        self._reaper.add(endpoint.host_interface, endpoint.host_index or 0, gone)

    def attached(self, endpoint: Endpoint) -> bool:
        return self._links.alive(endpoint.host_index or 0, endpoint.host_interface)

    def publishing(self, definition: Definition) -> Publishing:
        routed = frozenset(v for v in (4, 6) if gateway_mode(definition, v) == "routed")
        return Publishing(bridge_options.host_binding(definition), routed)

    def ports_changed(self, endpoint: Endpoint) -> None:
        self.bridges.hairpin(endpoint.host_index or 0)

    def default_routes(self, definition: Definition, index: int, gateways: Sequence[IPAddress]) -> list[Request]:
        return [rtnetlink.route(index, gateway, replace=True) for gateway in gateways]

    def sources(self, definition: Definition, version: int) -> tuple[str, ...]:
        mode = gateway_mode(definition, version)
        host = (HOST,) if mode != "isolated" else ()
        outside = (OUTSIDE,) if mode == "nat-unprotected" and not definition.internal else ()
        neighbours = (definition.name,) if icc(definition) else ()
        return (*host, *outside, *neighbours)

    # ------------------------------------------------------------------------------------------------------ repair

    def watch(self, networks: Callable[[], Iterable[ActiveNetwork]], on_lost: Callable[[Endpoint], None]) -> None:
        if self.watcher is None:
            self.watcher = LinkWatcher(self._links, self.bridges, self.repair, networks, on_lost)
            self.watcher.start()
        self.watcher.rejoin()  # those of a bridge that was gone at the daemon's start

    def unwatch(self) -> None:
        if self.watcher is not None:
            self.watcher.close()
            self.watcher = None

    def repair(self, network: ActiveNetwork) -> dict[int, OSError]:
        """Make a network's bridge again, and its containers ports of it. Returns the errors by port."""
        self._ensure(network, now=False)
        return self.bridges.rejoin(bridge_name(network.definition), ports(network))
