"""Where the API is to listen, as -H says it."""

from __future__ import annotations

from pathlib import Path

import pytest

from corten.daemon import hosts
from corten.daemon.config import load
from corten.daemon.hosts import Host, PassedSockets, TcpHost, UnixHost
from corten.errors import Invalid


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("unix:///run/c.sock", UnixHost(Path("/run/c.sock"))),
        ("tcp://127.0.0.1:7000", TcpHost("127.0.0.1", 7000)),
        ("127.0.0.1:7000", TcpHost("127.0.0.1", 7000)),
        ("box.example:7000", TcpHost("box.example", 7000)),
        ("[::1]:7000", TcpHost("::1", 7000)),
        ("tcp://[2001:db8::1]", TcpHost("2001:db8::1", 2376)),
        (":7000", TcpHost("localhost", 7000)),
        ("box.example", TcpHost("box.example", 2376)),
        ("tcp://", TcpHost("localhost", 2376)),
    ],
)
def test_hosts(text: str, host: Host) -> None:
    assert hosts.parse(text) == host


def test_sockets_that_were_passed() -> None:
    assert isinstance(hosts.parse("fd://"), PassedSockets)


@pytest.mark.parametrize(
    "text",
    ["", "unix://", "npipe://x", "http://x:1", "/run/c.sock", "::1", "::1:80", "a b:1", "x:0", "x:65536", "x:y",
     "x:1/v1", "tcp://x:1/v1", "x:", "[::1]:x", "fd://cortend.socket"],
)  # fmt: skip
def test_no_hosts(text: str) -> None:
    with pytest.raises(Invalid, match="cannot listen on"):
        hosts.parse(text)
    with pytest.raises(Invalid, match="cannot listen on"):  # and --validate says so
        load(["-H", text])
