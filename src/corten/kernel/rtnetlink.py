"""rtnetlink(7): links, addresses, routes and neighbours, as requests for `netlink.Socket`.

Every function that changes something returns a `Request` and does nothing else, so that a plan is a list one can
print and test; `links`, `addresses` and `routes` ask the kernel and answer with plain tuples.
Source: rtnetlink(7), include/uapi/linux/{if_link,if_addr,rtnetlink,neighbour}.h.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import ipaddress
import socket
import struct
import sys
from collections.abc import Container, Sequence
from typing import NamedTuple

from corten.kernel.netlink import (
    NLM_F_CREATE,
    NLM_F_EXCL,
    NLM_F_REPLACE,
    Message,
    Request,
    Socket,
    attribute,
    attributes,
    failure,
    nest,
    string,
    text,
    u8,
    u32,
)

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network

RTM_NEWLINK, RTM_DELLINK, RTM_GETLINK, RTM_SETLINK = 16, 17, 18, 19
RTM_NEWADDR, RTM_DELADDR, RTM_GETADDR = 20, 21, 22
RTM_NEWROUTE, RTM_DELROUTE, RTM_GETROUTE = 24, 25, 26
RTM_NEWNEIGH, RTM_DELNEIGH = 28, 29

RTNLGRP_LINK, RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV6_IFADDR = 1, 5, 9

IFF_UP = 0x1

IFLA_ADDRESS, IFLA_IFNAME, IFLA_MTU, IFLA_LINK, IFLA_MASTER, IFLA_LINKINFO = 1, 3, 4, 5, 10, 18
IFLA_IFALIAS, IFLA_AF_SPEC, IFLA_GROUP, IFLA_NET_NS_FD = 20, 26, 27, 28
IFLA_NUM_TX_QUEUES, IFLA_NUM_RX_QUEUES = 31, 32
IFLA_INFO_KIND, IFLA_INFO_DATA, IFLA_INFO_SLAVE_KIND, IFLA_INFO_SLAVE_DATA = 1, 2, 4, 5
VETH_INFO_PEER = 1
IFLA_BR_STP_STATE = 5
IFLA_BRPORT_MODE, IFLA_BRPORT_ISOLATED = 4, 33
IFLA_MACVLAN_MODE = 1
IFLA_VLAN_ID = 1
IFLA_IPVLAN_MODE = 1
IFLA_INET_CONF = 1
IFLA_INET6_ADDR_GEN_MODE = 8
IN6_ADDR_GEN_MODE_NONE = 1
IPV4_DEVCONF_ROUTE_LOCALNET = 26

IFA_ADDRESS, IFA_LOCAL, IFA_BROADCAST, IFA_FLAGS = 1, 2, 4, 8
IFA_F_NODAD = 0x02

RTA_DST, RTA_OIF, RTA_GATEWAY, RTA_PRIORITY, RTA_PREFSRC, RTA_TABLE = 1, 4, 5, 6, 7, 15
RT_TABLE_MAIN = 254
RTPROT_KERNEL, RTPROT_BOOT, RTPROT_STATIC = 2, 3, 4
RT_SCOPE_UNIVERSE, RT_SCOPE_LINK = 0, 253
RTN_UNICAST = 1

NDA_DST, NDA_LLADDR = 1, 2
NUD_PERMANENT = 0x80

_LONGEST_NAME = 15  # IFNAMSIZ and its NUL
_IFINFOMSG = struct.Struct("=BxHiII")
_IFADDRMSG = struct.Struct("=BBBBi")
_RTMSG = struct.Struct("=BBBBBBBBI")
_NDMSG = struct.Struct("=BxxxiHBB")


class Link(NamedTuple):
    ifindex: int
    name: str
    kind: str  # "bridge", "veth", ... or "" for hardware
    up: bool
    mac: str
    mtu: int
    master: int  # index of the bridge it is a port of, or 0
    alias: str
    peer: int  # IFLA_LINK: the index of a veth's other end in its own namespace, or of the device below


class Change(NamedTuple):
    """What a notification says of a device. `described` is its attributes, in the kernel's form."""

    ifindex: int
    gone: bool = False
    down: bool = False
    readdressed: bool = False
    described: bytes = b""

    @property
    def master(self) -> int:
        """The index of the bridge that it is a port of, or 0."""
        return _number(attributes(self.described).get(IFLA_MASTER))


