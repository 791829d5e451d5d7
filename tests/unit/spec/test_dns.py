from __future__ import annotations

import ipaddress
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corten.errors import Corrupt
from corten.spec import dns

WEB = struct.pack(">HHHHHH", 0x1234, 0x0100, 1, 0, 0, 0) + b"\x03Web\x04shop\0" + struct.pack(">HH", 1, 1)


def test_a_question() -> None:
    assert dns.parse(WEB) == dns.Question(0x1234, 0x0100, "web.shop", dns.A, len(WEB))


@pytest.mark.parametrize(
    "message",
    [
        b"",
        WEB[:11],
        WEB[:-1],
        WEB[:14],
        WEB[:2] + b"\x81\x80" + WEB[4:],  # a response
        WEB[:2] + b"\x28\x00" + WEB[4:],  # an update
        WEB[:4] + b"\0\2" + WEB[6:],  # two questions
        WEB[:12] + b"\xc0\x0c" + bytes(4),  # a name that points at itself
        WEB[:12] + b"\x40" + b"a" * 64 + b"\0" + bytes(4),  # a label of 64 bytes
        WEB[:12] + (b"\x3f" + b"a" * 63) * 5 + b"\0" + bytes(4),  # a name above 255 bytes
    ],
)
def test_no_question(message: bytes) -> None:
    with pytest.raises(Corrupt):
        dns.parse(message)


@given(st.binary(max_size=300))
def test_garbage(data: bytes) -> None:
    try:
        question = dns.parse(data)
    except Corrupt:
        return
    assert question.end <= len(data)
    assert dns.parse(dns.refuse(data, question, dns.REFUSED)[:2] + b"\0\0\0\1" + bytes(6) + data[12 : question.end])


def test_addresses() -> None:
    question = dns.parse(WEB)
    reply = dns.addresses(WEB, question, [ipaddress.ip_address("10.0.0.2"), ipaddress.ip_address("10.0.0.3")])
    assert struct.unpack_from(">HHHHHH", reply) == (0x1234, 0x8180, 1, 2, 0, 0)
    assert reply[12 : len(WEB)] == WEB[12:]  # the question as it was asked, capitals too
    assert reply[len(WEB) :] == b"".join(
        struct.pack(">HHHIH", 0xC00C, 1, 1, 600, 4) + bytes((10, 0, 0, last)) for last in (2, 3)
    )
    assert struct.unpack_from(">HHHHHH", dns.addresses(WEB, question, [])) == (0x1234, 0x8180, 1, 0, 0, 0)


def test_what_does_not_fit_is_marked() -> None:
    question = dns.parse(WEB)
    many = [ipaddress.ip_address(f"10.0.0.{n}") for n in range(1, 200)]
    reply = dns.addresses(WEB, question, many)
    assert len(reply) <= 512
    assert struct.unpack_from(">H", reply, 2)[0] & 0x0200
    whole = dns.addresses(WEB, question, many, 65535)
    assert struct.unpack_from(">H", whole, 6)[0] == 199


@pytest.mark.parametrize(
    ("name", "address"),
    [
        ("2.0.17.172.in-addr.arpa", "172.17.0.2"),
        ("2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa", "fd00::2"),
        ("17.172.in-addr.arpa", None),
        ("300.0.17.172.in-addr.arpa", None),
        ("x.0.17.172.in-addr.arpa", None),
        ("web", None),
    ],
)
def test_reverse(name: str, address: str | None) -> None:
    assert dns.reverse(name) == (ipaddress.ip_address(address) if address else None)


def test_only_the_answer_to_this_question_counts() -> None:
    question = dns.parse(WEB)
    reply = dns.addresses(WEB, question, [])
    assert dns.answers(WEB, question, reply, 0x1234)
    assert not dns.answers(WEB, question, reply, 0x1235)
    assert not dns.answers(WEB, question, WEB, 0x1234)  # not a response
    assert not dns.answers(WEB, question, reply.replace(b"shop", b"evil"), 0x1234)
    assert not dns.answers(WEB, question, reply[:8], 0x1234)
