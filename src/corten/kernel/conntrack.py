"""Connection tracking's table, over nfnetlink: forget the flows of an address, or of a port.

A flow that is known keeps being translated as it was when it began, whatever the rules say since: to an address that
another container has now, or (UDP, where a flow ends only by silence) not at all.
Source: include/uapi/linux/netfilter/nfnetlink_conntrack.h.
"""

from __future__ import annotations

import errno
import ipaddress
import struct
from collections.abc import Iterator

from corten.kernel.netlink import Message, Request, Socket, attributes, nest, u8
from corten.kernel.netlink import attribute as raw

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

_SUBSYSTEM = 1 << 8
_GET, _DELETE = 1, 2
_TUPLE_ORIG, _TUPLE_REPLY, _ID, _ZONE, _FILTER = 1, 2, 12, 18, 25
_TUPLE_IP, _TUPLE_PROTO = 1, 2
_PROTO_NUM, _PROTO_DST_PORT = 1, 3
_FILTER_ORIG, _FILTER_REPLY = 1, 2
_BY_SOURCE, _BY_PROTOCOL, _BY_DESTINATION_PORT = 1 << 0, 1 << 3, 1 << 5
UDP = 17
AF_INET, AF_INET6 = 2, 10


def forget_address(table: Socket, ip: IPAddress) -> None:
    """Every flow whose answers come from this address: what led to it, by translation or directly."""
    family = AF_INET if ip.version == 4 else AF_INET6
    source = raw(1 if ip.version == 4 else 3, ip.packed)
    _forget(table, family, nest(_TUPLE_REPLY, nest(_TUPLE_IP, source)), 0, _BY_SOURCE, f"flows from {ip}")


def forget_udp_port(table: Socket, family: int, port: int) -> None:
    """Every UDP flow that began with a packet to this port."""
    which = nest(_TUPLE_PROTO, u8(_PROTO_NUM, UDP), raw(_PROTO_DST_PORT, struct.pack(">H", port)))
    flags = _BY_PROTOCOL | _BY_DESTINATION_PORT
    _forget(table, family, nest(_TUPLE_ORIG, which), flags, 0, f"flows to udp port {port}")


def _forget(table: Socket, family: int, which: bytes, orig: int, reply: int, name: str) -> None:
    """In one request where the kernel filters deletions (Linux 6.8), else one by one."""
    chosen = which + nest(_FILTER, _u32(_FILTER_ORIG, orig), _u32(_FILTER_REPLY, reply))
    try:
        table.request(_request(_DELETE, family, chosen, f"delete {name}"))
        return
    except FileNotFoundError:
        return
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
            raise
    for message in table.dump(_request(_GET, family, chosen, f"list {name}")):
        try:
            table.request(_request(_DELETE, family, b"".join(_identity(message)), f"delete one of {name}"))
        except FileNotFoundError:
            continue  # it ended meanwhile


def _identity(message: Message) -> Iterator[bytes]:
    found = attributes(message.body, 4)
    for kind in (_TUPLE_ORIG, _ID, _ZONE):
        if kind in found:
            yield raw(kind | (0x8000 if kind == _TUPLE_ORIG else 0), found[kind])


def _u32(kind: int, value: int) -> bytes:
    return raw(kind, struct.pack("=I", value))  # these flags, unlike the rest, are in the machine's byte order


def _request(kind: int, family: int, body: bytes, name: str) -> Request:
    return Request(f"conntrack {name}", _SUBSYSTEM | kind, 0, struct.pack(">BBH", family, 0, 0) + body)