class Address(NamedTuple):
    ifindex: int
    interface: ipaddress.IPv4Interface | ipaddress.IPv6Interface


class Route(NamedTuple):
    destination: IPNetwork
    gateway: IPAddress | None
    ifindex: int
    table: int
    protocol: int


def mac_bytes(mac: str) -> bytes:
    """`02:42:ac:11:00:02` as six bytes. Raises ValueError for anything else."""
    raw = bytes.fromhex(mac.replace(":", "").replace("-", ""))
    if len(raw) != 6:
        raise ValueError(f"not a MAC address: {mac!r}")
    return raw


def _family(address: IPAddress | IPNetwork) -> int:
    return socket.AF_INET if address.version == 4 else socket.AF_INET6


def _ifinfo(index: int = 0, flags: int = 0, change: int = 0) -> bytes:
    return _IFINFOMSG.pack(socket.AF_UNSPEC, 0, index, flags, change)


# --------------------------------------------------------------------------------------------------------- links


def bridge(name: str, mac: str, mtu: int = 0) -> Request:
    """A bridge, down. Its MAC is given so that it does not change as ports come and go."""
    body = _ifinfo() + string(IFLA_IFNAME, name) + attribute(IFLA_ADDRESS, mac_bytes(mac))
    if mtu:
        body += u32(IFLA_MTU, mtu)
    data = nest(IFLA_INFO_DATA, u32(IFLA_BR_STP_STATE, 0))
    body += nest(IFLA_LINKINFO, string(IFLA_INFO_KIND, "bridge"), data)
    return Request(f"create bridge {name}", RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, body)


def veth(name: str, index: int, master: int, peer: str, peer_index: int, mac: str, netns: int, mtu: int = 0) -> Request:
    """Both ends of a pair in one message: `name` is a port of `master`, `peer` is in the namespace `netns` (a fd).

    The numbers are given so that they need not be looked up (EBUSY when one is taken). They must differ: the kernel
    delays by up to a second the link events of a device whose other end has its own number (linkwatch), and the
    bridge would not forward before. A device placed at its creation costs nothing; one that is moved into a namespace
    later costs 12 to 20 ms. And it gets one queue each way: the kernel would make one for each processor, with
    directories in sysfs, only to take the others away again, for which it waits for a grace period.
    """
    size = u32(IFLA_MTU, mtu) if mtu else b""
    size += u32(IFLA_NUM_TX_QUEUES, 1) + u32(IFLA_NUM_RX_QUEUES, 1)
    other = (
        _ifinfo(peer_index)
        + string(IFLA_IFNAME, peer)
        + attribute(IFLA_ADDRESS, mac_bytes(mac))
        + size
        + u32(IFLA_NET_NS_FD, netns)
    )
    body = _ifinfo(index) + string(IFLA_IFNAME, name) + size + u32(IFLA_MASTER, master)
    data = nest(IFLA_INFO_DATA, attribute(VETH_INFO_PEER, other))
    body += nest(IFLA_LINKINFO, string(IFLA_INFO_KIND, "veth"), data)
    return Request(f"create veth {name}", RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, body)


def stacked(name: str, kind: str, parent: int, mode: bytes, index: int, mac: str, netns: int, mtu: int = 0) -> Request:
    """A macvlan or ipvlan device on `parent`, made in the namespace `netns` (a descriptor).

    `mode` is the payload of IFLA_MACVLAN_MODE (u32) or IFLA_IPVLAN_MODE (u16); both are attribute 1 of their kind.
    """
    body = _ifinfo(index) + string(IFLA_IFNAME, name)
    if parent:
        body += u32(IFLA_LINK, parent)
    if netns >= 0:
        body += u32(IFLA_NET_NS_FD, netns)
    if mac:  # an ipvlan has its parent's
        body += attribute(IFLA_ADDRESS, mac_bytes(mac))
    if mtu:
        body += u32(IFLA_MTU, mtu)
    data = nest(IFLA_INFO_DATA, attribute(IFLA_MACVLAN_MODE, mode)) if mode else b""
    body += nest(IFLA_LINKINFO, string(IFLA_INFO_KIND, kind), data)
    return Request(f"create {kind} {name}", RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, body)


