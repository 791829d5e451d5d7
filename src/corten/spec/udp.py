"""UDP in IPv4 in an Ethernet frame (RFC 768, 791), as a tap has it. Pure.

came = parse(frame)                       # None for what is none, or not whole
frame = made(came._replace(...))
"""

from __future__ import annotations

import struct
from typing import NamedTuple

_ETHERNET, _UDP, _PROTOCOL = 14, 8, 17
MOST = 1500 - 20 - _UDP  # bytes of content in one frame


class Datagram(NamedTuple):
    """MACs and addresses as bytes."""

    source_mac: bytes
    target_mac: bytes
    source: bytes
    target: bytes
    source_port: int
    target_port: int
    content: bytes


def parse(frame: bytes) -> Datagram | None:
    if len(frame) < _ETHERNET + 28 or frame[12:14] != b"\x08\0" or frame[_ETHERNET] >> 4 != 4:
        return None
    start = _ETHERNET + (frame[_ETHERNET] & 15) * 4
    fragment = int.from_bytes(frame[_ETHERNET + 6 : _ETHERNET + 8], "big") & 0x3FFF
    if start < _ETHERNET + 20 or len(frame) < start + _UDP or frame[_ETHERNET + 9] != _PROTOCOL or fragment:
        return None
    source_port, target_port, length, _ = struct.unpack_from("!HHHH", frame, start)
    if not _UDP <= length <= len(frame) - start:
        return None
    own, its = frame[_ETHERNET + 12 : _ETHERNET + 16], frame[_ETHERNET + 16 : _ETHERNET + 20]
    return Datagram(frame[6:12], frame[:6], own, its, source_port, target_port, frame[start + _UDP : start + length])


def made(one: Datagram) -> bytes:
    """The frame; without a checksum of the content, as IPv4 allows."""
    udp = struct.pack("!HHHH", one.source_port, one.target_port, _UDP + len(one.content), 0)
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 28 + len(one.content), 0, 0, 64, _PROTOCOL, 0, one.source, one.target)
    head = head[:10] + struct.pack("!H", _checksum(head)) + head[12:]
    return one.target_mac + one.source_mac + b"\x08\0" + head + udp + one.content


def _checksum(data: bytes) -> int:
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
