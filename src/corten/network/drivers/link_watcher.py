"""Devices of bridge networks that other programs change: reported by the kernel at once, and restored.

    a bridge that is gone, down, or without its address     made as it was, with its ports
    a port that was taken out of its bridge                 put into it again
    a pair that is gone while its container runs            reported to `on_lost`

Each bridge and each port has a pause and a retry of its own: one that keeps breaking, or cannot be repaired, delays
no other. Until then nothing passes that should not: a device without its bridge leads nowhere.
"""

from __future__ import annotations

import asyncio
import errno
import logging
from collections.abc import Callable, Container, Iterable

from corten.errors import CortenError
from corten.kernel import rtnetlink
from corten.kernel.netlink import Socket
from corten.kernel.rtnetlink import Change
from corten.network.bridges import Bridges
from corten.network.driver import ActiveNetwork
from corten.network.drivers.bridge_network import gateways, ports
from corten.network.drivers.bridge_options import bridge_name
from corten.network.endpoint import Endpoint
from corten.network.links import HostLinks

log = logging.getLogger(__name__)
LinkKey = tuple[str, int]  # a network's id, and a port's index; 0 is the bridge
_BRIDGE = 0

_GROUPS = (rtnetlink.RTNLGRP_LINK, rtnetlink.RTNLGRP_IPV4_IFADDR, rtnetlink.RTNLGRP_IPV6_IFADDR)
_REPAIR_PAUSE = 0.2  # seconds between two repairs of a link: a program that removes it in a loop must not take our time
_RETRY_DELAY = 5.0  # seconds until a repair that failed is tried again
_EXIT_GRACE = 0.1  # seconds: a pair goes with its container, and the container's exit is reported a little later