def plain(name: str, kind: str) -> Request:
    """A device that needs nothing but its kind: dummy, ifb."""
    body = _ifinfo() + string(IFLA_IFNAME, name) + nest(IFLA_LINKINFO, string(IFLA_INFO_KIND, kind))
    return Request(f"create {kind} {name}", RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, body)


def vlan(name: str, parent: int, number: int) -> Request:
    """An 802.1Q device on `parent`."""
    data = nest(IFLA_INFO_DATA, attribute(IFLA_VLAN_ID, struct.pack("=H", number)))
    body = _ifinfo() + string(IFLA_IFNAME, name) + u32(IFLA_LINK, parent)
    body += nest(IFLA_LINKINFO, string(IFLA_INFO_KIND, "vlan"), data)
    return Request(f"create vlan {name}", RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, body)


def alias(name: str, words: str) -> Request:
    """A line of text on a device (`ip -d link` shows it); the kernel takes none when a device is made.

    By name, so that it can be in one datagram with the device's making: the process cannot die in between.
    """
    body = _ifinfo() + string(IFLA_IFNAME, name) + string(IFLA_IFALIAS, words)
    return Request(f"set alias of {name}", RTM_SETLINK, 0, body)


def up(index: int) -> Request:
    return Request(f"set link {index} up", RTM_SETLINK, 0, _ifinfo(index, IFF_UP, IFF_UP))


def down(index: int) -> Request:
    return Request(f"set link {index} down", RTM_SETLINK, 0, _ifinfo(index, 0, IFF_UP))


def delete_link(index: int = 0, name: str = "") -> Request:
    """Delete a device by index, or by name. Fails with ENODEV when there is none."""
    body = _ifinfo(index) + (string(IFLA_IFNAME, name) if name else b"")
    return Request(f"delete link {name or index}", RTM_DELLINK, 0, body)


def move(index: int, name: str, netns: int) -> Request:
    """Into the namespace `netns` (a descriptor), as `name`. It is down then, and may have another index."""
    body = _ifinfo(index) + string(IFLA_IFNAME, name) + u32(IFLA_NET_NS_FD, netns)
    return Request(f"move link {index} as {name}", RTM_NEWLINK, 0, body)


def rename(index: int, name: str, mtu: int = 0) -> Request:
    """Give a device that is down another name, and with `mtu` that size of packets."""
    body = _ifinfo(index) + string(IFLA_IFNAME, name) + (u32(IFLA_MTU, mtu) if mtu else b"")
    return Request(f"rename link {index} to {name}", RTM_SETLINK, 0, body)


def set_mac(index: int, mac: str) -> Request:
    """Give a device another hardware address."""
    return Request(f"set address of {index}", RTM_SETLINK, 0, _ifinfo(index) + attribute(IFLA_ADDRESS, mac_bytes(mac)))


def group(index: int, number: int) -> Request:
    """Put a device into a group; `delete_group` then takes many away in the time of one."""
    return Request(f"set group of {index}", RTM_SETLINK, 0, _ifinfo(index) + u32(IFLA_GROUP, number))


def delete_group(number: int) -> Request:
    """Delete every device of the group. Fails with ENODEV when it is empty."""
    return Request(f"delete link group {number}", RTM_DELLINK, 0, _ifinfo() + u32(IFLA_GROUP, number))


def mtu(index: int, size: int) -> Request:
    return Request(f"set mtu of {index} to {size}", RTM_SETLINK, 0, _ifinfo(index) + u32(IFLA_MTU, size))


def enslave(index: int, master: int) -> Request:
    """Make a device a port of a bridge; master 0 takes it out."""
    return Request(f"set master of {index} to {master}", RTM_SETLINK, 0, _ifinfo(index) + u32(IFLA_MASTER, master))


