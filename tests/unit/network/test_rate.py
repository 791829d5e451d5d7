"""Rates as people write them, and the message that sets one."""

from __future__ import annotations

import struct

import pytest

from corten.errors import Invalid, Unsupported
from corten.kernel.qdisc import token_bucket
from corten.network.rate import Rate, bucket, parse


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", Rate()),
        ("none", Rate()),
        ("10mbit", Rate(10_000_000, 10_000_000)),
        ("8Kbit", Rate(8_000, 8_000)),
        ("2gbit/s", Rate(2 * 10**9, 2 * 10**9)),
        ("egress=1mbit", Rate(egress=1_000_000)),
        ("ingress=1mbit,egress=64kbit", Rate(egress=64_000, ingress=1_000_000)),
        ("egress=none,ingress=9mbit", Rate(ingress=9_000_000)),
    ],
)
def test_rates(text: str, wanted: Rate) -> None:
    assert parse(text) == wanted


@pytest.mark.parametrize(
    "text", ["10", "10m", "-1mbit", "1bit", "99tbit", "up=1mbit", "egress=", "egress=1mbit,egress=2mbit"]
)
def test_what_is_no_rate(text: str) -> None:
    with pytest.raises(Invalid):
        parse(text)


def test_latency_names_what_is_missing() -> None:
    with pytest.raises(Unsupported, match="netem"):
        parse("egress=1mbit,delay=5ms")


def test_the_message_of_a_token_bucket() -> None:
    """As tc(8) sends it: struct tcmsg, the kind, then struct tc_tbf_qopt with the rate in bytes a second."""
    body = token_bucket(7, 1_000_000, 20_000, 70_000).body
    assert struct.unpack_from("=BxxxiIII", body) == (0, 7, 0x10000, 0xFFFFFFFF, 0)
    assert body[20:28] == b"\x08\0\x01\0tbf\0"
    parms = body[32:]
    assert struct.unpack_from("=HH", parms) == (40, 1)
    assert struct.unpack_from("=I", parms, 4 + 8) == (1_000_000,)
    assert struct.unpack_from("=I", parms, 4 + 24) == (70_000,)
    assert parms[40:] == struct.pack("=HHI", 8, 6, 20_000)


def test_more_than_32_bits_of_rate() -> None:
    body = token_bucket(7, 5 * 10**9, 1, 1).body
    assert body.endswith(struct.pack("=HHQ", 12, 4, 5 * 10**9))
    assert bucket(7, 10**13).body  # the largest that can be wished for fits its fields
