"""DHCP's frames: what a client asks, and what it is answered."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corten.spec import dhcp, udp
from corten.spec.dhcp import ACK, DISCOVER, INFORM, NAK, OFFER, REQUEST, Lease

MAC = bytes.fromhex("0242ac110002")
LEASE = Lease("02:42:ac:11:00:02", "172.17.0.2", 16, "172.17.0.1", ("10.0.0.53", "fd00::53"), "web", 1450, "172.17.0.1")


def frame(kind: int, mac: bytes = MAC, options: bytes = b"", flags: int = 0, has: bytes = bytes(4)) -> bytes:
    body = struct.pack("!BBBBIHH", 1, 1, 6, 0, 0x1234, 0, flags) + has + bytes(12) + mac.ljust(16, b"\0") + bytes(192)
    body += b"\x63\x82\x53\x63" + bytes((53, 1, kind)) + options + b"\xff"
    udp = struct.pack("!HHHH", 68, 67, 8 + len(body), 0)
    head = struct.pack("!BBHHHBBH", 0x45, 0, 28 + len(body), 0, 0, 64, 17, 0) + bytes(4) + b"\xff" * 4
    return b"\xff" * 6 + mac + b"\x08\0" + head + udp + body


def said(data: bytes, lease: Lease = LEASE) -> tuple[int, str, dict[int, bytes]] | None:
    """Kind, address, options of the answer; its IP header's checksum has to be right."""
    asked = dhcp.parse(data)
    assert asked is not None
    if (answer := dhcp.answer(asked, lease)) is None:
        return None
    assert udp._checksum(answer[14:34]) == 0
    assert struct.unpack_from("!I", answer, 46)[0] == 0x1234
    options, at = {}, 42 + 240
    while answer[at] != 255:
        options[answer[at]] = answer[at + 2 : at + 2 + answer[at + 1]]
        at += 2 + answer[at + 1]
    return options[53][0], ".".join(map(str, answer[58:62])), options


def test_a_lease() -> None:
    offered = said(frame(DISCOVER))
    assert offered is not None
    kind, address, options = offered
    assert (kind, address) == (OFFER, "172.17.0.2")
    assert (
        options[1] == b"\xff\xff\0\0" and options[3] == bytes((172, 17, 0, 1)) and options[6] == bytes((10, 0, 0, 53))
    )
    assert options[12] == b"web" and options[26] == b"\x05\xaa" and options[51] == struct.pack("!I", 86400)
    request = frame(REQUEST, options=b"\x32\x04" + bytes((172, 17, 0, 2)) + b"\x36\x04" + bytes((172, 17, 0, 1)))
    granted = said(request)
    assert granted is not None and granted[:2] == (ACK, "172.17.0.2")


def test_another_address_is_refused_and_another_server_is_left_alone() -> None:
    refused = said(frame(REQUEST, options=b"\x32\x04\x0a\0\0\x09"))
    assert refused is not None and refused[0] == NAK and 1 not in refused[2]
    assert said(frame(REQUEST, options=b"\x36\x04\x0a\0\0\x01")) is None
    assert said(frame(DISCOVER, mac=b"\2" * 6)) is None
    informed = said(frame(INFORM, has=bytes((172, 17, 0, 2))))
    assert informed is not None and informed[:2] == (ACK, "0.0.0.0") and 51 not in informed[2]


def test_to_whom_it_goes() -> None:
    asked = dhcp.parse(frame(DISCOVER))
    loud = dhcp.parse(frame(DISCOVER, flags=0x8000))
    assert asked is not None and loud is not None
    one, all = dhcp.answer(asked, LEASE), dhcp.answer(loud, LEASE)
    assert one is not None and all is not None
    assert (one[:6], all[:6]) == (MAC, b"\xff" * 6) and all[30:34] == b"\xff" * 4


@pytest.mark.parametrize("cut", [0, 13, 14, 33, 41, 60, 281, 284])
def test_frames_that_are_cut_off(cut: int) -> None:
    assert dhcp.parse(frame(DISCOVER)[:cut]) is None


@given(st.binary(max_size=64), st.integers(0, 300), st.binary(max_size=40))
def test_whatever_comes_is_no_error(junk: bytes, at: int, options: bytes) -> None:
    data = frame(DISCOVER, options=options)
    asked = dhcp.parse(data[:at] + junk + data[at + len(junk) :])
    if asked is not None:
        dhcp.answer(asked, LEASE)