def no_link_local(index: int) -> Request:
    """Give the device no IPv6 address of its own accord (EAFNOSUPPORT when the kernel has no IPv6)."""
    mode = nest(socket.AF_INET6, u8(IFLA_INET6_ADDR_GEN_MODE, IN6_ADDR_GEN_MODE_NONE))
    return Request(f"set addrgenmode none on {index}", RTM_SETLINK, 0, _ifinfo(index) + nest(IFLA_AF_SPEC, mode))


def route_localnet(index: int) -> Request:
    """sysctl net.ipv4.conf.DEV.route_localnet=1, by netlink: 127.0.0.0/8 may leave or arrive through the device."""
    setting = nest(socket.AF_INET, nest(IFLA_INET_CONF, u32(IPV4_DEVCONF_ROUTE_LOCALNET, 1)))
    return Request(f"set route_localnet on {index}", RTM_SETLINK, 0, _ifinfo(index) + nest(IFLA_AF_SPEC, setting))


def isolate_port(index: int) -> Request:
    """A bridge port that exchanges no frames with other isolated ports of its bridge."""
    data = nest(IFLA_INFO_SLAVE_DATA, u8(IFLA_BRPORT_ISOLATED, 1))
    info = nest(IFLA_LINKINFO, string(IFLA_INFO_SLAVE_KIND, "bridge"), data)
    return Request(f"isolate bridge port {index}", RTM_NEWLINK, 0, _ifinfo(index) + info)


def hairpin_port(index: int) -> Request:
    """A bridge port that may be given its own frames back, when they are addressed to it."""
    data = nest(IFLA_INFO_SLAVE_DATA, u8(IFLA_BRPORT_MODE, 1))
    info = nest(IFLA_LINKINFO, string(IFLA_INFO_SLAVE_KIND, "bridge"), data)
    return Request(f"set hairpin mode on port {index}", RTM_NEWLINK, 0, _ifinfo(index) + info)


def links(route: Socket) -> list[Link]:
    """Every link of the socket's namespace."""
    return [_link(m.body) for m in route.dump(Request("list links", RTM_GETLINK, 0, _ifinfo()))]


def link(route: Socket, index: int) -> Link | None:
    """The device with that number, or None."""
    return _one(route, Request(f"get link {index}", RTM_GETLINK, 0, _ifinfo(index)))


def link_named(route: Socket, name: str) -> Link | None:
    """The device of that name, or None. Takes as long on a host with a thousand devices as on one with ten."""
    if not 0 < len(name.encode()) <= _LONGEST_NAME:
        return None
    found = _one(route, Request(f"get link {name}", RTM_GETLINK, 0, _ifinfo() + string(IFLA_IFNAME, name)))
    return found if found is not None and found.name == name else None  # the kernel takes other names of it, too


def _one(route: Socket, request: Request) -> Link | None:
    message, answer = route.ask(request)
    if message is None:
        if answer is not None and answer.number not in (0, errno.ENODEV):
            raise failure(answer.number, request.name, answer.explanation)
        return None
    return _link(message.body)


def link_name(route: Socket, index: int) -> str | None:
    """The name of the device with that number, or None."""
    found = link(route, index)
    return found.name if found is not None else None


def _bad_news() -> list[tuple[int, int, int, int]]:
    """Lets pass what `change` may be about: an address or a device that is gone, a device that is down or no port of
    anything. A start of a container makes some twenty notifications, of which this leaves a few.

    A port that is moved to another bridge is reported in between as one of none.
    """
    little = sys.byteorder == "little"
    kind, family, flags = (4 if little else 5), 16, (24 if little else 27)  # the bytes with the low bits
    byte, word, immediate, index, equal, any_of, end = 0x30, 0x20, 0x00, 0x01, 0x15, 0x45, 0x06
    attribute_offset = 0xFFFFF000 + 12  # SKF_AD_OFF + SKF_AD_NLATTR: of the type in X, from A on; 0 when absent
    accept, reject = 14, 15
    return [
        (byte, 0, 0, kind),
        (equal, reject - 2, 0, RTM_NEWADDR),
        (equal, 6 - 3, 0, RTM_NEWLINK),
        (equal, 0, accept - 4, RTM_DELLINK),
        (byte, 0, 0, family),
        (equal, accept - 6, reject - 6, socket.AF_UNSPEC),
        (byte, 0, 0, family),
        (equal, 0, reject - 8, socket.AF_UNSPEC),
        (byte, 0, 0, flags),
        (any_of, 0, accept - 10, IFF_UP),
        (immediate, 0, 0, 16 + _IFINFOMSG.size),
        (index, 0, 0, IFLA_MASTER),
        (word, 0, 0, attribute_offset),
        (equal, 0, reject - 14, 0),
        (end, 0, 0, 0xFFFFFFFF),
        (end, 0, 0, 0),
    ]


