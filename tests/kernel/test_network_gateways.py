"""Gateway modes, and networks made from a configuration."""

# ruff: noqa: F401, F811 - fixtures are imported

from __future__ import annotations

import ipaddress
from collections.abc import AsyncIterator
from typing import Any

import pytest

from corten.errors import Forbidden, Invalid, NotFound
from corten.network.config import NetworkConfig
from docker_json import network, port_map
from netns import Net, passing
from network_world import World, host, neighbour, world

MODES = ("nat", "nat-unprotected", "routed")
MODE = "com.docker.network.bridge.gateway_mode_ipv"
HOST6, OUT6 = "2001:db8::1", "2001:db8::9"


@pytest.fixture
def six(world: World, neighbour: Net) -> Net:
    """The neighbour, with IPv6 as well and routes to every subnet of the host's."""
    world.host.run("ip", "addr", "add", f"{HOST6}/64", "dev", "up0", "nodad")
    neighbour.run("ip", "addr", "add", f"{OUT6}/64", "dev", "up0", "nodad")
    neighbour.run("ip", "-6", "route", "add", "default", "via", HOST6)
    neighbour.run("ip", "route", "replace", "default", "via", "192.0.2.1")
    return neighbour


@pytest.mark.parametrize("mode", MODES)
async def test_the_modes_of_both_families(world: World, six: Net, mode: str) -> None:
    options = {f"{MODE}4": mode, f"{MODE}6": mode}
    await world.networks.create(network({"Name": "here", "EnableIPv6": True, "Options": options}))
    await world.networks.create(network({"Name": "there", "EnableIPv6": True}))
    web, endpoint = await world.run("web", "here", {"80/tcp": [{"HostPort": "8080"}]})
    other, _ = await world.run("other", "there")
    servers = [web.listen("0.0.0.0", port) for port in (80, 81)]
    probes, expected = [], []
    for source in (six, other, world.host):
        near = source is world.host
        probes += [(source, endpoint.address, 80), (source, endpoint.address, 81), (source, "192.0.2.1", 8080)]
        direct = near or mode == "routed"
        outside = source is six and mode == "nat-unprotected"
        expected += [direct or outside, near or outside, mode != "routed"]
    assert passing(probes) == expected
    for server in servers:
        server.close()
    server6 = web.listen("::", 80)
    assert six.reaches(endpoint.address6, 80, 0.6) == (mode != "nat")
    assert six.reaches(HOST6, 8080, 0.6) == (mode != "routed")
    server6.close()
    outside6, outside4 = six.listen(OUT6, 7000), six.listen("192.0.2.9", 7000)
    for server, address, own, masked in (
        (outside4, "192.0.2.9", endpoint.address, "192.0.2.1"),
        (outside6, OUT6, endpoint.address6, HOST6),
    ):
        client = web.connect(address, 7000)
        accepted, peer = server.accept()
        assert peer[0] == (own if mode == "routed" else masked)  # and its answers find back by a route
        for one in (client, accepted, server):
            one.close()
    rows = endpoint.ports["80/tcp"] or []
    assert [row["HostPort"] for row in rows] == (["", ""] if mode == "routed" else ["8080", "8080"])
    audited = {(way["Port"], way["Via"]): way["From"] for way in world.networks.audit("here")}
    assert ("outside" in audited["*", endpoint.address]) == (mode == "nat-unprotected")
    if mode == "routed":
        assert "outside" in audited["80/tcp", f"{endpoint.address}:80"]
        world.host.listen("0.0.0.0", 8080).close()  # it is free
        assert six.run("busybox", "ping", "-c1", "-W2", endpoint.address)
    again = await world.networks.republish(endpoint.container_id, port_map({}), port_map({"80/tcp": []}), [])
    assert not any(again.ports.values())


async def test_a_routed_port_is_kept_by_the_next_daemon(world: World, six: Net) -> None:
    await world.networks.create(network({"Name": "here", "Options": {f"{MODE}4": "routed"}}))
    web, endpoint = await world.run("web", "here", {"80/tcp": [{}]})
    server = web.listen("0.0.0.0", 80)
    await world.networks.close()
    world.networks = world._new()
    await world.networks.setup()
    adopted = await world.networks.adopt(endpoint.record, endpoint.container_id)
    await world.networks.reconcile()
    assert six.reaches(endpoint.address, 80)
    await world.networks.disconnect(adopted)
    assert six.blocked(endpoint.address, 80)
    server.close()


