"""Ports of this host that several containers share: who shares which, and who is ready to be sent connections.

The first that joins takes the port, the last that leaves gives it back, as one container does with a published port.
What a process has to forward (IPv6 to containers without it, ::1) it sends to an address of this host's loopback that
is balanced like the rest, so it never has to know who is ready.
"""

from __future__ import annotations

import ipaddress
import zlib
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from corten.errors import Conflict, Invalid
from corten.network.balance import SLOTS, IPAddress, Place
from corten.network.firewall import PROTOCOLS, Published
from corten.network.forwarder import Forwarder
from corten.network.host_firewall import HostFirewall
from corten.network.ports import PortRequest, Reservations, Target

Forward = Callable[[Sequence[Published], str], Awaitable[None]]

_LOOPBACK = int(ipaddress.IPv4Address("127.99.0.0"))


class Shared(NamedTuple):
    """What one container has of a port: `request` with a fixed port of the host. Those of one `group` can share it."""

    group: str
    request: PortRequest

    @property
    def port(self) -> tuple[str, str, int]:
        return self.request.protocol, self.request.host_ip, self.request.first


@dataclass(slots=True)
class _Member:
    addresses: tuple[IPAddress, ...]
    port: int
    ready: bool


@dataclass(slots=True)
class _Port:
    group: str
    published: list[Published]
    members: dict[str, _Member] = field(default_factory=dict)


class Balancer:
    """`forward` has a process carry ports, see `Endpoints`. Containers are known by their ids."""

    def __init__(
        self, firewall: HostFirewall, reservations: Reservations, forwarder: Forwarder, forward: Forward
    ) -> None:
        self._firewall, self._reservations = firewall, reservations
        self._forwarder, self._forward = forwarder, forward
        self._ports: dict[tuple[str, str, int], _Port] = {}

    async def join(self, shared: Shared, container_id: str, target: Target) -> None:
        """Share a port; nothing is sent to the container before `ready`. Invalid, Conflict, Failed (port in use)."""
        if target.v4 is None:
            raise Invalid(f"balanced port {shared.request.first}: container {target.name} has no IPv4 address")
        if shared.port not in self._ports:
            await self._forwarder.settle()
        found = self._ports.get(shared.port)  # another may have taken it meanwhile
        if found is None:
            taken = self._reservations.take([shared.request], target)
            found = self._ports[shared.port] = _Port(shared.group, [_through(one) for one in taken])
            self._add(found, shared, container_id, target, False)
            try:
                self._firewall.balance(_targets(found))
                await self._forward(found.published, container_id)
            except BaseException:
                self.leave(container_id)
                raise
            return
        if found.group != shared.group:
            raise Conflict(f"port {shared.request.first} is balanced for {found.group}, and not for {shared.group}")
        if len(found.members) >= SLOTS and container_id not in found.members:
            raise Conflict(f"port {shared.request.first} is shared by {SLOTS} containers already")
        self._add(found, shared, container_id, target, False)
        self._firewall.balance(_targets(found))

    def adopt(self, shared: Shared, container_id: str, target: Target, now: bool) -> list[str]:
        """Of a container that outlived an earlier daemon: it is sent connections as before. What other programs took
        meanwhile, a line each. Without `now` the firewall has it with its next replacement."""
        refusals: list[str] = []
        if target.v4 is None:
            return refusals
        found = self._ports.get(shared.port)
        if found is None:
            published = [_through(one) for one in self._reservations.wanted(shared.request, target)]
            refusals = self._reservations.retake(published, target.name, self._forwarder)
            found = self._ports[shared.port] = _Port(shared.group, published)
        self._add(found, shared, container_id, target, True)
        self._firewall.balance(_targets(found), now)
        return refusals

    def ready(self, container_id: str, ready: bool) -> None:
        """Whether the container is sent new connections. Those that it has go on. Idempotent."""
        changes: dict[Place, list[tuple[IPAddress, int]]] = {}
        for port in self._ports.values():
            member = port.members.get(container_id)
            if member is not None and member.ready != ready:
                member.ready = ready
                changes.update(_targets(port))
        self._firewall.balance(changes)

    def leave(self, container_id: str) -> None:
        """Idempotent."""
        for key, port in list(self._ports.items()):
            member = port.members.pop(container_id, None)
            if member is None:
                continue
            if port.members:
                self._firewall.balance(_targets(port) if member.ready else {})
                continue
            del self._ports[key]
            self._firewall.unbalance(_targets(port))
            self._forwarder.stop(port.published)
            self._reservations.release(port.published)

    def published(self) -> Iterable[tuple[str, list[Published]]]:
        """What is held on this host, each with the id of a container that shares it."""
        return [(next(iter(port.members)), port.published) for port in self._ports.values()]

    def release(self) -> None:
        """At the daemon's end: the rules stand, and what held the ports is closed."""
        for port in self._ports.values():
            self._reservations.release(port.published)

    @staticmethod
    def _add(port: _Port, shared: Shared, container_id: str, target: Target, ready: bool) -> None:
        addresses = tuple(each for each in (target.v4, target.v6) if each is not None)
        port.members[container_id] = _Member(addresses, shared.request.port, ready)


def _through(one: Published) -> Published:
    """What a process forwards goes through this host's loopback."""
    if not one.forwarded:
        return one
    number = zlib.crc32(one.host_ip.packed) & 0xFFFF  # the same for a later daemon, whose process has it already
    return one._replace(address=ipaddress.IPv4Address(_LOOPBACK | number), port=one.host_port)


def _targets(port: _Port) -> Mapping[Place, list[tuple[IPAddress, int]]]:
    """What each place of a port leads to."""
    found: dict[Place, list[tuple[IPAddress, int]]] = {}
    for one in port.published:
        protocol = PROTOCOLS[one.protocol]
        places = [Place(protocol, one.host_ip, one.host_port)]
        if one.forwarded:
            places.append(Place(protocol, one.address, one.host_port))
        for place in places:
            found[place] = [
                (address, member.port)
                for member in port.members.values()
                if member.ready
                for address in member.addresses
                if address.version == place.host_ip.version
            ]
    return found
