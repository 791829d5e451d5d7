"""The bridge driver: devices and addresses in this host's namespace, and an endpoint's half in the container's.

Everything is synchronous and takes less than a millisecond, but `delete`: the kernel waits for an RCU grace period
under its global network lock (10 to 20 ms), so that belongs into a thread, with a socket of its own.
"""

from __future__ import annotations

import errno
import hashlib
import ipaddress
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from corten.errors import Conflict, Failed, Unsupported
from corten.kernel import rtnetlink
from corten.kernel.netlink import Request, Socket
from corten.kernel.rtnetlink import IPAddress, Link

_FRAMES = Path("/proc/sys/net/bridge/bridge-nf-call-iptables")
_IPV4, _IPV6 = Path("/proc/sys/net/ipv4"), Path("/proc/sys/net/ipv6")

# A bridge asks for neighbours with its link-local address. One that it makes itself is unusable for its first second.
_GATEWAY6 = ipaddress.IPv6Interface("fe80::1/64")

Interface = ipaddress.IPv4Interface | ipaddress.IPv6Interface


def interface(address: IPAddress, prefix: int) -> Interface:
    return ipaddress.ip_interface(f"{address}/{prefix}")


def mac_of(address: IPAddress) -> str:
    """02:42 and the address (the last four bytes of an IPv6 one).

    An address that is used again then keeps its MAC, and nobody's ARP table goes stale.
    """
    return (b"\x02\x42" + address.packed[-4:]).hex(":")


class BridgeGone(Failed):
    """Somebody else deleted the bridge."""


def inner_index(index: int) -> int:
    """The number of the container's end, from the host end's."""
    return index + 1


def link_local_of(mac: str) -> Interface:
    """fe80:: and the modified EUI-64 of a MAC (RFC 4291, appendix A)."""
    raw = rtnetlink.mac_bytes(mac)
    low = bytes((raw[0] ^ 2,)) + raw[1:3] + b"\xff\xfe" + raw[3:]
    return ipaddress.IPv6Interface((b"\xfe\x80" + bytes(6) + low, 64))


@dataclass(frozen=True, slots=True)
class Plug:
    """One end of an endpoint: the device in the container with what it gets. A gateway None adds no default route."""

    name: str
    mac: str
    interfaces: tuple[Interface, ...]
    gateways: tuple[IPAddress, ...] = ()
    mtu: int = 0
    isolated: bool = False
    publishes: bool = False


class Port(NamedTuple):
    """A host end as it stands in its bridge, for one that has to be put there again."""

    ifindex: int
    isolated: bool = False
    publishes: bool = False


class Listing:
    """The devices and addresses of this host as they were, for looking at many: making it takes as long as there
    are devices."""

    def __init__(self, route: Socket) -> None:
        self.by_index = {link.ifindex: link for link in rtnetlink.links(route)}
        self.by_name = {link.name: link for link in self.by_index.values()}
        self.addresses: dict[int, list[Interface]] = {}
        for address in rtnetlink.addresses(route):
            self.addresses.setdefault(address.ifindex, []).append(address.interface)


