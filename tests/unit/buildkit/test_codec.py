"""Protocol buffers: what is written is read, and any bytes are a message or refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corten.errors import Invalid
from corten.spec.protobuf import control, gateway, session
from corten.spec.protobuf.codec import number, varint
from corten.spec.protobuf.session import Packet, Stat

MESSAGES = (session.Packet, control.SolveRequest, control.StatusResponse, gateway.BridgeSolveRequest, gateway.Op)


def test_bytes_of_a_packet_as_a_client_of_docker_sends_it() -> None:
    """From protoc --decode of a recorded session: type STAT, a directory with Go's bit 31."""
    data = bytes.fromhex("12150a0373756210ed838080083080e8eda1ba01")
    with pytest.raises(Invalid):  # cut short: the length says 21
        Packet.decode(data)
    stat = bytes.fromhex("0a0373756210ed838080083080e8eda1ba01")
    found = Packet.decode(b"\x12" + bytes([len(stat)]) + stat)
    assert found.stat == Stat("sub", mode=0o755 | 1 << 31, modified=50_000_000_000)


def test_every_kind_of_field() -> None:
    stat = Stat("a", 1 << 31, 1, 2, -3, 4, "b", attributes={"user.x": b"\0"})
    packet = Packet(session.DATA, stat, 300, b"data")
    assert Packet.decode(packet.encode()) == packet
    request = control.SolveRequest(
        ref="r",
        definition=control.Definition([b"1", b"2"], {"k": b"v"}),
        attributes={"filename": "Dockerfile", "": ""},
        entitlements=["a", ""],
        inputs={"x": control.Definition([b"3"])},
        internal=True,
        exporters=[control.Exporter("moby", {"name": "x"}), control.Exporter()],
    )
    assert control.SolveRequest.decode(request.encode()) == request


def test_zero_values_are_not_written_and_an_empty_message_is() -> None:
    assert Packet().encode() == b""
    assert Packet(stat=Stat()).encode() == b"\x12\x00"


def test_unknown_fields_are_skipped() -> None:
    unknown = b"\x98\x06\x01" + b"\xa2\x06\x02xx" + b"\xa9\x06" + bytes(8) + b"\xad\x06" + bytes(4)
    assert Packet.decode(unknown + b"\x18\x05") == Packet(id=5)


REFUSED = {
    "a number that never ends": b"\x18" + b"\x80" * 11,
    "a number above 64 bits": b"\x18" + b"\xff" * 9 + b"\x7f",
    "a number that is cut off": b"\x18\x80",
    "bytes that are cut off": b"\x22\x05abc",
    "a length above all": b"\x22\xff\xff\xff\xff\x0f",
    "the field 0": b"\x00\x00",
    "a group": b"\x1b",
    "a text for a number": b"\x1a\x01x",
    "a number for a message": b"\x10\x01",
    "a text that is not UTF-8": b"\x12\x03\x0a\x01\xff",
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str) -> None:
    with pytest.raises(Invalid):
        Packet.decode(REFUSED[name])


def test_the_number_of_values_is_bounded() -> None:
    assert len(control.StatusResponse.decode(b"\x0a\x00" * 99_999).vertexes) == 99_999
    with pytest.raises(Invalid, match="more than 100000 values"):
        control.StatusResponse.decode(b"\x0a\x00" * 100_001)
    entry = b"\x18\x00" * 100_001  # of a map, with fields that it has not
    with pytest.raises(Invalid, match="more than 100000 values"):
        control.SolveRequest.decode(b"\x3a" + number(len(entry)) + entry)


@given(st.integers(-(1 << 63), (1 << 64) - 1))
def test_numbers(value: int) -> None:
    assert varint(number(value), 0) == (value % (1 << 64), len(number(value)))


@given(st.binary(max_size=200))
def test_any_bytes(data: bytes) -> None:
    for kind in MESSAGES:
        try:
            found = kind.decode(data)
        except Invalid:
            continue
        assert kind.decode(found.encode()) == found
