"""What is in the kernel for this host's networks: the drivers' devices, the firewall; made, checked, swept.

One object per daemon. It opens the firewall when the first network needs it, so a daemon without such networks changes
nothing on its host.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import partial

from corten.kernel import conntrack
from corten.kernel.netlink import Socket
from corten.network import rate
from corten.network.driver import ActiveNetwork, Driver, Namespace
from corten.network.drivers.table import drivers
from corten.network.endpoint import Endpoint
from corten.network.firewall import Published
from corten.network.flows import Flows
from corten.network.guest import GuestNamespace, Routes
from corten.network.host_firewall import HostFirewall
from corten.network.links import HostLinks, beside, delete_all
from corten.network.rate import Rate
from corten.network.reaper import Reaper

CurrentNetworks = Callable[[], Collection[ActiveNetwork]]


class Dataplane:
    """`label` tells daemons of one host apart, `owner` those that have it one after the other. `changes` are sysctls
    that were set, `warnings` what an administrator should know, both for `info`."""

    def __init__(self, label: str, owner: str = "") -> None:
        self.warnings: list[str] = []
        self.changes: list[str] = []
        self.links = HostLinks(label, owner)
        self.reaper = Reaper(self.links)
        self.firewall = HostFirewall(f"corten-{label}", self.warnings, self.changes)
        self._flows = Flows(self.warnings)
        self.drivers = drivers(self.links, self.firewall, self.reaper, self._flows, self.warnings)
        self.reconciled = False

    def close(self) -> None:
        """Everything in the kernel stays, for the next daemon."""
        self.unwatch()
        self.firewall.close()
        self.reaper.close()
        self.links.close()

    # --------------------------------------------------------------------------------------------------- networks

    def restore(self, networks: Collection[ActiveNetwork]) -> None:
        """At the daemon's start: devices of all networks, and the firewall; running traffic is left alone."""
        for driver in self.drivers.values():
            driver.restore(_of(driver, networks))

    async def reconcile(self, networks: CurrentNetworks, on_lost: Callable[[Endpoint], None]) -> None:
        """The kernel holds what is wanted, and of our devices only those of networks and endpoints; they are watched
        from now on, see `Driver.watch`. Idempotent."""
        self.reconciled = True
        self.firewall.replace()
        known = {network.device for network in networks()}
        ends = {e.host_interface for network in networks() for e in network.endpoints.values()}
        known |= ends | {beside(name) for name in ends if name}
        stale = [link.ifindex for link in self.links.leftovers(known)]
        if stale:
            await asyncio.to_thread(delete_all, stale)
        for driver in self.drivers.values():
            driver.watch(partial(_known_of, driver, networks), on_lost)

    def unwatch(self) -> None:
        """The opposite of `reconcile`'s watching. Idempotent."""
        for driver in self.drivers.values():
            driver.unwatch()

    async def purge(self, devices: Iterable[str]) -> None:
        """Remove the firewall's table, and those devices that are ours."""
        self.firewall.remove()
        found = [self.links.marked(name) for name in devices]
        if ours := [link.ifindex for link in found if link is not None]:
            await asyncio.to_thread(delete_all, ours)

    # -------------------------------------------------------------------------------------------------- endpoints

    def shape_taps(self, endpoints: Sequence[Endpoint], limits: Rate) -> None:
        """The same for a machine's: both ways on this host, where the machine cannot take it away. Unsupported."""
        for endpoint in endpoints:
            if endpoint.host_index is not None and (pin := endpoint.pin) is not None:
                other = beside(endpoint.host_interface)
                rate.hold_back(self.links.route, endpoint.host_index, other, limits, pin.mac, pin.addresses, pin.names)
                rate.apply(self.links.route, endpoint.host_index, limits.ingress)

    def shape(self, endpoints: Sequence[Endpoint], limits: Rate, namespace: Namespace) -> None:
        """Limit what goes in and out of all of a container's devices. Unsupported."""
        with Socket(fd=namespace.route) as inside:
            for endpoint in endpoints:
                if endpoint.index:  # first: a delay may be refused, and then nothing has changed
                    rate.send(inside, endpoint.index, limits)
                if endpoint.host_index is not None:
                    rate.apply(self.links.route, endpoint.host_index, limits.ingress)
                elif endpoint.index:
                    rate.receive(inside, endpoint.index, endpoint.interface, limits.ingress)

    def set_default_routes(self, network: ActiveNetwork, endpoint: Endpoint, namespace: Namespace) -> None:
        """Let this endpoint give its container the default route."""
        gateways = [ipaddress.ip_address(text) for text in (endpoint.gateway, endpoint.gateway6) if text]
        if isinstance(namespace, GuestNamespace):
            namespace.routes.append(Routes(endpoint.interface, tuple(gateways)))
            return
        with Socket(fd=namespace.route) as inside:
            inside.request(*network.driver.default_routes(network.definition, endpoint.index, gateways))

    async def forget_flows(self, ports: Sequence[Published]) -> None:
        """A client that kept sending UDP to such a port before is translated from now on."""
        for one in ports:
            if one.protocol == "udp" and one.host_port:
                family = conntrack.AF_INET if one.host_ip.version == 4 else conntrack.AF_INET6
                await self._flows.forget(conntrack.forget_udp_port, family, one.host_port)

    async def wait_detached(self, endpoint: Endpoint) -> None:
        """The device of an endpoint that was detached is gone when this returns."""
        await self.reaper.finish(endpoint.host_interface)

    async def settle(self) -> None:
        """All devices that were detached are gone, and their addresses are free, when this returns."""
        await self.reaper.settle()


def _of(driver: Driver, networks: Iterable[ActiveNetwork]) -> list[ActiveNetwork]:
    return [network for network in networks if network.driver is driver]


def _known_of(driver: Driver, networks: CurrentNetworks) -> list[ActiveNetwork]:
    return _of(driver, networks())
