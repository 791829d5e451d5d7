"""rtnetlink against this kernel, with pyroute2 as the second opinion, in throw-away namespaces."""

# ruff: noqa: F401, F811 - fixtures are imported

from __future__ import annotations

import errno
import ipaddress
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from pyroute2 import IPRoute

import netns
from corten.kernel import rtnetlink
from corten.kernel.netlink import NLM_F_ACK, Request, Socket, encode
from network_world import host


@pytest.fixture
def box() -> Iterator[netns.Net]:
    net = netns.Net()
    yield net
    net.close()


def _bridge(host: netns.Net, name: str = "br0") -> int:
    host.route.request(rtnetlink.bridge(name, "02:42:00:00:00:01", 1400))
    return next(link.ifindex for link in rtnetlink.links(host.route) if link.name == name)


def test_a_pair_is_made_in_one_message_with_both_ends_in_place(host: netns.Net, box: netns.Net) -> None:
    master = _bridge(host)
    host.route.request(
        rtnetlink.veth("v0", 4711, master, "eth0", 4712, "02:42:ac:11:00:02", box.fd, 1400), rtnetlink.up(4711)
    )
    box.route.request(
        rtnetlink.no_link_local(4712),
        rtnetlink.address(4712, ipaddress.ip_interface("172.17.0.2/16")),
        rtnetlink.up(4712),
        rtnetlink.route(4712, ipaddress.ip_address("172.17.0.1")),
    )
    with IPRoute() as oracle:
        (outer,) = oracle.get_links(4711)
        assert outer.get("ifname") == "v0"
        assert outer.get("master") == master
        assert outer.get(("linkinfo", "kind")) == "veth"
        assert (outer.get("num_tx_queues"), outer.get("num_rx_queues")) == (1, 1)
    with box.entered(), IPRoute() as oracle:
        (inner,) = oracle.get_links(4712)
        assert (inner.get("ifname"), inner.get("address"), inner.get("mtu")) == ("eth0", "02:42:ac:11:00:02", 1400)
        assert (inner.get("num_tx_queues"), inner.get("num_rx_queues")) == (1, 1)
        (address,) = oracle.get_addr(index=4712)
        assert (address.get("local"), address["prefixlen"], address.get("broadcast")) == (
            "172.17.0.2",
            16,
            "172.17.255.255",
        )
        (default,) = oracle.get_default_routes()
        assert (default.get("gateway"), default.get("oif")) == ("172.17.0.1", 4712)


def test_links_addresses_and_routes_as_the_oracle_sees_them(host: netns.Net) -> None:
    with IPRoute() as oracle:
        oracle.link("add", ifname="a0", kind="veth", peer="b0")
        index = oracle.link_lookup(ifname="a0")[0]
        oracle.addr("add", index=index, address="10.9.0.1", prefixlen=24)
        oracle.addr("add", index=index, address="fd00:9::1", prefixlen=64)
        oracle.link("set", index=index, state="up", ifalias="some words")
        oracle.route("add", dst="10.10.0.0/16", gateway="10.9.0.9")
    (found,) = [link for link in rtnetlink.links(host.route) if link.name == "a0"]
    assert (found.ifindex, found.kind, found.up, found.alias) == (index, "veth", True, "some words")
    addresses = {str(a.interface) for a in rtnetlink.addresses(host.route) if a.ifindex == index}
    assert {"10.9.0.1/24", "fd00:9::1/64"} <= addresses
    routes = {str(r.destination): r for r in rtnetlink.routes(host.route)}
    assert str(routes["10.10.0.0/16"].gateway) == "10.9.0.9"
    assert routes["10.9.0.0/24"].ifindex == index
    assert rtnetlink.link_name(host.route, index) == "a0"
    assert rtnetlink.link_name(host.route, 99999) is None