BAD_NEWS = _bad_news()


def change(message: Message, known: Sequence[Container[int]]) -> Change | None:
    """A notification of the groups above, where it is bad news of a device in one of these; None for anything else.

    Every start of a container is a dozen of them, so nothing is decoded that is not needed.
    """
    if message.kind == RTM_DELADDR:
        index = _IFADDRMSG.unpack_from(message.body)[4]
        return Change(index, readdressed=True) if _in(index, known) else None
    if message.kind not in (RTM_NEWLINK, RTM_DELLINK):
        return None
    family, _, index, flags, _ = _IFINFOMSG.unpack_from(message.body)
    if family != socket.AF_UNSPEC or not _in(index, known):  # a bridge reports its ports in a family of its own
        return None
    if message.kind == RTM_DELLINK:
        return Change(index, gone=True)
    return Change(index, down=not flags & IFF_UP, described=message.body[_IFINFOMSG.size :])


def _in(index: int, known: Sequence[Container[int]]) -> bool:
    return any(index in devices for devices in known)


def settle_carrier(route: Socket, name: str) -> bool:
    """Whether the device has its carrier, which the kernel acts upon before it answers (ethtool's GLINK).

    A device whose carrier has just come up sends and forwards nothing until a kernel thread has handled that; a packet
    in that time is lost, and the next try is a second later.
    """
    value = ctypes.create_string_buffer(struct.pack("=II", 0xA, 0), 8)  # ETHTOOL_GLINK
    request = struct.pack("16sP16x", name.encode(), ctypes.addressof(value))
    fcntl.ioctl(route.fileno(), 0x8946, request)  # SIOCETHTOOL
    return value.raw[4] != 0


def _link(body: bytes) -> Link:
    _, _, index, flags, _ = _IFINFOMSG.unpack_from(body)
    found = attributes(body, _IFINFOMSG.size)
    kind = attributes(found.get(IFLA_LINKINFO, b"")).get(IFLA_INFO_KIND, b"")
    return Link(
        ifindex=index,
        name=text(found.get(IFLA_IFNAME, b"")),
        kind=text(kind),
        up=bool(flags & IFF_UP),
        mac=found.get(IFLA_ADDRESS, b"").hex(":"),
        mtu=_number(found.get(IFLA_MTU)),
        master=_number(found.get(IFLA_MASTER)),
        alias=text(found.get(IFLA_IFALIAS, b"")),
        peer=_number(found.get(IFLA_LINK)),
    )


def _number(payload: bytes | None) -> int:
    return int.from_bytes(payload, "little" if struct.pack("=H", 1)[0] else "big") if payload else 0


# ------------------------------------------------------------------------------------------ addresses and routes


def address(index: int, interface: ipaddress.IPv4Interface | ipaddress.IPv6Interface) -> Request:
    """Give a device an address. IPv6 without duplicate detection: it is usable at once."""
    packed = interface.ip.packed
    flags = IFA_F_NODAD if interface.version == 6 else 0
    body = _IFADDRMSG.pack(_family(interface.ip), interface.network.prefixlen, flags, 0, index)
    body += attribute(IFA_LOCAL, packed) + attribute(IFA_ADDRESS, packed)
    if interface.version == 4 and interface.network.prefixlen < 31:
        body += attribute(IFA_BROADCAST, interface.network.broadcast_address.packed)
    return Request(f"add address {interface} to {index}", RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, body)


def delete_address(index: int, interface: ipaddress.IPv4Interface | ipaddress.IPv6Interface) -> Request:
    """Delete an address. Fails with EADDRNOTAVAIL when the device does not have it."""
    body = _IFADDRMSG.pack(_family(interface.ip), interface.network.prefixlen, 0, 0, index)
    body += attribute(IFA_LOCAL, interface.ip.packed)
    return Request(f"delete address {interface} of {index}", RTM_DELADDR, 0, body)


