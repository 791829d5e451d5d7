"""Rates as users write them, and the message that sets one."""

from __future__ import annotations

import errno
import struct

import pytest

from corten.errors import Invalid, Unsupported
from corten.kernel.netlink import Request
from corten.kernel.qdisc import token_bucket
from corten.network.rate import Rate, bucket, parse, send


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
        ("delay=5ms,jitter=20us", Rate(delay=5_000_000, jitter=20_000)),
        ("egress=1mbit,delay=none", Rate(egress=1_000_000)),
    ],
)
def test_rates(text: str, wanted: Rate) -> None:
    assert parse(text) == wanted


@pytest.mark.parametrize(
    "text",
    [
        "10",
        "10m",
        "-1mbit",
        "1bit",
        "99tbit",
        "up=1mbit",
        "egress=",
        "egress=1mbit,egress=2mbit",
        "delay=5",
        "delay=61s",
        "jitter=1ms",
        "delay=1ms,jitter=2ms",
    ],
)
def test_what_is_no_rate(text: str) -> None:
    with pytest.raises(Invalid):
        parse(text)


class Kernel:
    """A socket that keeps what is asked, and refuses it as a kernel without the queue does."""

    def __init__(self, refusal: int = 0) -> None:
        self.asked: list[Request] = []
        self._refusal = refusal

    def request(self, *requests: Request) -> None:
        self.asked += requests
        if self._refusal:
            raise OSError(self._refusal, "")


def test_latency_names_what_is_missing() -> None:
    with pytest.raises(Unsupported, match="netem"):
        send(Kernel(errno.ENOENT), 7, parse("egress=1mbit,delay=5ms"))  # type: ignore[arg-type]


def test_the_message_of_a_delay() -> None:
    """As tc(8) sends it: struct tc_netem_qopt, then the times in nanoseconds and struct tc_netem_rate."""
    kernel = Kernel()
    send(kernel, 7, parse("egress=8mbit,delay=5ms,jitter=300us"))  # type: ignore[arg-type]
    body = kernel.asked[0].body
    assert body[20:30] == b"\x0a\0\x01\0netem\0"
    assert struct.unpack_from("=HH", body, 32) == (len(body) - 32, 2)
    assert struct.unpack_from("=6I", body, 36) == (0, 10_000, 0, 0, 0, 0)
    assert body[60:72] == struct.pack("=HHq", 12, 10, 5_000_000)
    assert body[72:84] == struct.pack("=HHq", 12, 11, 300_000)
    assert body[84:] == struct.pack("=HHIiIi", 20, 6, 1_000_000, 0, 0, 0)


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
    assert bucket(7, 10**13).body  # the largest that can be asked for fits its fields