def test_bridge_settings(host: netns.Net, box: netns.Net) -> None:
    master = _bridge(host)
    host.route.request(rtnetlink.route_localnet(master), rtnetlink.alias("br0", "corten x"))
    host.route.request(rtnetlink.veth("v0", 4711, master, "eth0", 4712, "02:42:ac:11:00:02", box.fd))
    host.route.request(rtnetlink.isolate_port(4711), rtnetlink.no_link_local(4711), rtnetlink.up(4711))
    host.route.request(rtnetlink.hairpin_port(4711))
    assert Path("/proc/sys/net/ipv4/conf/br0/route_localnet").read_text().strip() == "1"
    assert Path("/proc/sys/net/ipv6/conf/v0/addr_gen_mode").read_text().strip() == "1"
    port = host.run("bridge", "-d", "link", "show", "dev", "v0")
    assert "isolated on" in port
    assert "hairpin on" in port
    with IPRoute() as oracle:
        (bridge,) = oracle.get_links(master)
        assert bridge.get("ifalias") == "corten x"
        assert bridge.get("address") == "02:42:00:00:00:01"


def test_an_ipv4_device_gets_no_ipv6_address(host: netns.Net, box: netns.Net) -> None:
    master = _bridge(host)
    host.route.request(rtnetlink.up(master))
    host.route.request(rtnetlink.veth("v0", 4711, master, "eth0", 4712, "02:42:ac:11:00:02", box.fd))
    host.route.request(rtnetlink.no_link_local(4711), rtnetlink.up(4711))
    box.route.request(rtnetlink.no_link_local(4712), rtnetlink.up(4712))
    assert [a for a in rtnetlink.addresses(box.route) if a.ifindex == 4712] == []
    assert [a for a in rtnetlink.addresses(host.route) if a.ifindex == 4711] == []


def test_default_route_is_replaced_and_deleted(host: netns.Net, box: netns.Net) -> None:
    master = _bridge(host)
    for number, ip in ((4711, "10.1.0.2/24"), (4712, "10.2.0.2/24")):
        host.route.request(
            rtnetlink.veth(f"v{number}", number, master, f"eth{number}", number + 100, "02:42:ac:11:00:02", box.fd)
        )
        box.route.request(rtnetlink.address(number + 100, ipaddress.ip_interface(ip)), rtnetlink.up(number + 100))
    box.route.request(rtnetlink.route(4811, ipaddress.ip_address("10.1.0.1"), replace=True))
    box.route.request(rtnetlink.route(4812, ipaddress.ip_address("10.2.0.1"), replace=True))
    defaults = [r for r in rtnetlink.routes(box.route) if r.destination.prefixlen == 0]
    assert [str(r.gateway) for r in defaults] == ["10.2.0.1"]
    box.route.request(rtnetlink.delete_route(4812))
    assert [r for r in rtnetlink.routes(box.route) if r.destination.prefixlen == 0] == []


def test_a_permanent_neighbour(host: netns.Net) -> None:
    index = _bridge(host)
    host.route.request(rtnetlink.up(index))
    host.route.request(rtnetlink.neighbour(index, ipaddress.ip_address("10.3.0.9"), "02:00:00:00:00:09"))
    with IPRoute() as oracle:
        (entry,) = oracle.get_neighbours(ifindex=index, dst="10.3.0.9")
        assert entry.get("lladdr") == "02:00:00:00:00:09"


def test_an_error_has_the_errno_the_request_and_the_kernels_words(host: netns.Net) -> None:
    _bridge(host)
    with pytest.raises(FileExistsError, match="create bridge br0"):
        _bridge(host)
    with pytest.raises(OSError) as refused:
        host.route.request(rtnetlink.delete_link(name="nothing0"))
    assert refused.value.errno == errno.ENODEV
    with pytest.raises(OSError, match=r"\(.+\) in add route") as explained:
        host.route.request(rtnetlink.route(1, ipaddress.ip_address("192.0.2.99")))
    assert explained.value.errno in (errno.ENETUNREACH, errno.EINVAL)


