"""What is in the kernel of this host's networks: bridges, devices, the firewall; made, repaired, swept.

One object per daemon. It opens the firewall when the first bridge network needs it, so a daemon without networks
changes nothing on its host.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Callable, Iterable, Sequence

from corten.kernel import conntrack, rtnetlink
from corten.kernel.netlink import Socket
from corten.network import rate
from corten.network.bridge import BridgeGone, Bridges, Listing, Plug, delete, inner_index, mac_of
from corten.network.definition import Definition
from corten.network.endpoint import Endpoint
from corten.network.firewall import Firewall, Published
from corten.network.flows import Flows
from corten.network.live import Live
from corten.network.rate import Rate
from corten.network.reaper import Reaper
from corten.network.stacked import Stacks, ways_out

_RESTORE_PAUSE = 0.2  # seconds between two repairs: somebody who flushes in a loop must not take the daemon's time


class Wiring:
    """`changes` are sysctls that were set, `warnings` what an administrator should know, both for `info`."""

    def __init__(self, label: str) -> None:
        self.warnings: list[str] = []
        self.changes: list[str] = []
        self.bridges = Bridges(label)
        self.stacks = Stacks(self.bridges.route, self.bridges.mark, self.bridges.has_ipv6)
        self.reaper = Reaper(self.bridges)
        self._name = f"corten-{label}"
        self._firewall: Firewall | None = None
        self._flows = Flows(self.warnings)
        self._restore: asyncio.TimerHandle | None = None
        self.reconciled = False

    def close(self) -> None:
        """Everything in the kernel stays, for the next daemon."""
        if self._restore is not None:
            self._restore.cancel()
        if self._firewall is not None:
            asyncio.get_running_loop().remove_reader(self._firewall.watch.fileno())
            self._firewall.close()
        self._flows.close()
        self.reaper.close()
        self.bridges.close()

    @property
    def firewall(self) -> Firewall:
        """The table, claimed. An existing one is left as it is, until `reconcile`: traffic goes on meanwhile.

        Conflict when another daemon holds it.
        """
        if self._firewall is not None:
            return self._firewall
        self._changed(self.bridges.forward())
        wall = Firewall(self._name)
        try:
            existed = wall.present()
            wall.claim()
            if not existed:
                wall.replace()
        except BaseException:
            wall.close()
            raise
        self._firewall = wall
        self.warnings += [
            f"WARNING: nftables chain {chain} drops what it does not allow to be forwarded: let the bridges pass there"
            for chain in wall.foreign_drops()
        ]
        if not wall.owned:
            wall.observe()
            asyncio.get_running_loop().add_reader(wall.watch.fileno(), self._disturbance)
        return wall

    def obstacles(self) -> list[str]:
        """Chains of others that may drop what we let pass, as they are now."""
        return self._firewall.foreign_drops() if self._firewall is not None else []

    def _disturbance(self) -> None:
        """Somebody else changed our table (`nft flush ruleset`, a firewall's reload): put it back."""
        wall = self._firewall
        if wall is None or not wall.disturbed() or self._restore is not None:
            return
        wall.replace()
        self._restore = asyncio.get_running_loop().call_later(_RESTORE_PAUSE, self._restore_again)

    def _restore_again(self) -> None:
        """What happened during the pause was read and not acted on; one replacement covers it."""
        self._restore = None
        if self._firewall is not None:
            self._firewall.replace()

    def _changed(self, sysctl: str) -> None:
        if sysctl:
            self.changes.append(sysctl)

    def ensure(self, live: Live, now: bool = True, listing: Listing | None = None) -> None:
        """Device and rules of a bridge network; without `now` the rules come with the next replacement. `listing` is of
        this moment, where many are ensured.

        Of a stacked one the device that its containers' stand on.
        """
        made = live.definition
        if made.stacked:
            self.stacks.ensure(made)
            return
        if made.ipv6:
            self._changed(self.bridges.forward6())
        self.bridges.ensure(made.bridge, live.gateways, made.mtu, mac_of(live.addresses.gateways[0].ip), listing)
        if now:
            self.firewall.add_bridge(live.wall)
        else:
            self.firewall.bridges[made.bridge] = live.wall

    async def dismantle(self, live: Live) -> None:
        """The opposite. A bridge that somebody else made stays."""
        name = live.definition.device
        self.bridges.forget(name)
        if self._firewall is not None:
            self._firewall.drop_bridge(name)
        link = self.bridges.find(name)
        if link is not None and link.alias == self.bridges.mark:
            await asyncio.to_thread(_delete_all, [link.ifindex])

    async def purge(self, bridges: Iterable[str]) -> None:
        """Take the table away, and those bridges that are ours."""
        if self._firewall is not None:
            self._firewall.remove()
        found = [self.bridges.find(name) for name in bridges]
        ours = [link.ifindex for link in found if link is not None and link.alias == self.bridges.mark]
        if ours:
            await asyncio.to_thread(_delete_all, ours)

    async def reconcile(self, known: Iterable[str]) -> None:
        """The kernel holds what is wanted, and of our devices only those in `known`."""
        self.reconciled = True
        if self._firewall is not None:
            self._firewall.replace()
        stale = [link.ifindex for link in self.bridges.leftovers(set(known))]
        if stale:
            await asyncio.to_thread(_delete_all, stale)

    def plug(self, live: Live, endpoint: Endpoint, plug: Plug, netns: int, route: int) -> int:
        """Connect; `netns` and `route` are descriptors of the container's namespace and of a socket in it.

        A bridge that was deleted behind our back is made again, with the ports that it had.
        """
        name = live.definition.bridge
        with Socket(fd=route) as inside:
            if live.definition.stacked:
                return self.stacks.attach(live.definition, netns, inside, plug)
            try:
                return self.bridges.attach(name, endpoint.host_interface, netns, inside, plug)
            except BridgeGone:
                self.repair(live)
                return self.bridges.attach(name, endpoint.host_interface, netns, inside, plug)

    def repair(self, live: Live) -> dict[int, OSError]:
        """Make a network's bridge again, and its containers ports of it. Ports that could not be, by number."""
        self.ensure(live, now=False)
        return self.bridges.rejoin(live.definition.bridge, live.ports)

    def rejoin(self, live: Live, index: int) -> dict[int, OSError]:
        """The same for one port alone."""
        return self.bridges.rejoin(live.definition.bridge, [port for port in live.ports if port.ifindex == index])

    def shape(self, endpoints: Sequence[Endpoint], wish: Rate, route: int) -> None:
        """Limit what goes in and out; `route` is a socket's descriptor in the container's namespace."""
        with Socket(fd=route) as inside:
            for endpoint in endpoints:
                if endpoint.interface:  # first: a delay may be refused, and then nothing has changed
                    rate.send(inside, inner_index(endpoint.ifindex), wish)
                if endpoint.host_interface:
                    rate.apply(self.bridges.route, endpoint.ifindex, wish.ingress)
                elif endpoint.interface:
                    rate.receive(inside, inner_index(endpoint.ifindex), endpoint.interface, wish.ingress)

    def unstack(self, endpoint: Endpoint, route: int) -> None:
        """The device of a stacked network goes; its container goes on."""
        with Socket(fd=route) as inside:
            rate.receive(inside, inner_index(endpoint.ifindex), endpoint.interface, 0)
            inside.request(rtnetlink.delete_link(inner_index(endpoint.ifindex)))

    def unplug(self, endpoint: Endpoint, release: Callable[[], None]) -> None:
        """The device goes, now or with its namespace; then its flows are forgotten, and `release` is called."""

        async def gone() -> None:
            for text in (endpoint.address, endpoint.address6):
                if text:
                    await self._flows.forget(conntrack.forget_address, ipaddress.ip_address(text))
            release()

        self.reaper.add(endpoint.host_interface, endpoint.ifindex, gone)

    def publish(self, ports: Sequence[Published]) -> None:
        """All or none."""
        self.firewall.publish(ports)

    async def turn(self, ports: Sequence[Published]) -> None:
        """A client that kept sending UDP to such a port before is translated from now on."""
        for one in ports:
            if one.protocol == "udp" and one.host_port:
                family = conntrack.AF_INET if one.host_ip.version == 4 else conntrack.AF_INET6
                await self._flows.forget(conntrack.forget_udp_port, family, one.host_port)


def lead(made: Definition, endpoint: Endpoint, route: int) -> None:
    """Let this endpoint give the container its default route; `route` is a socket's descriptor in its namespace."""
    gateways = [ipaddress.ip_address(text) for text in (endpoint.gateway, endpoint.gateway6) if text]
    index = inner_index(endpoint.ifindex)
    with Socket(fd=route) as inside:
        inside.request(*ways_out(made, index, gateways))


def _delete_all(indexes: list[int]) -> None:
    with Socket() as route:
        delete(route, indexes)
