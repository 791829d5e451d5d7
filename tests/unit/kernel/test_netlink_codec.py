"""The netlink codec, without a socket; bytes as the kernel's headers define them."""

from __future__ import annotations

import errno
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corten.kernel import netlink, nft, rtnetlink
from corten.kernel.netlink import Answer, Message, Request


def test_an_attribute_is_padded_and_its_length_is_not() -> None:
    assert netlink.attribute(3, b"lo\0") == struct.pack("=HH", 7, 3) + b"lo\0\0"
    assert netlink.string(3, "eth0") == struct.pack("=HH", 9, 3) + b"eth0\0\0\0\0"
    assert netlink.attributes(netlink.string(3, "eth0") + netlink.u32(4, 1500)) == {
        3: b"eth0\0",
        4: struct.pack("=I", 1500),
    }


def test_nested_attributes_read_as_their_type() -> None:
    outer = netlink.nest(18, netlink.string(1, "veth"))
    assert struct.unpack_from("=HH", outer)[1] == 18 | 0x8000
    assert netlink.attributes(netlink.attributes(outer)[18]) == {1: b"veth\0"}


@given(st.lists(st.tuples(st.integers(0, 65535), st.binary(max_size=40)), max_size=8), st.integers(1, 1 << 31))
def test_messages_come_back(rows: list[tuple[int, bytes]], sequence: int) -> None:
    data = netlink.encode([Request("x", kind, 4, body) for kind, body in rows], sequence)
    found = list(netlink.messages(data))
    assert found == [Message(kind, 5, sequence + n, 0, body) for n, (kind, body) in enumerate(rows)]


@given(st.binary(max_size=200))
def test_garbage_is_an_error_and_no_loop(data: bytes) -> None:
    for read in (netlink.messages, netlink.attribute_list):
        try:
            list(read(data))
        except OSError as error:
            assert error.errno == errno.EBADMSG


def test_a_cut_off_message() -> None:
    whole = netlink.encode([Request("x", 16, 0, bytes(20))], 1)
    with pytest.raises(OSError, match="36 bytes"):
        list(netlink.messages(whole[:-4]))


@pytest.mark.parametrize("capped", [True, False])
def test_an_extended_acknowledgement(capped: bool) -> None:
    request = struct.pack("=IHHII", 24, 16, 5, 7, 0)
    repeated = request if capped else request + bytes(8)
    body = struct.pack("=i", -errno.EBUSY) + repeated + netlink.string(1, "it is busy")
    flags = 0x200 | (0x100 if capped else 0)
    assert netlink.answer(Message(2, flags, 7, 0, body)) == Answer(errno.EBUSY, "it is busy")
    assert netlink.answer(Message(2, 0x100, 7, 0, struct.pack("=i", 0) + request)) == Answer(0, "")


def test_the_first_failure_is_raised_with_its_request() -> None:
    requests = [Request("one", 1, 0, b""), Request("two", 1, 0, b""), Request("three", 1, 0, b"")]
    answers = [Answer(0, ""), Answer(errno.EEXIST, "why"), Answer(errno.EPERM, "")]
    with pytest.raises(FileExistsError, match=r"File exists \(why\) in two"):
        netlink.raise_first(requests, answers)
    with pytest.raises(OSError, match=r"no answer.*three"):
        netlink.raise_first(requests, [Answer(0, ""), Answer(0, ""), None])


def test_a_veth_request_holds_the_peer_and_its_namespace() -> None:
    made = rtnetlink.veth("v0", 70, 5, "eth0", 71, "02:42:ac:11:00:02", 9, 1400)
    outer = netlink.attributes(made.body, 16)
    assert (netlink.text(outer[3]), outer[10]) == ("v0", struct.pack("=I", 5))
    peer = netlink.attributes(netlink.attributes(outer[18])[2])[1]
    assert struct.unpack_from("=BxHiII", peer)[2] == 71
    inner = netlink.attributes(peer, 16)
    assert (netlink.text(inner[3]), inner[1].hex(":"), inner[28]) == ("eth0", "02:42:ac:11:00:02", struct.pack("=I", 9))


@pytest.mark.parametrize("mac", ["", "02:42", "02:42:ac:11:00:02:03", "zz:42:ac:11:00:02"])
def test_no_mac(mac: str) -> None:
    with pytest.raises(ValueError):
        rtnetlink.mac_bytes(mac)


def test_values_of_concatenations_are_padded_to_registers() -> None:
    assert nft.value(b"\x06", nft.port(80)) == b"\x06\0\0\0\0\x50\0\0"
    assert nft.value(nft.port(80)) == b"\0\x50"
    assert nft.ifname("eth0") == b"eth0" + bytes(12)
    with pytest.raises(ValueError, match="longer than 15"):
        nft.ifname("x" * 16)