def test_later_requests_are_done_although_one_failed(host: netns.Net) -> None:
    index = _bridge(host)
    with pytest.raises(OSError):
        host.route.request(rtnetlink.delete_link(424242), rtnetlink.up(index))
    assert next(link for link in rtnetlink.links(host.route) if link.ifindex == index).up


def test_a_socket_made_elsewhere_stays_in_its_namespace(host: netns.Net, box: netns.Net) -> None:
    with Socket(fd=box.route.fileno()) as again:
        assert [link.name for link in rtnetlink.links(again)] == ["lo"]
        again.request(rtnetlink.bridge("inner0", "02:00:00:00:00:01"))
    assert "inner0" in [link.name for link in rtnetlink.links(box.route)]  # and closing it left the original open
    assert "inner0" not in [link.name for link in rtnetlink.links(host.route)]


def test_answers_to_another_are_not_taken(host: netns.Net) -> None:
    """Its first request had the number of ours, and it has not read what the kernel said."""
    index = _bridge(host)
    with socket.socket(fileno=os.dup(host.route.fileno())) as another:
        another.send(encode([Request("nonsense", 4095, NLM_F_ACK, bytes(16))], 1))
    with Socket(fd=host.route.fileno()) as ours:
        ours.request(rtnetlink.up(index))


def test_an_unknown_message_is_refused_and_not_waited_for(host: netns.Net) -> None:
    with pytest.raises(OSError) as refused:
        host.route.request(Request("nonsense", 4095, 0, bytes(16)))
    assert refused.value.errno == errno.EOPNOTSUPP


def _watching(host: netns.Net, filtered: bool) -> Socket:
    with host.entered():
        made = Socket()
    if filtered:
        made.filter(rtnetlink.BAD_NEWS)
    for group in (rtnetlink.RTNLGRP_LINK, rtnetlink.RTNLGRP_IPV4_IFADDR):
        made.join(group)
    return made


def _news(watching: Socket, known: int) -> list[rtnetlink.Change]:
    found = (rtnetlink.change(message, [[known]]) for message in watching.notifications())
    return [change for change in found if change is not None]


def test_a_pair_that_is_made_and_used_is_little_news(host: netns.Net, box: netns.Net) -> None:
    master = _bridge(host)
    host.route.request(rtnetlink.up(master))
    with _watching(host, True) as watching, _watching(host, False) as everything:
        host.route.request(
            rtnetlink.veth("v0", 4711, master, "eth0", 4712, "02:42:ac:11:00:02", box.fd, 1400), rtnetlink.up(4711)
        )
        box.route.request(rtnetlink.address(4712, ipaddress.ip_interface("172.17.0.2/16")), rtnetlink.up(4712))
        assert 0 < 2 * len(watching.notifications()) <= len(everything.notifications())
        host.run("ip", "link", "delete", "v0")
        assert rtnetlink.Change(4711, gone=True) in _news(watching, 4711)


def test_what_others_do_to_bridges_and_ports_is_news(host: netns.Net, box: netns.Net) -> None:
    master, other = _bridge(host), _bridge(host, "br1")
    host.route.request(rtnetlink.up(master), rtnetlink.address(master, ipaddress.ip_interface("172.17.0.1/16")))
    host.route.request(
        rtnetlink.veth("v0", 4711, master, "eth0", 4712, "02:42:ac:11:00:02", box.fd, 1400), rtnetlink.up(4711)
    )
    with _watching(host, True) as watching:
        host.run("ip", "link", "set", "v0", "master", "br1")
        assert any(change.master not in (master, other) for change in _news(watching, 4711))
        host.run("ip", "link", "set", "v0", "nomaster")
        assert any(not change.master for change in _news(watching, 4711))
        host.run("ip", "link", "set", "br0", "down")
        assert any(change.down for change in _news(watching, master))
        host.run("ip", "address", "flush", "dev", "br0")
        assert any(change.readdressed for change in _news(watching, master))
