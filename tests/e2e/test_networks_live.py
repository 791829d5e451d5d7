"""Networks, ports and rates of containers that run."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable

import pytest

from e2e_parts.clients import Client
from e2e_parts.cortend import IMAGE, Cortend
from e2e_parts.webs import address, ask, fetched, idle, inside, resolves, serve, subnet
from fault_parts.fragile import until
from free_ports import free_port


def test_connect_and_disconnect_a_running_container(cli: Client, docker: Client, net: Callable[..., str]) -> None:
    three = subnet()
    first, second = net(), net("--subnet", f"{three}.0/24")
    serve(docker, "web", "--network", first)
    idle(docker, "client", "--network", second)
    cli("network", "connect", "--alias", "shop", "--ip", f"{three}.9", second, "web")
    assert ask(docker, "client", "shop") == "hello from web"
    assert address(cli, "web", second) == f"{three}.9"
    assert f"{three}.9" in inside(docker, "web", "cat", "/etc/hosts")
    old = address(docker, "web", first)
    cli("network", "disconnect", first, "web")
    assert f"default via {three}.1" in inside(docker, "web", "ip", "route")
    assert old not in inside(docker, "web", "cat", "/etc/hosts")
    assert list(json.loads(cli.out("inspect", "--format", "{{json .NetworkSettings.Networks}}", "web"))) == [second]
    cli("network", "disconnect", second, "web")
    assert inside(docker, "web", "ip", "-o", "link").count("\n") == 0
    assert not resolves(docker, "client", "shop")


def test_a_container_of_the_default_network_gets_names_when_connected(docker: Client, net: Callable[..., str]) -> None:
    network = net()
    serve(docker, "web", "--network", network)
    idle(docker, "client")
    assert "127.0.0.11" not in inside(docker, "client", "cat", "/etc/resolv.conf")
    docker("network", "connect", network, "client")
    assert ask(docker, "client", "web") == "hello from web"


def test_a_network_wished_for_while_stopped_is_there_at_the_start(docker: Client, net: Callable[..., str]) -> None:
    first, second = net(), net()
    docker("create", "--name", "web", "--network", first, IMAGE, "sleep", "1000")
    docker("network", "connect", second, "web")
    docker("start", "web")
    assert address(docker, "web", first) and address(docker, "web", second)
    assert inside(docker, "web", "ip", "-o", "link").count(": eth") == 2


def test_ports_move_to_another_network_with_a_way_out(cli: Client, docker: Client, net: Callable[..., str]) -> None:
    first, second, inner = net(), net(), net("--internal")
    serve(docker, "web", "--network", first, "-p", "127.0.0.1::80")
    for network in (inner, second):
        cli("network", "connect", network, "web")
    cli("network", "disconnect", first, "web")
    assert fetched(docker.out("port", "web", "80")) == "hello from web"
    cli("network", "disconnect", second, "web")
    assert docker.out("port", "web") == ""


def test_published_ports_change_while_it_runs(corten: Client, docker: Client, net: Callable[..., str]) -> None:
    port = free_port()  # one that no other daemon chooses when it is free again
    serve(docker, "web", "--network", net(), "-p", f"127.0.0.1:{port}:80")
    first = docker.out("port", "web", "80")
    corten("update", "--publish-add", "127.0.0.2::80", "web")
    second = next(line for line in docker.out("port", "web", "80").splitlines() if line != first)
    assert fetched(first) == fetched(second) == "hello from web"
    corten("update", "--publish-rm", f"{port}:80", "web")
    assert docker.out("port", "web", "80") == second
    with pytest.raises(OSError):
        fetched(first)
    with socket.create_server(("127.0.0.1", port)):
        assert fetched(second) == "hello from web"  # and the other port is free
        refused = corten("update", "--publish-rm", "80", "--publish-add", f"{first}:80", "web", code=1)
    assert "port is already allocated" in refused.err
    assert fetched(second) == "hello from web"  # all or nothing
    docker("restart", "-t", "0", "web")
    third = docker.out("port", "web", "80")
    assert third.startswith("127.0.0.2:")  # kept for the next start
    assert "does not publish port 81/tcp" in corten("update", "--publish-rm", "81", "web", code=1).err
    corten("update", "--publish-rm", "80", "web")
    assert json.loads(docker.out("inspect", "web"))[0]["NetworkSettings"]["Ports"] == {"80/tcp": None}


def test_a_rate_is_kept_to_and_changed_while_it_runs(corten: Client, docker: Client, net: Callable[..., str]) -> None:
    """A limit can be measured without a clock's tolerance in one direction: nothing is ever faster than it."""
    network = net()
    script = "dd if=/dev/zero of=/tmp/big bs=1024 count=512 2>/dev/null; exec httpd -f -p 80 -h /tmp"
    docker("run", "-d", "--name", "web", "--network", network, IMAGE, "sh", "-c", script)
    corten("run", "-d", "--name", "slow", "--network", network, "--net-rate", "ingress=4mbit", IMAGE, "sleep", "1000")

    def seconds() -> float:
        begun = time.monotonic()
        assert inside(docker, "slow", "sh", "-c", "wget -qO- http://web/big | wc -c") == "524288"
        return time.monotonic() - begun

    until(lambda: docker("exec", "web", "wget", "-qO-", "127.0.0.1/big", code=None).code == 0, "web serves")
    assert seconds() > 0.9  # 512 KiB at 4 Mbit/s take 1.05 s, less what may go at once
    corten("update", "--net-rate", "none", "slow")
    until(lambda: seconds() < 0.9, "it is quicker than the limit")
    corten("update", "--net-rate", "egress=4mbit", "web")
    assert seconds() > 0.9
    docker("restart", "-t", "0", "web")
    until(lambda: docker("exec", "web", "wget", "-qO-", "127.0.0.1/big", code=None).code == 0, "web serves again")
    assert seconds() > 0.9
    assert "netem" in corten("update", "--net-rate", "delay=5ms", "web", code=1).err


def test_gateway_priority(daemon: Cortend, docker: Client, net: Callable[..., str]) -> None:
    first, second = net(), net()
    docker("run", "-d", "--name", "one", "--network", first, IMAGE, "sleep", "1000")
    body = {"Container": "one", "EndpointConfig": {"GwPriority": 5}}
    assert daemon.ask("POST", f"/networks/{second}/connect", body)[0] == 200
    gateway = json.loads(docker.out("inspect", "one"))[0]["NetworkSettings"]["Networks"][second]["Gateway"]
    assert f"default via {gateway}" in inside(docker, "one", "ip", "route")