class Bridges:
    """The devices of one daemon. `tag` marks them, so that several daemons do not sweep each other's."""

    def __init__(self, tag: str) -> None:
        self.tag = tag
        self.prefix = "v" + hashlib.sha256(tag.encode()).hexdigest()[:5]
        self.route = Socket()
        self.has_ipv6 = _IPV6.exists()
        self._next = random.randrange(1 << 16, 1 << 22, 2)  # device numbers that the kernel is not near to
        self._masters: dict[str, int] = {}

    def close(self) -> None:
        self.route.close()

    def forward(self) -> str:
        """Let this host route IPv4. Answers what was changed, for the log; empty when it did already."""
        return _write(_IPV4 / "ip_forward", "1")

    def forward6(self) -> str:
        """The same for IPv6. An interface that learns its own routes from advertisements keeps doing so."""
        if (_IPV6 / "conf/all/forwarding").read_text().strip() == "1":
            return ""
        for accept in _IPV6.glob("conf/*/accept_ra"):
            if accept.read_text().strip() == "1" and accept.parent.name not in ("all", "default", "lo"):
                _write(accept, "2")  # 1 would mean: not when forwarding
        return _write(_IPV6 / "conf/all/forwarding", "1")

    def present(self) -> Listing:
        return Listing(self.route)

    def ensure(
        self, name: str, gateways: Sequence[Interface], mtu: int = 0, mac: str = "", listing: Listing | None = None
    ) -> None:
        """The bridge is there, up, with these addresses. Another kind of device of that name is a Conflict.

        A bridge that another program made keeps what else it has; ours has nothing else. `listing` is of this moment.
        """
        link = (listing.by_name.get(name) if listing else self.find(name)) or self._make(
            name, mac or mac_of(gateways[0].ip), mtu
        )
        if link.kind != "bridge":
            raise Conflict(f"device {name} exists and is no bridge: choose another bridge name")
        self._masters[name] = link.ifindex
        wanted = [*gateways]
        if any(g.version == 6 for g in gateways):
            wanted.append(_GATEWAY6)
        present = (listing or self.present()).addresses.get(link.ifindex, [])
        requests = []
        if link.alias == self.mark:
            self._quiet(name, link.ifindex, any(g.version == 6 for g in gateways))
            requests += [rtnetlink.delete_address(link.ifindex, p) for p in present if p not in wanted]
        requests += [rtnetlink.address(link.ifindex, w) for w in wanted if w not in present]
        self.route.request(*requests, rtnetlink.route_localnet(link.ifindex), rtnetlink.up(link.ifindex))

    def _make(self, name: str, mac: str, mtu: int) -> Link:
        self.route.request(rtnetlink.bridge(name, mac, mtu), rtnetlink.alias(name, self.mark))
        link = self.find(name)
        if link is None:
            raise Failed(f"bridge {name} was made and is gone again")
        return link

    def rejoin(self, name: str, ports: Sequence[Port], listing: Listing | None = None) -> dict[int, OSError]:
        """Ports that lost their bridge are its ports again; one that is gone is fine. Those that could not, by number.

        One that is to be isolated is down until it is: its frames must not reach a neighbour in between.
        """
        master = self._masters[name]
        masters = {index: link.master for index, link in self._among(ports, listing).items()}
        failed, joined = {}, []
        for port in ports:
            if masters.get(port.ifindex, master) == master:
                continue
            requests = [rtnetlink.down(port.ifindex), rtnetlink.enslave(port.ifindex, master)]
            requests += [rtnetlink.isolate_port(port.ifindex)] if port.isolated else []
            requests += [rtnetlink.hairpin_port(port.ifindex)] if port.publishes and self._filters_frames() else []
            try:
                self.route.request(*requests, rtnetlink.up(port.ifindex))
                joined.append(self._name(port.ifindex))
            except OSError as error:
                if error.errno != errno.ENODEV:
                    failed[port.ifindex] = error
        for device in [name, *joined] if joined else ():
            if device:
                rtnetlink.settle_carrier(self.route, device)
        return failed

    def _among(self, ports: Sequence[Port], listing: Listing | None) -> Mapping[int, Link]:
        if listing is None and len(ports) == 1:
            one = rtnetlink.link(self.route, ports[0].ifindex)
            return {} if one is None else {one.ifindex: one}
        return (listing or self.present()).by_index

    def _name(self, index: int) -> str:
        return rtnetlink.link_name(self.route, index) or ""

    @property
    def masters(self) -> Mapping[str, int]:
        """The numbers of the bridges that were ensured, by name."""
        return self._masters

    def intact(self, name: str, gateways: Sequence[Interface]) -> bool:
        """The bridge is there, up, and has its addresses."""
        link = rtnetlink.link(self.route, self._masters[name])
        if link is None or not link.up or link.name != name:
            return False
        present = {a.interface for a in rtnetlink.addresses(self.route) if a.ifindex == link.ifindex}
        return present.issuperset(gateways)

    def joined(self, name: str, index: int) -> bool:
        """That device is a port of the bridge, or gone."""
        link = rtnetlink.link(self.route, index)
        return link is None or link.master == self._masters[name]

    def forget(self, name: str) -> None:
        """This bridge is not wanted any more."""
        self._masters.pop(name, None)

    @property
    def mark(self) -> str:
        """The alias of our bridges."""
        return f"corten {self.tag}"

    def _quiet(self, name: str, index: int, ipv6: bool) -> None:
        """No IPv6 but what we give it, and no advertisement of a container moves this host's routes."""
        if self.has_ipv6:
            self.route.request(rtnetlink.no_link_local(index))
            _write(_IPV6 / "conf" / name / "accept_ra", "0")
            _write(_IPV6 / "conf" / name / "disable_ipv6", "0" if ipv6 else "1")

    def find(self, name: str) -> Link | None:
        return rtnetlink.link_named(self.route, name)

    def attach(self, bridge: str, host_name: str, netns: int, inside: Socket, plug: Plug) -> int:
        """Make a pair and put its inner end to use; returns the host end's number (see `inner_index`).

        `netns` is the container's namespace, `inside` a socket in it. What was made is taken away when this fails.
        """
        master = self._masters[bridge]
        for _ in range(50):
            index = self._number()
            try:
                self.route.request(
                    rtnetlink.veth(host_name, index, master, plug.name, inner_index(index), plug.mac, netns, plug.mtu),
                    *([rtnetlink.no_link_local(index)] if self.has_ipv6 else []),
                    *([rtnetlink.isolate_port(index)] if plug.isolated else []),
                    *([rtnetlink.hairpin_port(index)] if plug.publishes and self._filters_frames() else []),
                    rtnetlink.up(index),
                )
            except OSError as error:
                if error.errno == errno.EBUSY:  # somebody has a device of that number
                    continue
                if error.errno == errno.EEXIST:
                    raise Conflict(f"interface {plug.name} exists in the container already") from error
                if self.find(bridge) is None:
                    raise BridgeGone(f"bridge {bridge} was deleted") from error
                if error.errno == errno.EOPNOTSUPP:
                    raise Unsupported(f"this kernel cannot make veth pairs: {error.strerror}") from error
                raise
            break
        else:
            raise Failed("no free device number was found in 50 tries")
        try:
            inside.request(*_inner(inner_index(index), plug, self.has_ipv6))
            rtnetlink.settle_carrier(inside, plug.name)
            rtnetlink.settle_carrier(self.route, host_name)
            rtnetlink.settle_carrier(self.route, bridge)  # its first port gives it its own
        except BaseException:
            self.route.request(rtnetlink.delete_link(index))
            raise
        return index

    def hairpin(self, index: int) -> None:
        """A port that publishes from now on: its own packets may come back to it, where that is the bridge's doing."""
        if self._filters_frames():
            self.route.request(rtnetlink.hairpin_port(index))

    def _number(self) -> int:
        self._next = self._next + 2 if self._next < 1 << 24 else 1 << 16
        return self._next

    def _filters_frames(self) -> bool:
        """br_netfilter is on: published ports are translated within the bridge, and one's own comes back as a frame."""
        try:
            return _FRAMES.read_text().strip() == "1"
        except FileNotFoundError:
            return False

    def alive(self, index: int, name: str) -> bool:
        """The device is still there (a number can be given again, a name cannot be ours again)."""
        return rtnetlink.link_name(self.route, index) == name

    def leftovers(self, known: set[str]) -> list[Link]:
        """Host ends of ours that belong to no endpoint in `known`, and marked bridges that are not in it."""
        return [
            link
            for link in rtnetlink.links(self.route)
            if link.name not in known
            and ((link.kind == "veth" and link.name.startswith(self.prefix)) or link.alias == self.mark)
        ]


