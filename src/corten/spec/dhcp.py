"""DHCP (RFC 2131, 2132) as a server of one client speaks it, in whole Ethernet frames. Pure.

asked = parse(frame)                     # None for what is no request of a client
if asked and (frame := answer(asked, lease)): ...
"""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Sequence
from typing import NamedTuple

from corten.spec import udp

CLIENT, SERVER = 68, 67  # ports
DISCOVER, OFFER, REQUEST, ACK, NAK, INFORM = 1, 2, 3, 5, 6, 8
_COOKIE = b"\x63\x82\x53\x63"
_BOOTP = struct.Struct("!BBBBIHH4s4s4s4s16s64s128s")
_ETHERNET = 14
_MOST = 1500
_BROADCAST = 0x8000
_SECONDS = 86400  # of a lease
# Options
_MASK, _ROUTER, _SERVERS, _NAME, _MTU, _ADDRESS, _LEASE, _KIND, _ID, _END = 1, 3, 6, 12, 26, 50, 51, 53, 54, 255


class Lease(NamedTuple):
    """What the client is given. `gateway` and `mtu` empty or 0: none. `server` is what the answers come from."""

    mac: str
    address: str
    prefix: int
    gateway: str
    servers: Sequence[str]
    name: str
    mtu: int
    server: str


class Asked(NamedTuple):
    """`wanted` is the address that it asks for, or has; "0.0.0.0" for none."""

    kind: int
    transaction: int
    flags: int
    mac: bytes
    wanted: str
    server: str


def parse(frame: bytes) -> Asked | None:
    """An Ethernet frame from a client, whatever it is."""
    if not _ETHERNET + 28 < len(frame) <= _MOST + _ETHERNET or frame[12:14] != b"\x08\0":
        return None
    header = (frame[_ETHERNET] & 15) * 4
    start = _ETHERNET + header
    if (
        frame[_ETHERNET] >> 4 != 4
        or header < 20
        or frame[_ETHERNET + 9] != 17
        or len(frame) < start + 8 + _BOOTP.size + 4
    ):
        return None
    if int.from_bytes(frame[start + 2 : start + 4], "big") != SERVER:
        return None
    body = frame[start + 8 :]
    op, kind, length, _, transaction, _, flags, has, _, _, _, hardware, _, _ = _BOOTP.unpack_from(body)
    if (op, kind, length) != (1, 1, 6) or body[_BOOTP.size : _BOOTP.size + 4] != _COOKIE:
        return None
    options = _options(body[_BOOTP.size + 4 :])
    if len(options.get(_KIND, b"")) != 1:
        return None
    wanted = options.get(_ADDRESS, has)
    server = options.get(_ID, bytes(4))
    if len(wanted) != 4 or len(server) != 4:
        return None
    found = (str(ipaddress.IPv4Address(raw)) for raw in (wanted, server))
    return Asked(options[_KIND][0], transaction, flags, hardware[:6], *found)


def _options(data: bytes) -> dict[int, bytes]:
    found, at = {}, 0
    while at < len(data) and data[at] != _END:
        if data[at] == 0:
            at += 1
            continue
        if at + 2 > len(data) or at + 2 + data[at + 1] > len(data):
            break
        found[data[at]] = data[at + 2 : at + 2 + data[at + 1]]
        at += 2 + data[at + 1]
    return found


def answer(asked: Asked, lease: Lease) -> bytes | None:
    """The frame; None where a server is silent: another client's, or an answer to another server's offer."""
    if asked.mac.hex(":") != lease.mac or asked.server not in ("0.0.0.0", lease.server):
        return None
    match asked.kind:
        case 1:
            kind = OFFER
        case 3:
            kind = ACK if asked.wanted in (lease.address, "0.0.0.0") else NAK
        case 8:
            kind = ACK
        case _:
            return None
    return _frame(asked, lease, kind)


def _frame(asked: Asked, lease: Lease, kind: int) -> bytes:
    own, its = (ipaddress.IPv4Address(text).packed for text in (lease.server, lease.address))
    given = bytes(4) if kind == NAK or asked.kind == INFORM else its
    body = _BOOTP.pack(
        2, 1, 6, 0, asked.transaction, 0, asked.flags, bytes(4), given, own, bytes(4), asked.mac, b"", b""
    )
    body += _COOKIE + _option(_KIND, bytes((kind,))) + _option(_ID, own)
    if kind != NAK:
        body += _lease(lease, asked.kind != INFORM)
    body += bytes((_END,))
    to = b"\xff\xff\xff\xff" if asked.flags & _BROADCAST or kind == NAK else its
    target = b"\xff" * 6 if to == b"\xff\xff\xff\xff" else asked.mac
    return udp.made(udp.Datagram(b"\x02\x42" + own, target, own, to, SERVER, CLIENT, body))


def _lease(lease: Lease, timed: bool) -> bytes:
    mask = ipaddress.IPv4Network((0, lease.prefix)).netmask.packed
    made = _option(_LEASE, struct.pack("!I", _SECONDS)) if timed else b""
    made += _option(_MASK, mask)
    if lease.gateway:
        made += _option(_ROUTER, ipaddress.IPv4Address(lease.gateway).packed)
    servers = [ipaddress.ip_address(text) for text in lease.servers]
    if packed := b"".join(server.packed for server in servers if server.version == 4)[:64]:
        made += _option(_SERVERS, packed)
    if lease.name:
        made += _option(_NAME, lease.name.encode()[:63])
    return made + (_option(_MTU, struct.pack("!H", lease.mtu)) if lease.mtu else b"")


def _option(number: int, value: bytes) -> bytes:
    return bytes((number, len(value))) + value