class LinkWatcher:
    """`networks` are those of bridges; `repair` makes one's bridge again, with its ports, and returns the errors by
    port; `on_lost` is called for an endpoint whose pair is gone and that is still wanted."""

    def __init__(
        self,
        links: HostLinks,
        bridges: Bridges,
        repair: Callable[[ActiveNetwork], dict[int, OSError]],
        networks: Callable[[], Iterable[ActiveNetwork]],
        on_lost: Callable[[Endpoint], None],
    ) -> None:
        self._links, self._bridges, self.repair_bridge = links, bridges, repair
        self._networks, self._on_lost = networks, on_lost
        self.socket = Socket()
        self._timers: dict[LinkKey, asyncio.TimerHandle] = {}  # a repair that is due, or a pause after one
        self._pending: set[LinkKey] = set()  # what needs one more when its pause is over

    def start(self) -> None:
        """From now on devices are watched."""
        self.socket.reserve(1 << 16, 4 << 20)
        self.socket.filter(rtnetlink.BAD_NEWS)
        for group in _GROUPS:
            self.socket.join(group)
        asyncio.get_running_loop().add_reader(self.socket.fileno(), self._on_readable)

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self.socket.fileno())
        for timer in self._timers.values():
            timer.cancel()
        self.socket.close()

    def rejoin(self) -> None:
        """Bridges that were gone for a while have lost their ports."""
        listing = self._links.listing()
        for network in self._networks():
            failed = self._bridges.rejoin(bridge_name(network.definition), ports(network), listing)
            for port, error in failed.items():
                self._failed(network, port, error)

    def _on_readable(self) -> None:
        try:
            messages = self.socket.notifications()
        except OSError as error:
            if error.errno != errno.ENOBUFS:
                raise
            self._check_all()
            return
        masters = self._bridges.masters
        names = {bridge_name(network.definition): network for network in self._networks()}
        bridges = {masters[name]: network for name, network in names.items() if name in masters}
        known: list[Container[int]] = [bridges, *(network.by_host_index for network in bridges.values())]
        changes = [change for message in messages if (change := rtnetlink.change(message, known)) is not None]
        latest = {(change.ifindex, change.gone, change.readdressed): change for change in changes}
        for change in latest.values():  # the states that a device had before its last are over
            self._check(change, bridges)

    def _check_all(self) -> None:
        """Some messages were lost, so anything may have happened."""
        links = {link.ifindex: link for link in rtnetlink.links(self._links.route)}
        for network in list(self._networks()):
            master = self._bridges.masters.get(bridge_name(network.definition))
            if master is None:
                continue
            intact = self._intact(network)
            if not intact:
                self._schedule(network, _BRIDGE)
            for index, endpoint in list(network.by_host_index.items()):
                if index not in links:
                    self._report_lost(network, endpoint)
                elif intact and links[index].master != master:
                    self._schedule(network, index)

    def _check(self, change: Change, bridges: dict[int, ActiveNetwork]) -> None:
        """A message may be of a state that is over: a device is down and no port of anything while it is made."""
        if change.ifindex in bridges:
            network = bridges[change.ifindex]
            if (change.gone or change.down or change.readdressed) and not self._intact(network):
                self._schedule(network, _BRIDGE)
            return
        network = next(network for network in bridges.values() if change.ifindex in network.by_host_index)
        name = bridge_name(network.definition)
        if change.gone:
            endpoint = network.by_host_index[change.ifindex]
            asyncio.get_running_loop().call_later(_EXIT_GRACE, self._report_lost, network, endpoint)
        elif change.master != self._bridges.masters[name] and not self._bridges.joined(name, change.ifindex):
            # Ports leave before their bridge is reported as gone, and its repair includes them.
            self._schedule(network, change.ifindex if self._intact(network) else _BRIDGE)

    def _intact(self, network: ActiveNetwork) -> bool:
        return self._bridges.intact(bridge_name(network.definition), gateways(network))

    def _report_lost(self, network: ActiveNetwork, endpoint: Endpoint) -> None:
        if network.endpoints.get(endpoint.endpoint_id) is endpoint:
            self._on_lost(endpoint)

    def _schedule(self, network: ActiveNetwork, port: int) -> None:
        key = (network.definition.id, port)
        if key in self._timers:
            self._pending.add(key)
        else:
            self._repair(network, port)

    def _repair(self, network: ActiveNetwork, port: int) -> None:
        made = network.definition
        name = self._name(network, port)
        try:
            failed = self._rejoin_port(network, port) if port != _BRIDGE else self.repair_bridge(network)
        except (CortenError, OSError) as error:
            self._failed(network, port, error)
            return
        for other, why in failed.items():
            self._failed(network, other, why)
        if port not in failed:
            log.warning("network %s: %s was changed by another program and is restored", made.name, name)
            self._wait(network, port, _REPAIR_PAUSE)

    def _rejoin_port(self, network: ActiveNetwork, port: int) -> dict[int, OSError]:
        chosen = [one for one in ports(network) if one.ifindex == port]
        return self._bridges.rejoin(bridge_name(network.definition), chosen)

    def _name(self, network: ActiveNetwork, port: int) -> str:
        bridge = f"bridge {bridge_name(network.definition)}"
        return f"port {port} of {bridge}" if port else bridge

    def _failed(self, network: ActiveNetwork, port: int, error: Exception) -> None:
        name = self._name(network, port)
        log.error("network %s: %s cannot be repaired yet: %s", network.definition.name, name, error)
        self._pending.add((network.definition.id, port))
        self._wait(network, port, _RETRY_DELAY)

    def _wait(self, network: ActiveNetwork, port: int, seconds: float) -> None:
        key = (network.definition.id, port)
        if (timer := self._timers.get(key)) is not None:
            timer.cancel()
        self._timers[key] = asyncio.get_running_loop().call_later(seconds, self._on_timer, network, port)

    def _on_timer(self, network: ActiveNetwork, port: int) -> None:
        key = (network.definition.id, port)
        del self._timers[key]
        if key not in self._pending:
            return
        self._pending.discard(key)
        if network in self._networks() and port in (_BRIDGE, *network.by_host_index):
            self._repair(network, port)