def _inner(index: int, plug: Plug, has_ipv6: bool) -> list[Request]:
    requests = []
    # An IPv4 network gives no IPv6 address, not even fe80::; an IPv6 one gives it without a probing second.
    if has_ipv6:
        requests.append(rtnetlink.no_link_local(index))
    if any(i.version == 6 and not i.ip.is_link_local for i in plug.interfaces):
        requests.append(rtnetlink.address(index, link_local_of(plug.mac)))
    requests += [rtnetlink.address(index, i) for i in plug.interfaces]
    requests.append(rtnetlink.up(index))
    requests += [rtnetlink.route(index, gateway, replace=True) for gateway in plug.gateways]
    return requests


def delete(route: Socket, indexes: Sequence[int]) -> None:
    """Take devices away. Slow, see above, but many take hardly longer than one. What is gone is fine."""
    number = random.randrange(1 << 20, 1 << 31)  # a group that nobody else's devices are in
    requests = [rtnetlink.group(index, number) for index in indexes] + [rtnetlink.delete_group(number)]
    for request in requests:
        try:
            route.request(request)
        except OSError as error:
            if error.errno != errno.ENODEV:
                raise


def _write(path: Path, value: str) -> str:
    """Set a sysctl; answers "name = value", or nothing when it had that value. Failed where /proc/sys is read-only."""
    try:
        if path.read_text().strip() == value:
            return ""
        path.write_text(value)
    except OSError as error:
        name = ".".join(path.parts[3:])
        raise Failed(f"cannot set sysctl {name} = {value}: {error.strerror}") from error
    return f"{'.'.join(path.parts[3:])} = {value}"