@pytest.mark.parametrize("inhibit", [False, True], ids=["isolated", "inhibited"])
async def test_a_bridge_without_addresses(world: World, inhibit: bool) -> None:
    options = {f"{MODE}4": "isolated", f"{MODE}6": "isolated"}
    if inhibit:
        options = {"com.docker.network.bridge.inhibit_ipv4": "true"}
    request = {"Name": "lone", "EnableIPv6": not inhibit, "Internal": not inhibit, "Options": options}
    made = await world.networks.create(network(request))
    one, first = await world.run("one", "lone")
    two, _ = await world.run("two", "lone")
    server = one.listen("0.0.0.0", 80)
    assert two.reaches(first.address, 80)
    assert not world.host.reaches(first.address, 80, 0.5)
    shown = world.host.run("ip", "-o", "addr", "show", "dev", f"br-{made['Id'][:12]}")
    assert "inet" not in shown
    server.close()


async def test_bad_modes(world: World) -> None:
    for options, words in (
        ({f"{MODE}4": "isolated"}, "gateway mode 'isolated' can only be used for an internal network"),
        ({f"{MODE}6": "bent"}, "unknown gateway mode bent"),
    ):
        with pytest.raises(Invalid, match=words):
            await world.networks.create(network({"Name": "bad", "Options": options}))


async def test_a_network_from_a_configuration(world: World) -> None:
    networks = world.networks
    ipam = {"Config": [{"Subnet": "10.61.0.0/24", "Gateway": "10.61.0.9"}]}
    options = {"com.docker.network.driver.mtu": "1400"}
    await networks.create(
        network({"Name": "plan", "ConfigOnly": True, "IPAM": ipam, "Options": options, "Labels": {"a": "b"}})
    )
    shown = networks.inspect("plan")
    assert (shown["ConfigOnly"], shown["Driver"], shown["IPAM"]["Config"]) == (True, "null", ipam["Config"])
    await networks.create(network({"Name": "real", "ConfigFrom": {"Network": "plan"}}))
    real: dict[str, Any] = networks.inspect("real")
    assert (real["ConfigFrom"], real["Labels"], real["Options"]) == ({"Network": "plan"}, {"a": "b"}, options)
    box, endpoint = await world.run("box", "real", IPAMConfig={"IPv4Address": "10.61.0.7"})
    assert (endpoint.address, endpoint.gateway) == ("10.61.0.7", "10.61.0.9")
    assert "mtu 1400" in box.run("ip", "link", "show", "eth0")
    with pytest.raises(Forbidden, match="configuration-only network"):
        await world.run("other", "plan")
    with pytest.raises(Forbidden, match='configuration network "plan" is in use'):
        await networks.remove("plan")
    with pytest.raises(NotFound, match='configuration network "real" does not exist'):
        await networks.create(network({"Name": "third", "ConfigFrom": {"Network": "real"}}))
    await networks.disconnect(endpoint)
    assert (await networks.prune())["NetworksDeleted"] == ["real"]
    await networks.remove("plan")


@pytest.fixture
async def node(host: Net) -> AsyncIterator[World]:
    made = World(host, NetworkConfig(bridge="ct0", cluster=[ipaddress.ip_network("192.0.2.8/29")]))
    await made.networks.setup()
    yield made
    await made.networks.close()
    for box in made.containers:
        box.close()


async def test_the_default_network_of_a_node(node: World, neighbour: Net) -> None:
    """Other nodes reach every port there, and see who asks; what is no part of the cluster sees this host."""
    neighbour.run("ip", "addr", "add", "192.0.2.99/24", "dev", "up0")
    await node.networks.create(network({"Name": "own"}))
    pod, endpoint = await node.run("pod")
    other, hidden = await node.run("other", "own")
    for box, address, open_ in ((pod, endpoint.address, True), (other, hidden.address, False)):
        server = box.listen("0.0.0.0", 81)
        assert passing([(neighbour, address, 81)]) == [open_]
        server.close()
    for box, to, seen in (
        (pod, "192.0.2.9", endpoint.address),
        (pod, "192.0.2.99", "192.0.2.1"),
        (other, "192.0.2.9", "192.0.2.1"),
    ):
        server = neighbour.listen(to, 7000)
        client = box.connect(to, 7000)
        accepted, peer = server.accept()
        assert peer[0] == seen
        for one in (client, accepted, server):
            one.close()
    audited = {way["Via"]: way["From"] for way in node.networks.audit("bridge")}
    assert "outside" in audited[endpoint.address]


async def test_a_service_leads_back_to_the_pod_that_asks(node: World) -> None:
    """As kube-proxy translates one, with frames that pass through the firewall."""
    node.host.run("sysctl", "-qw", "net.bridge.bridge-nf-call-iptables=1")
    pod, endpoint = await node.run("pod", DriverOpts={"corten.endpoint.hairpin": "true"})
    to = f"ip daddr 203.0.113.1 tcp dport 80 dnat to {endpoint.address}:81"
    node.host.run("nft", f"table ip proxy {{ chain c {{ type nat hook prerouting priority dstnat; {to}; }}; }}")
    server = pod.listen("0.0.0.0", 81)
    pod.connect("203.0.113.1", 80, 4).close()
    server.close()
