"""Which containers do not reach one another, and addresses."""

from __future__ import annotations

import json
from collections.abc import Callable

from e2e_parts.clients import Client
from e2e_parts.cortend import IMAGE
from e2e_parts.webs import address, ask, fetched, idle, inside, resolves, serve, subnet


def test_networks_do_not_reach_each_other(docker: Client, net: Callable[..., str]) -> None:
    here, there = net(), net()
    serve(docker, "web", "--network", there)
    idle(docker, "client", "--network", here)
    assert not resolves(docker, "client", "web")
    assert ask(docker, "client", address(docker, "web", there), code=None) == ""
    docker("network", "connect", here, "web")
    assert ask(docker, "client", "web") == "hello from web"


def test_an_internal_network_has_no_way_out(docker: Client, net: Callable[..., str]) -> None:
    inner, outer = net("--internal"), net()
    serve(docker, "web", "--network", inner)
    serve(docker, "outside", "--network", outer)
    idle(docker, "client", "--network", inner)
    assert ask(docker, "client", "web") == "hello from web"
    assert ask(docker, "client", address(docker, "outside", outer), code=None) == ""
    assert "default" not in inside(docker, "client", "ip", "route")
    assert "REFUSED" in docker("exec", "client", "nslookup", "example.com", code=None).out, "no server was waited for"


def test_without_icc_neighbours_are_strangers(docker: Client, net: Callable[..., str]) -> None:
    network = net("-o", "com.docker.network.bridge.enable_icc=false")
    serve(docker, "web", "--network", network)
    idle(docker, "client", "--network", network)
    assert ask(docker, "client", address(docker, "web", network), code=None) == ""


def test_a_container_takes_no_router_advertisements(docker: Client) -> None:
    idle(docker, "one")
    for device in ("all", "default", "eth0"):
        assert inside(docker, "one", "cat", f"/proc/sys/net/ipv6/conf/{device}/accept_ra") == "0"


def test_static_addresses(docker: Client, net: Callable[..., str]) -> None:
    three = subnet()
    network = net("--subnet", f"{three}.0/24", "--gateway", f"{three}.254", "--ip-range", f"{three}.128/25")
    idle(docker, "fixed", "--network", network, "--ip", f"{three}.7")
    idle(docker, "free", "--network", network)
    assert address(docker, "fixed", network) == f"{three}.7"
    assert address(docker, "free", network) == f"{three}.128"
    assert f"default via {three}.254" in inside(docker, "fixed", "ip", "route")
    taken = docker("run", "--rm", "--network", network, "--ip", f"{three}.7", IMAGE, "true", code=125)
    assert "already in use" in taken.err
    docker("restart", "-t", "0", "fixed")
    assert address(docker, "fixed", network) == f"{three}.7"


def test_two_families(docker: Client, net: Callable[..., str]) -> None:
    network = net("--ipv6")
    serve(docker, "web", "--network", network)
    idle(docker, "client", "--network", network)
    shown = json.loads(docker.out("inspect", "web"))[0]["NetworkSettings"]["Networks"][network]
    assert shown["GlobalIPv6Address"].startswith("fd")
    assert shown["GlobalIPv6Address"] in inside(docker, "client", "nslookup", "web")
    docker("exec", "client", "ping", "-6", "-c1", "-W20", shown["GlobalIPv6Address"])


def test_ports_are_published_on_user_defined_networks(docker: Client, net: Callable[..., str]) -> None:
    serve(docker, "web", "--network", net(), "-p", "127.0.0.1::80")
    assert fetched(docker.out("port", "web", "80")) == "hello from web"
