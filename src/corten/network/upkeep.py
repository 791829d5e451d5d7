"""Devices that somebody else takes away: heard from the kernel at once, and put back.

    a bridge that is gone, down, or without its address     made as it was, with its ports
    a port that was taken out of its bridge                 put into it again
    a pair that is gone while its container runs            told to `lost`, who can enter the container

Each bridge and each port has a pause and another try of its own: one that keeps breaking, or cannot be repaired, delays
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
from corten.network.endpoint import Endpoint
from corten.network.live import Live
from corten.network.wiring import Wiring

log = logging.getLogger(__name__)
Thing = tuple[str, int]  # a network's id, and a port's number; 0 is the bridge
_BRIDGE = 0

_GROUPS = (rtnetlink.RTNLGRP_LINK, rtnetlink.RTNLGRP_IPV4_IFADDR, rtnetlink.RTNLGRP_IPV6_IFADDR)
_PAUSE = 0.2  # seconds between two repairs of a thing: whoever takes it away in a loop must not take all our time
_AGAIN = 5.0  # seconds until a repair that failed is tried again
_END = 0.1  # seconds: a pair goes with its container, and its end is heard of a little later


class Upkeep:
    """`networks` are the bridged ones; `lost` is called for an endpoint whose pair is gone and that is still wanted."""

    def __init__(
        self, wiring: Wiring, networks: Callable[[], Iterable[Live]], lost: Callable[[Endpoint], None]
    ) -> None:
        self._wiring = wiring
        self._networks = networks
        self._lost = lost
        self._socket = Socket()
        self._waiting: dict[Thing, asyncio.TimerHandle] = {}  # a repair that is due, or a pause after one
        self._again: set[Thing] = set()  # what needs one more when its pause is over

    def start(self) -> None:
        """From now on devices are looked after."""
        self._socket.reserve(1 << 16, 4 << 20)
        for group in _GROUPS:
            self._socket.join(group)
        asyncio.get_running_loop().add_reader(self._socket.fileno(), self._heard)

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._socket.fileno())
        for timer in self._waiting.values():
            timer.cancel()
        self._socket.close()

    def rejoin(self) -> None:
        """Bridges that were gone for a while have lost their ports."""
        listing = self._wiring.bridges.present()
        for live in self._networks():
            for port, error in self._wiring.bridges.rejoin(live.definition.bridge, live.ports, listing).items():
                self._failed(live, port, error)

    def _heard(self) -> None:
        try:
            messages = self._socket.notifications()
        except OSError as error:
            if error.errno != errno.ENOBUFS:
                raise
            self._look_at_all()
            return
        masters = self._wiring.bridges.masters
        bridges = {
            masters[live.definition.bridge]: live for live in self._networks() if live.definition.bridge in masters
        }
        known: list[Container[int]] = [bridges, *(live.plugged for live in bridges.values())]
        changes = [change for message in messages if (change := rtnetlink.change(message, known)) is not None]
        latest = {(change.ifindex, change.gone, change.readdressed): change for change in changes}
        for change in latest.values():  # the states that a device had before its last are over
            self._judge(change, bridges)

    def _look_at_all(self) -> None:
        """Some messages were lost, so anything may have happened."""
        devices = self._wiring.bridges
        links = {link.ifindex: link for link in rtnetlink.links(devices.route)}
        for live in list(self._networks()):
            master = devices.masters.get(live.definition.bridge)
            if master is None:
                continue
            intact = devices.intact(live.definition.bridge, live.gateways)
            if not intact:
                self._due(live, _BRIDGE)
            for endpoint in live.endpoints.values():
                if endpoint.ifindex not in links:
                    self._missing(live, endpoint)
                elif intact and links[endpoint.ifindex].master != master:
                    self._due(live, endpoint.ifindex)

    def _judge(self, change: Change, bridges: dict[int, Live]) -> None:
        """A message may be of a state that is over: a device is down and no port of anything while it is made."""
        devices = self._wiring.bridges
        if change.ifindex in bridges:
            live = bridges[change.ifindex]
            bad = change.gone or change.down or change.readdressed
            if bad and not devices.intact(live.definition.bridge, live.gateways):
                self._due(live, _BRIDGE)
            return
        live = next(live for live in bridges.values() if change.ifindex in live.plugged)
        endpoint = live.plugged[change.ifindex]
        name = live.definition.bridge
        if change.gone:
            asyncio.get_running_loop().call_later(_END, self._missing, live, endpoint)
        elif change.master != devices.masters[name] and not devices.joined(name, endpoint.ifindex):
            # Ports are told to leave before their bridge is told to be gone, and it takes them along when it is back.
            self._due(live, endpoint.ifindex if devices.intact(name, live.gateways) else _BRIDGE)

    def _missing(self, live: Live, endpoint: Endpoint) -> None:
        if live.endpoints.get(endpoint.endpoint_id) is endpoint:
            self._lost(endpoint)

    def _due(self, live: Live, port: int) -> None:
        thing = (live.definition.id, port)
        if thing in self._waiting:
            self._again.add(thing)
        else:
            self._repair(live, port)

    def _repair(self, live: Live, port: int) -> None:
        made = live.definition
        name = self._name(live, port)
        try:
            failed = self._wiring.rejoin(live, port) if port != _BRIDGE else self._wiring.repair(live)
        except (CortenError, OSError) as error:
            self._failed(live, port, error)
            return
        for other, why in failed.items():
            self._failed(live, other, why)
        if port not in failed:
            log.warning("network %s: %s was changed by somebody else and is as it was", made.name, name)
            self._wait(live, port, _PAUSE)

    def _name(self, live: Live, port: int) -> str:
        return f"port {port} of bridge {live.definition.bridge}" if port else f"bridge {live.definition.bridge}"

    def _failed(self, live: Live, port: int, error: Exception) -> None:
        log.error("network %s: %s cannot be repaired yet: %s", live.definition.name, self._name(live, port), error)
        self._again.add((live.definition.id, port))
        self._wait(live, port, _AGAIN)

    def _wait(self, live: Live, port: int, seconds: float) -> None:
        thing = (live.definition.id, port)
        if (timer := self._waiting.get(thing)) is not None:
            timer.cancel()
        self._waiting[thing] = asyncio.get_running_loop().call_later(seconds, self._rested, live, port)

    def _rested(self, live: Live, port: int) -> None:
        thing = (live.definition.id, port)
        del self._waiting[thing]
        if thing in self._again:
            self._again.discard(thing)
            if live in self._networks() and (port == _BRIDGE or any(port == known.ifindex for known in live.ports)):
                self._repair(live, port)
