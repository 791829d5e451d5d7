from __future__ import annotations

import pytest

from corten.errors import Invalid
from corten.network import files

HOST = """# made by something
nameserver 127.0.0.53
nameserver 192.0.2.53   ; a comment
nameserver fe80::1%eth0
nameserver 2001:db8::53
nameserver rubbish
search corp.example example
options edns0 trust-ad
"""


def test_hosts_as_docker_writes_it() -> None:
    assert files.hosts(
        ["172.17.0.2", "", "fd00::2"], "web", extra=["db:10.0.0.9", "up:host-gateway"], host_gateway="172.17.0.1"
    ) == (
        "127.0.0.1\tlocalhost\n"
        "::1\tlocalhost ip6-localhost ip6-loopback\n"
        "fe00::\tip6-localnet\n"
        "ff00::\tip6-mcastprefix\n"
        "ff02::1\tip6-allnodes\n"
        "ff02::2\tip6-allrouters\n"
        "10.0.0.9\tdb\n"
        "172.17.0.1\tup\n"
        "172.17.0.2\tweb\n"
        "fd00::2\tweb\n"
    )


@pytest.mark.parametrize(
    ("hostname", "domain", "line"),
    [("web", "example.org", "web.example.org web"), ("web.example.org", "", "web.example.org web"), ("web", "", "web")],
)
def test_domain_names(hostname: str, domain: str, line: str) -> None:
    assert files.hosts(["10.0.0.2"], hostname, domain).endswith(f"10.0.0.2\t{line}\n")


@pytest.mark.parametrize("entry", ["db", "db:", ":10.0.0.1", "db:10.0.0.256", "a b:10.0.0.1", "x\n:10.0.0.1"])
def test_bad_extra_hosts(entry: str) -> None:
    with pytest.raises(Invalid):
        files.hosts([], "web", extra=[entry])


def test_extra_hosts_with_ipv6() -> None:
    assert files.parse_extra_host("db:[fd00::9]") == ("db", "fd00::9")
    assert files.parse_extra_host("db:fd00::9") == ("db", "fd00::9")


def test_host_gateway_needs_a_bridge() -> None:
    with pytest.raises(Invalid, match="way to the host"):
        files.hosts([], "web", extra=["up:host-gateway"])


def test_loopback_servers_are_left_out() -> None:
    assert files.resolv_conf(HOST) == (
        "nameserver 192.0.2.53\nnameserver 2001:db8::53\nsearch corp.example example\noptions edns0 trust-ad\n"
    )
    assert files.resolv_conf(HOST, ipv6=False).startswith("nameserver 192.0.2.53\nsearch")


def test_nothing_left_means_public_servers() -> None:
    assert files.resolv_conf("nameserver 127.0.0.53\n") == "nameserver 8.8.8.8\nnameserver 8.8.4.4\n"
    assert files.resolv_conf("") == "nameserver 8.8.8.8\nnameserver 8.8.4.4\n"


def test_options_replace_the_hosts() -> None:
    assert files.resolv_conf(HOST, ["9.9.9.9"], ["."], ["ndots:2"]) == "nameserver 9.9.9.9\noptions ndots:2\n"


def test_the_embedded_server_stands_alone() -> None:
    text = files.resolv_conf(HOST, embedded=True)
    assert text == "nameserver 127.0.0.11\nsearch corp.example example\noptions edns0 trust-ad ndots:0\n"
    assert files.upstreams(HOST, ipv6=False) == ["192.0.2.53"]
