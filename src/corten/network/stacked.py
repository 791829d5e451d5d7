"""The macvlan and ipvlan drivers: a device in the container on top of a device of the host, with no bridge between.

Containers are then neighbours of the host's network, with addresses of that network; this host itself cannot talk to
them through the parent (the kernel's rule), and its firewall sees nothing of them. A network without a parent gets one
of its own that leads nowhere.
"""

from __future__ import annotations

import errno
import random
import socket
import struct
from collections.abc import Sequence

from corten.errors import Conflict, Failed, Invalid, NotFound, Unsupported
from corten.kernel import rtnetlink
from corten.kernel.netlink import Request, Socket
from corten.kernel.rtnetlink import IPAddress, Link
from corten.network.bridge import Plug, inner_index, link_local_of
from corten.network.definition import IPVLAN_MODES, MACVLAN_MODES, Definition


class Stacks:
    """Parents and what stands on them. `mark` is the alias of parents that are ours."""

    def __init__(self, route: Socket, mark: str, has_ipv6: bool) -> None:
        self._route = route
        self._has_ipv6 = has_ipv6
        self._mark = mark
        self._next = random.randrange(1 << 24, 1 << 28, 2)  # apart from the numbers of pairs

    def ensure(self, made: Definition) -> None:
        """The parent is there and up. Unsupported when the kernel lacks the driver, NotFound for the parent."""
        self._probe(made.driver)
        if self.parent(made) is None:
            self._make(made)

    def parent(self, made: Definition) -> Link | None:
        return rtnetlink.link_named(self._route, made.parent)

    def _probe(self, kind: str) -> None:
        """A device without a parent cannot be made; the kernel says so only of kinds that it knows."""
        try:
            self._route.request(rtnetlink.stacked("probe", kind, 0, b"", 0, "", -1))
        except OSError as error:
            if error.errno == errno.EOPNOTSUPP:
                raise Unsupported(f"this kernel has no {kind} (CONFIG_{kind.upper()})") from error

    def _make(self, made: Definition) -> None:
        below, dot, number = made.parent.rpartition(".")
        if made.own_parent:
            self._add_dead_end(made.parent)
            return
        parent = rtnetlink.link_named(self._route, below) if dot else None
        if parent is None:
            raise NotFound(f"parent {made.parent} of network {made.name} does not exist on this host")
        if not number.isdigit() or not 0 < int(number) < 4095:
            raise Invalid(f"parent {made.parent} of network {made.name}: a VLAN's number is from 1 to 4094")
        self._add(rtnetlink.vlan(made.parent, parent.ifindex, int(number)), made.parent)

    def _add_dead_end(self, name: str) -> None:
        """A dummy, or an ifb, which swallows as well what no filter sent there. (A bridge without ports is down.)"""
        try:
            self._add(rtnetlink.plain(name, "dummy"), name)
        except Unsupported:
            self._add(rtnetlink.plain(name, "ifb"), name)

    def _add(self, request: Request, name: str) -> None:
        try:
            self._route.request(request, rtnetlink.alias(name, self._mark))
        except OSError as error:
            if error.errno == errno.EOPNOTSUPP:
                raise Unsupported(f"cannot {request.name}: this kernel has no such devices") from error
            raise
        index = next(link.ifindex for link in rtnetlink.links(self._route) if link.name == name)
        quiet = [rtnetlink.no_link_local(index)] if self._has_ipv6 else []
        self._route.request(*quiet, rtnetlink.up(index))

    def attach(self, made: Definition, netns: int, inside: Socket, plug: Plug) -> int:
        """Put a device into the namespace. Answers the number before its own, as if it had another end."""
        parent = self.parent(made)
        if parent is None:
            self._make(made)
            parent = self.parent(made)
        if parent is None:
            raise Failed(f"parent {made.parent} was made and is gone again")
        for _ in range(50):
            self._next += 2
            try:
                self._route.request(device(made, parent.ifindex, inner_index(self._next), netns, plug))
            except OSError as error:
                if error.errno == errno.EBUSY and self._busy(inside, inner_index(self._next)):
                    continue
                if error.errno == errno.EEXIST and _cleared(inside, plug.name, made.driver):
                    continue
                raise _refused(made, plug, error) from error
            break
        else:
            raise Failed("no free device number was found in 50 tries")
        try:
            inside.request(*inner(made, inner_index(self._next), plug, self._has_ipv6))
        except BaseException:
            inside.request(rtnetlink.delete_link(inner_index(self._next)))
            raise
        return self._next

    def _busy(self, inside: Socket, index: int) -> bool:
        return rtnetlink.link_name(inside, index) is not None


def device(made: Definition, parent: int, index: int, netns: int, plug: Plug) -> Request:
    """The message that makes the device. An ipvlan has its parent's MAC."""
    if made.driver == "macvlan":
        mode = struct.pack("=I", MACVLAN_MODES[made.mode])
        return rtnetlink.stacked(plug.name, "macvlan", parent, mode, index, plug.mac, netns, plug.mtu)
    mode = struct.pack("=H", IPVLAN_MODES[made.mode])
    return rtnetlink.stacked(plug.name, "ipvlan", parent, mode, index, "", netns, plug.mtu)


def inner(made: Definition, index: int, plug: Plug, has_ipv6: bool) -> list[Request]:
    """Addresses and routes of a new device, in order."""
    requests = [rtnetlink.no_link_local(index)] if has_ipv6 else []
    if any(i.version == 6 for i in plug.interfaces) and plug.mac:
        requests.append(rtnetlink.address(index, link_local_of(plug.mac)))
    requests += [rtnetlink.address(index, i) for i in plug.interfaces]
    requests.append(rtnetlink.up(index))
    return requests + ways_out(made, index, plug.gateways)


def ways_out(made: Definition, index: int, gateways: Sequence[IPAddress]) -> list[Request]:
    """Default routes: through the gateways, or the device itself where there are no neighbours."""
    if made.driver == "ipvlan" and made.mode != "l2":
        families = {socket.AF_INET if gateway.version == 4 else socket.AF_INET6 for gateway in gateways}
        return [rtnetlink.route(index, None, family=family, replace=True) for family in sorted(families)]
    return [rtnetlink.route(index, gateway, replace=True) for gateway in gateways]


def _cleared(inside: Socket, name: str, kind: str) -> bool:
    """A device that a daemon made and was killed before it wrote that down is in the way: take it away."""
    stray = next((link for link in rtnetlink.links(inside) if (link.name, link.kind) == (name, kind)), None)
    if stray is not None:
        inside.request(rtnetlink.delete_link(stray.ifindex))
    return stray is not None


def _refused(made: Definition, plug: Plug, error: OSError) -> Exception:
    if error.errno == errno.EEXIST:
        return Conflict(f"interface {plug.name} exists in the container already")
    if error.errno == errno.EOPNOTSUPP:
        return Unsupported(f"this kernel has no {made.driver} (CONFIG_{made.driver.upper()})")
    if error.errno in (errno.EBUSY, errno.EINVAL):
        return Conflict(f"parent {made.parent} takes no {made.driver} in mode {made.mode}: {error.strerror}")
    return error