def route(
    index: int,
    gateway: IPAddress | None,
    destination: IPNetwork | None = None,
    metric: int = 0,
    family: int = 0,
    replace: bool = False,
) -> Request:
    """A route through a device; without destination the default route, without gateway on-link.

    `family` is needed only when neither gateway nor destination says it. With `replace` the route with the same
    destination and metric is exchanged.
    """
    known = destination if destination is not None else gateway
    family = family or (_family(known) if known is not None else socket.AF_INET)
    length = destination.prefixlen if destination is not None else 0
    scope = RT_SCOPE_UNIVERSE if gateway is not None or family == socket.AF_INET6 else RT_SCOPE_LINK
    body = _RTMSG.pack(family, length, 0, 0, RT_TABLE_MAIN, RTPROT_BOOT, scope, RTN_UNICAST, 0)
    if destination is not None and length:
        body += attribute(RTA_DST, destination.network_address.packed)
    if gateway is not None:
        body += attribute(RTA_GATEWAY, gateway.packed)
    body += u32(RTA_OIF, index)
    if metric:
        body += u32(RTA_PRIORITY, metric)
    flags = NLM_F_CREATE | (NLM_F_REPLACE if replace else NLM_F_EXCL)
    return Request(f"add route {destination or 'default'} via {gateway or index}", RTM_NEWROUTE, flags, body)


def delete_route(index: int, destination: IPNetwork | None = None, family: int = socket.AF_INET) -> Request:
    """Delete a route of that device. Fails with ESRCH when there is none."""
    if destination is not None:
        family = _family(destination)
    length = destination.prefixlen if destination is not None else 0
    body = _RTMSG.pack(family, length, 0, 0, RT_TABLE_MAIN, 0, 255, 0, 0)  # 255: RT_SCOPE_NOWHERE, any scope
    if destination is not None and length:
        body += attribute(RTA_DST, destination.network_address.packed)
    return Request(f"delete route {destination or 'default'}", RTM_DELROUTE, 0, body + u32(RTA_OIF, index))


def neighbour(index: int, ip: IPAddress, mac: str) -> Request:
    """A permanent entry in a device's ARP or neighbour table."""
    body = _NDMSG.pack(_family(ip), index, NUD_PERMANENT, 0, 0)
    body += attribute(NDA_DST, ip.packed) + attribute(NDA_LLADDR, mac_bytes(mac))
    return Request(f"add neighbour {ip}", RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, body)


def addresses(route: Socket) -> list[Address]:
    """Every address of the socket's namespace."""
    found = []
    for message in route.dump(Request("list addresses", RTM_GETADDR, 0, _IFADDRMSG.pack(0, 0, 0, 0, 0))):
        _, prefix, _, _, index = _IFADDRMSG.unpack_from(message.body)
        values = attributes(message.body, _IFADDRMSG.size)
        packed = values.get(IFA_LOCAL) or values.get(IFA_ADDRESS)
        if packed:
            found.append(Address(index, ipaddress.ip_interface(f"{ipaddress.ip_address(packed)}/{prefix}")))
    return found


def routes(route: Socket) -> list[Route]:
    """Every unicast route of every table but the local one, IPv4 and IPv6."""
    found = []
    for message in route.dump(Request("list routes", RTM_GETROUTE, 0, _RTMSG.pack(*(0,) * 9))):
        family, length, _, _, table, protocol, _, kind, _ = _RTMSG.unpack_from(message.body)
        if kind != RTN_UNICAST or family not in (socket.AF_INET, socket.AF_INET6):
            continue
        values = attributes(message.body, _RTMSG.size)
        zero = bytes(4 if family == socket.AF_INET else 16)
        base = ipaddress.ip_address(values.get(RTA_DST, zero))
        gateway = ipaddress.ip_address(values[RTA_GATEWAY]) if RTA_GATEWAY in values else None
        where = _number(values.get(RTA_TABLE)) or table
        network = ipaddress.ip_network(f"{base}/{length}")
        found.append(Route(network, gateway, _number(values.get(RTA_OIF)), where, protocol))
    return found
