"""The noun `Networks` on a simulated host: bridges, addresses, firewall and ports are the kernel's own.

neighbour 192.0.2.9 ---- 192.0.2.1 host ---- bridges ---- containers
"""

# ruff: noqa: F401, F811 - fixtures are imported

from __future__ import annotations

import ipaddress
import os
import socket
import time
from pathlib import Path
from typing import Any

import pytest

import netns
from corten.engine.filters import Filters
from corten.engine.networks import Networks
from corten.errors import Conflict, Exhausted, Failed, Forbidden, Invalid, NotFound
from corten.kernel import rtnetlink
from corten.network.config import NetworkConfig
from corten.network.endpoint import Endpoint
from netns import Net
from network_world import Json, Table, World, host, index_of, neighbour, world


def _bound(port: int, ip: str = "") -> Json:
    return {"80/tcp": [{"HostIp": ip, "HostPort": str(port)}]}


# ------------------------------------------------------------------------------------------------- default bridge


async def test_two_containers_and_the_host_reach_each_other(world: World) -> None:
    one, first = await world.run("one")
    two, second = await world.run("two")
    assert (first.address, first.gateway, first.prefix) == ("172.17.0.2", "172.17.0.1", 16)
    assert second.address == "172.17.0.3"
    server = two.listen("0.0.0.0", 80)
    assert one.reaches(second.address, 80)
    assert world.host.reaches(second.address, 80)
    assert rtnetlink.links(one.route)[1].mac == first.mac
    assert first.settings["IPAddress"] == "172.17.0.2"
    assert first.ports == {"80/tcp": None}
    assert Endpoint.from_json(first.record) == first
    server.close()


async def test_what_leaves_the_host_has_the_hosts_address(world: World, neighbour: Net) -> None:
    one, _ = await world.run("one")
    server = neighbour.listen("192.0.2.9", 7000)
    client = one.connect("192.0.2.9", 7000)
    accepted, peer = server.accept()
    assert peer[0] == "192.0.2.1"
    for made in (server, client, accepted):
        made.close()


@pytest.fixture(params=["0", "1"], ids=["frames-unfiltered", "frames-filtered"])
def frames(host: Net, request: pytest.FixtureRequest) -> str:
    """Without and with br_netfilter, which another engine may have loaded."""
    setting = Path("/proc/sys/net/bridge/bridge-nf-call-iptables")
    if not setting.exists():
        if request.param == "1":
            pytest.skip("br_netfilter is not loaded")
        return "0"
    setting.write_text(request.param)
    setting.with_name("bridge-nf-call-ip6tables").write_text(request.param)
    return str(request.param)


async def test_a_published_port_is_reached_from_everywhere(frames: str, world: World, neighbour: Net) -> None:
    web, endpoint = await world.run("web", ports=_bound(8080))
    other, _ = await world.run("other")
    server = web.listen("0.0.0.0", 80)
    assert endpoint.ports == {"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}]}

    def source(net: Net, address: str) -> str:
        client = net.connect(address, 8080)
        accepted, peer = server.accept()
        accepted.close()
        client.close()
        return str(peer[0])

    assert source(neighbour, "192.0.2.1") == "192.0.2.9"  # the client's own address
    assert source(world.host, "127.0.0.1") == "172.17.0.1"
    assert source(world.host, "192.0.2.1") == "192.0.2.1"
    assert source(other, "172.17.0.1") == "172.17.0.1"  # hairpin
    assert source(web, "172.17.0.1") == "172.17.0.1"  # to itself
    server.close()


async def test_what_is_not_published_is_not_reached_from_outside(world: World, neighbour: Net) -> None:
    web, endpoint = await world.run("web", ports=_bound(8080, "127.0.0.1"))
    servers = [web.listen("0.0.0.0", 80), web.listen("0.0.0.0", 81)]
    up = index_of(neighbour, "up0")
    neighbour.route.request(
        rtnetlink.route(up, ipaddress.ip_address("192.0.2.1"), ipaddress.ip_network("172.17.0.0/16"))
    )
    assert world.host.reaches("127.0.0.1", 8080)
    assert neighbour.blocked("192.0.2.1", 8080)  # published on the loopback only
    assert neighbour.blocked(endpoint.address, 80)  # routed straight to a published port
    assert neighbour.blocked(endpoint.address, 81)
    neighbour.route.request(rtnetlink.route_localnet(up))  # a neighbour that sends 127.0.0.1 over the wire
    loopback = ipaddress.ip_network("127.0.0.9/32")
    neighbour.route.request(rtnetlink.route(up, ipaddress.ip_address("192.0.2.1"), loopback))
    assert neighbour.blocked("127.0.0.9", 8080)
    for server in servers:
        server.close()


async def test_a_container_does_not_reach_the_hosts_loopback(world: World) -> None:
    box, _ = await world.run("box")
    server = world.host.listen("127.0.0.5", 9000)
    index = index_of(box, "eth0")
    box.route.request(rtnetlink.route_localnet(index))
    # in the local table a loopback route wins; a container that is root can make itself another one
    box.run("ip", "route", "replace", "table", "local", "unicast", "127.0.0.5", "via", "172.17.0.1", "dev", "eth0")
    assert box.blocked("127.0.0.5", 9000)
    server.close()


async def test_the_first_packet_is_not_lost(host: Net) -> None:
    """A device whose carrier the kernel has not acted upon drops what is sent, and a lost packet costs a second."""
    slow = []
    for number in range(20):
        world = World(host, NetworkConfig(bridge=f"ct{number}"))
        await world.networks.setup()
        for name in ("first", "second"):  # the first port of a bridge brings that one up as well
            box, endpoint = await world.run(name)
            before = time.monotonic()
            if number % 2:
                assert not box.reaches(endpoint.gateway, 9)  # refused, by an answer
            else:
                assert not host.reaches(endpoint.address, 9)
            slow.append(time.monotonic() - before > 0.5)
        await world.networks.close()
        for box in world.containers:
            box.close()
    assert not any(slow)


async def test_udp_is_published(world: World, neighbour: Net) -> None:
    box, _ = await world.run("dns", ports={"53/udp": [{"HostPort": "5353"}]})
    server = box.listen("0.0.0.0", 53, "udp")
    with neighbour.entered():
        client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    client.settimeout(2)
    client.sendto(b"question", ("192.0.2.1", 5353))
    question, peer = server.recvfrom(100)
    server.sendto(b"answer", peer)
    assert (question, client.recvfrom(100)) == (b"question", (b"answer", ("192.0.2.1", 5353)))
    client.close()
    server.close()


async def test_a_client_that_keeps_sending_reaches_the_new_container(world: World, neighbour: Net) -> None:
    """UDP flows outlive what they led to: without forgetting them a client stays with the dead address, or the host."""
    with neighbour.entered():
        client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    client.sendto(b"early", ("192.0.2.1", 5353))  # before anything is published
    for number in range(3):
        box, endpoint = await world.run(f"dns{number}", ports={"53/udp": [{"HostPort": "5353"}]})
        server = box.listen("0.0.0.0", 53, "udp")
        client.sendto(b"question", ("192.0.2.1", 5353))
        assert server.recvfrom(100)[0] == b"question"
        server.close()
        await world.networks.disconnect(endpoint)
    client.close()


async def test_flows_are_forgotten_with_their_container(world: World, neighbour: Net) -> None:
    web, endpoint = await world.run("web", ports=_bound(8080))
    other, _ = await world.run("other", ports=_bound(8081))
    servers = [web.listen("0.0.0.0", 80), other.listen("0.0.0.0", 80)]
    clients = [neighbour.connect("192.0.2.1", port) for port in (8080, 8081)]

    def flows(port: int) -> int:
        return Path("/proc/thread-self/net/nf_conntrack").read_text().count(f"dport={port} ")

    assert (flows(8080), flows(8081)) == (1, 1)
    await world.networks.disconnect(endpoint)
    await world.networks.settle()
    assert (flows(8080), flows(8081)) == (0, 1)
    assert world.networks.warnings == []
    for made in [*servers, *clients]:
        made.close()


async def test_disconnect_is_idempotent_and_leaves_nothing(world: World) -> None:
    _, endpoint = await world.run("web", ports=_bound(8080))
    assert world.leftovers() == [endpoint.host_interface]
    await world.networks.disconnect(endpoint)
    await world.networks.disconnect(endpoint)
    world.host.listen("0.0.0.0", 8080).close()  # free at once
    await world.networks.settle()
    assert world.leftovers() == []
    listed = world.host.run("nft", "list", "table", "inet", "corten-ct0")
    assert "8080" not in listed
    _, again = await world.run("web", ports=_bound(8080))
    assert again.address == endpoint.address  # it was given back
    assert [event[1] for event in world.events] == ["connect", "disconnect", "connect"]


async def test_a_taken_port_is_dockers_error_and_leaves_nothing(world: World) -> None:
    taken = world.host.listen("0.0.0.0", 8080)
    with pytest.raises(Failed) as refused:
        await world.run("web", ports=_bound(8080))
    taken.close()
    text = str(refused.value)
    assert text.startswith("driver failed programming external connectivity on endpoint web (")
    me = Path("/proc/self/comm").read_text().strip()
    assert text.endswith(
        f"Bind for 0.0.0.0:8080 failed: port is already allocated (by process {me}, pid {os.getpid()})"
    )
    assert world.leftovers() == []
    _, endpoint = await world.run("first", ports=_bound(8080))
    with pytest.raises(Failed, match=r"port is already allocated \(by container first\)"):
        await world.run("second", ports=_bound(8080, "127.0.0.1"))
    assert world.leftovers() == [endpoint.host_interface]
    with pytest.raises(OSError):  # and nobody else gets it either, not even with SO_REUSEADDR
        world.host.listen("127.0.0.1", 8080)


async def test_a_container_connected_twice_is_refused(world: World) -> None:
    box, _ = await world.run("one")
    with pytest.raises(Forbidden, match="already exists in network bridge"):
        await world.run("one", net=box)


async def test_ephemeral_ports_and_ranges(world: World) -> None:
    taken = world.host.listen("0.0.0.0", 9000)
    _, endpoint = await world.run("web", ports={"80/tcp": [{"HostPort": ""}], "81/tcp": [{"HostPort": "9000-9001"}]})
    taken.close()
    (chosen,) = endpoint.ports["80/tcp"] or []
    assert 32768 <= int(chosen["HostPort"]) <= 60999
    assert endpoint.ports["81/tcp"] == [{"HostIp": "0.0.0.0", "HostPort": "9001"}]


# ------------------------------------------------------------------------------------------------- daemon's life


async def test_a_restarted_daemon_adopts_and_traffic_never_stops(world: World, neighbour: Net) -> None:
    web, endpoint = await world.run("web", ports=_bound(8080))
    server = web.listen("0.0.0.0", 80)
    record = endpoint.record
    before = world.networks.inspect("bridge")
    await world.networks.close()
    assert neighbour.reaches("192.0.2.1", 8080)  # no daemon at all
    world.networks = world._new()
    await world.networks.setup()
    assert neighbour.reaches("192.0.2.1", 8080)  # set up, and not adopted yet
    adopted = await world.networks.adopt(record, endpoint.container_id)
    await world.networks.reconcile()
    assert neighbour.reaches("192.0.2.1", 8080)
    assert adopted == endpoint
    assert world.networks.inspect("bridge") == before
    _, other = await world.run("other")
    assert other.address == "172.17.0.3"
    with pytest.raises(Failed, match="by container web"):
        await world.run("third", ports=_bound(8080))
    await world.networks.disconnect(adopted)
    assert neighbour.blocked("192.0.2.1", 8080)
    server.close()


async def test_a_daemon_that_ends_without_containers_leaves_nothing(host: Net) -> None:
    world = World(host)
    await world.networks.setup()
    await world.networks.create({"Name": "mine"})
    before = world.networks.list()
    _, endpoint = await world.run("one", "mine", ports=_bound(8080))
    await world.networks.disconnect(endpoint)
    await world.networks.close()
    assert [link.name for link in rtnetlink.links(host.route)] == ["lo"]
    assert host.run("nft", "list", "tables") == ""
    world.networks = world._new()
    await world.networks.setup()  # and the next one has the same networks
    assert world.networks.list() == before
    _, again = await world.run("one", "mine")
    assert again.address == endpoint.address
    await world.networks.close()
    for box in world.containers:
        box.close()


async def test_what_nobody_adopts_is_swept(world: World, neighbour: Net) -> None:
    web, endpoint = await world.run("web", ports=_bound(8080))
    server = web.listen("0.0.0.0", 80)
    await world.networks.create({"Name": "gone"})
    (bridge,) = [link.name for link in rtnetlink.links(world.host.route) if link.name.startswith("br-")]
    world.table.delete("network", world.networks.inspect("gone")["Id"])
    await world.restart()
    await world.networks.reconcile()
    assert world.leftovers() == []
    assert neighbour.blocked("192.0.2.1", 8080)
    names = [link.name for link in rtnetlink.links(world.host.route)]
    assert bridge not in names
    assert "ct0" in names
    assert endpoint.host_interface not in names
    server.close()


async def test_a_bridge_that_was_deleted_is_made_again(world: World) -> None:
    one, first = await world.run("one")
    world.host.run("ip", "link", "delete", "ct0")
    two, second = await world.run("two")
    server = one.listen("0.0.0.0", 80)
    assert two.reaches(first.address, 80)
    assert world.host.reaches(first.address, 80)
    assert second.address == "172.17.0.3"
    server.close()


async def test_a_bridge_that_went_while_no_daemon_ran(world: World) -> None:
    one, first = await world.run("one")
    await world.networks.close()
    world.host.run("ip", "link", "delete", "ct0")
    world.networks = world._new()
    await world.networks.setup()
    await world.networks.adopt(first.record, first.container_id)
    await world.networks.reconcile()
    server = one.listen("0.0.0.0", 80)
    assert world.host.reaches(first.address, 80)
    server.close()


async def test_a_bridge_of_somebody_else_is_used_and_left_alone(host: Net) -> None:
    host.run("ip", "link", "add", "br9", "type", "bridge")
    host.run("ip", "addr", "add", "10.50.0.1/24", "dev", "br9")
    host.run("ip", "addr", "add", "fd00:50::1/64", "dev", "br9", "nodad")
    world = World(host, NetworkConfig(bridge="br9"))
    await world.networks.setup()
    assert world.networks.inspect("bridge")["IPAM"]["Config"] == [{"Subnet": "10.50.0.0/24", "Gateway": "10.50.0.1"}]
    _, endpoint = await world.run("one")
    assert endpoint.address == "10.50.0.2"
    await world.networks.reconcile()
    shown = host.run("ip", "addr", "show", "dev", "br9")
    assert "10.50.0.1/24" in shown
    assert "fd00:50::1/64" in shown
    await world.networks.close()
    for box in world.containers:
        box.close()


async def test_another_bip_takes_effect(host: Net) -> None:
    world = World(host, NetworkConfig(bridge="ct0", bip="10.50.0.1/24"))
    await world.networks.setup()
    world.config = NetworkConfig(bridge="ct0", bip="10.51.0.9/16", fixed_cidr="10.51.7.0/24")
    await world.restart()
    shown = host.run("ip", "-4", "addr", "show", "dev", "ct0")
    assert "10.51.0.9/16" in shown
    assert "10.50.0.1" not in shown
    _, endpoint = await world.run("one")
    assert (endpoint.address, endpoint.gateway) == ("10.51.7.0", "10.51.0.9")
    await world.networks.close()
    for box in world.containers:
        box.close()


async def test_two_daemons_with_one_bridge_are_refused(world: World) -> None:
    second = Networks(Table(), world.config, lambda *event: None)
    with pytest.raises(Conflict, match="corten-ct0 belongs to another process"):
        await second.setup()
    await second.close()


async def test_two_daemons_side_by_side(world: World) -> None:
    second = Networks(Table(), NetworkConfig(bridge="ct1"), lambda *event: None)
    await second.setup()
    assert second.inspect("bridge")["IPAM"]["Config"] == [{"Subnet": "172.18.0.0/16", "Gateway": "172.18.0.1"}]
    _, endpoint = await world.run("one")
    await second.reconcile()  # does not sweep the other's
    assert world.leftovers() == [endpoint.host_interface]
    await second.close()


async def test_a_flushed_ruleset_is_found_and_restored(host: Net, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a kernel that does not know owned tables."""
    import asyncio

    from corten.kernel import nft

    monkeypatch.setattr(nft, "NFT_TABLE_F_OWNER", 0)
    monkeypatch.setattr(nft, "NFT_TABLE_F_PERSIST", 0)
    world = World(host)
    await world.networks.setup()
    web, _ = await world.run("web", ports=_bound(8080))
    server = web.listen("0.0.0.0", 80)
    for _ in range(3):
        host.run("nft", "flush", "ruleset")
        async with asyncio.timeout(5):
            while not host.run("nft", "list", "tables").strip():
                await asyncio.sleep(0)
    assert host.reaches("127.0.0.1", 8080)
    server.close()
    await world.networks.close()
    web.close()


async def test_without_a_default_bridge_the_host_stays_as_it_was(host: Net) -> None:
    world = World(host, NetworkConfig(bridge="none", tag="quiet"))
    await world.networks.setup()
    assert [n["Name"] for n in world.networks.list()] == ["host", "none"]
    assert host.run("nft", "list", "tables") == ""
    assert [link.name for link in rtnetlink.links(host.route)] == ["lo"]
    with pytest.raises(NotFound):
        await world.run("one")
    _, endpoint = await world.run("two", "none")
    assert (endpoint.address, endpoint.settings["IPAddress"], endpoint.ports) == ("", "", {})
    await world.networks.disconnect(endpoint)
    await world.networks.close()
    for box in world.containers:
        box.close()


async def test_the_default_subnet_avoids_the_hosts_routes(host: Net) -> None:
    other = Net()
    netns.wire(host, other, "172.17.5.1/24", "172.17.5.2/24")
    world = World(host)
    await world.networks.setup()
    assert world.networks.inspect("bridge")["IPAM"]["Config"][0]["Subnet"] == "172.18.0.0/16"
    with pytest.raises(Exhausted, match=r"up0 \(172.17.5.1/24\)"):
        world.networks.config = NetworkConfig(bridge="ct0", pools=world.config.pools[:1])
        await world.networks.create({"Name": "full"})
    await world.networks.close()
    other.close()


async def test_forwarding_is_switched_on_and_told(host: Net) -> None:
    with open("/proc/sys/net/ipv4/ip_forward", "w") as file:
        file.write("0")
    world = World(host)
    await world.networks.setup()
    assert world.networks.changes == ["net.ipv4.ip_forward = 1"]
    await world.networks.close()


async def test_another_tables_drop_is_a_warning(host: Net) -> None:
    host.run(
        "nft", "add table ip filter; add chain ip filter FORWARD { type filter hook forward priority 0; policy drop; }"
    )
    world = World(host)
    await world.networks.setup()
    assert any("ip filter FORWARD" in warning for warning in world.networks.warnings)
    await world.networks.close()


# ------------------------------------------------------------------------------------------------ user's networks


async def test_networks_are_isolated_from_each_other(frames: str, world: World) -> None:
    await world.networks.create({"Name": "red"})
    await world.networks.create({"Name": "blue"})
    red, _ = await world.run("red1", "red")
    blue, other = await world.run("blue1", "blue", ports=_bound(8080))
    plain, _ = await world.run("plain")
    server = blue.listen("0.0.0.0", 80)
    assert red.blocked(other.address, 80)
    assert plain.blocked(other.address, 80)
    assert world.host.reaches(other.address, 80)
    assert red.reaches("172.17.0.1", 8080)  # what is published is published for every network
    both, _ = await world.run("red2", "red")
    await world.run("red2", "blue", net=both)
    assert both.reaches(other.address, 80)
    server.close()


async def test_an_internal_network_has_no_way_out(frames: str, world: World, neighbour: Net) -> None:
    await world.networks.create({"Name": "in", "Internal": True})
    one, first = await world.run("one", "in", ports=_bound(8080))
    two, _ = await world.run("two", "in")
    outside = neighbour.listen("0.0.0.0", 7000)
    server = one.listen("0.0.0.0", 80)
    assert two.reaches(first.address, 80)
    assert first.ports == {"80/tcp": None}  # nothing is published
    assert (first.gateway, first.settings["Gateway"]) == ("", "")
    assert one.blocked("192.0.2.9", 7000)
    gateway = ipaddress.ip_address(world.networks.inspect("in")["IPAM"]["Config"][0]["Gateway"])
    one.route.request(rtnetlink.route(index_of(one, "eth0"), gateway))  # also when it gives itself a route
    assert one.blocked("192.0.2.9", 7000)
    web, _ = await world.run("web", ports=_bound(8081))
    listening = web.listen("0.0.0.0", 80)
    assert one.blocked("192.0.2.1", 8081)
    for made in (outside, server, listening):
        made.close()


async def test_without_icc_containers_do_not_talk(frames: str, world: World) -> None:
    await world.networks.create(
        {"Name": "shy", "Options": {"com.docker.network.bridge.enable_icc": "false"}},
    )
    one, _ = await world.run("one", "shy")
    two, second = await world.run("two", "shy", ports=_bound(8080))
    server = two.listen("0.0.0.0", 80)
    assert one.blocked(second.address, 80)
    # with br_netfilter a published port is a frame from port to port as well, and isolation is the stronger
    assert one.blocked("172.17.0.1", 8080) == (frames == "1")
    one.route.request(  # nor by way of the gateway
        rtnetlink.route(
            index_of(one, "eth0"), ipaddress.ip_address(second.gateway), ipaddress.ip_network(f"{second.address}/32")
        )
    )
    assert one.blocked(second.address, 80)
    server.close()


async def test_static_addresses_and_macs(world: World) -> None:
    await world.networks.create({"Name": "fixed", "IPAM": {"Config": [{"Subnet": "10.77.0.0/24"}]}})
    asked = {"IPAMConfig": {"IPv4Address": "10.77.0.50"}, "MacAddress": "02:00:00:AA:BB:CC"}
    box, endpoint = await world.run("one", "fixed", **asked)
    assert (endpoint.address, endpoint.mac) == ("10.77.0.50", "02:00:00:aa:bb:cc")
    assert rtnetlink.links(box.route)[1].mac == "02:00:00:aa:bb:cc"
    with pytest.raises(Forbidden, match=r"10\.77\.0\.50 is already in use"):
        await world.run("two", "fixed", **asked)
    with pytest.raises(Invalid, match="not in subnet"):
        await world.run("two", "fixed", IPAMConfig={"IPv4Address": "10.78.0.50"})
    with pytest.raises(Invalid, match="user defined networks only"):
        await world.run("two", "bridge", IPAMConfig={"IPv4Address": "172.17.0.50"})
    await world.networks.disconnect(endpoint)
    _, again = await world.run("one", "fixed", **asked)  # a restart: the old device is still on its way out
    assert again.address == endpoint.address


async def test_the_gateway_follows_priority(world: World) -> None:
    await world.networks.create({"Name": "alpha"})
    await world.networks.create({"Name": "beta"})
    box, first = await world.run("one", "beta")
    _, second = await world.run("one", "alpha", net=box)
    assert (first.interface, second.interface) == ("eth0", "eth1")

    def gateway() -> list[str]:
        return [str(r.gateway) for r in rtnetlink.routes(box.route) if r.destination.prefixlen == 0]

    assert gateway() == [second.gateway]  # equal priority: the first name
    _, third = await world.run("one", "bridge", net=box, GwPriority=10)
    assert gateway() == [third.gateway]
    await world.networks.disconnect(third, box.namespace)
    assert gateway() == [second.gateway]
    assert [link.name for link in rtnetlink.links(box.route)] == ["lo", "eth0", "eth1"]


async def test_ipv6_by_default_pool(frames: str, world: World, neighbour: Net) -> None:
    await world.networks.create({"Name": "six", "EnableIPv6": True})
    one, first = await world.run("one", "six", ports=_bound(8080))
    two, _ = await world.run("two", "six")
    assert first.address6.startswith("fd")
    assert first.prefix6 == 64
    server = one.listen("::", 80)
    assert two.reaches(first.address6, 80)
    assert first.ports["80/tcp"] == [
        {"HostIp": "0.0.0.0", "HostPort": "8080"},
        {"HostIp": "::", "HostPort": "8080"},
    ]
    with world.host.entered():
        world.host.run("ip", "addr", "add", "2001:db8::1/64", "dev", "up0", "nodad")
    neighbour.run("ip", "addr", "add", "2001:db8::9/64", "dev", "up0", "nodad")
    assert neighbour.reaches("2001:db8::1", 8080)
    neighbour.run("ip", "-6", "route", "add", "fd00::/8", "via", "2001:db8::1")
    assert neighbour.blocked(first.address6, 80)
    outside = neighbour.listen("2001:db8::9", 7000)
    client = two.connect("2001:db8::9", 7000)
    accepted, peer = outside.accept()
    assert peer[0] == "2001:db8::1"
    for made in (server, outside, client, accepted):
        made.close()


async def test_create_inspect_list_remove(world: World) -> None:
    answer = await world.networks.create(
        {
            "Name": "mine",
            "Labels": {"a": "1"},
            "IPAM": {
                "Config": [
                    {"Subnet": "10.60.0.0/16", "IPRange": "10.60.5.0/24", "AuxiliaryAddresses": {"r": "10.60.5.1"}}
                ]
            },
        }
    )
    shown = world.networks.inspect("mine")
    assert shown["Id"] == answer["Id"]
    assert shown["IPAM"]["Config"] == [
        {
            "Subnet": "10.60.0.0/16",
            "IPRange": "10.60.5.0/24",
            "Gateway": "10.60.5.0",
            "AuxiliaryAddresses": {"r": "10.60.5.1"},
        }
    ]
    _, endpoint = await world.run("one", "mine")
    assert endpoint.address == "10.60.5.2"
    shown = world.networks.inspect(answer["Id"][:12])
    assert shown["Containers"][endpoint.container_id]["IPv4Address"] == "10.60.5.2/16"
    assert [n["Name"] for n in world.networks.list(Filters({"type": ["custom"], "label": ["a=1"]}))] == ["mine"]
    assert world.networks.list(Filters({"name": ["mine"]}))[0]["Containers"] == {}
    with pytest.raises(Forbidden, match="has active endpoints"):
        await world.networks.remove("mine")
    assert await world.networks.prune() == {"NetworksDeleted": []}
    await world.networks.disconnect(endpoint)
    assert await world.networks.prune() == {"NetworksDeleted": ["mine"]}
    with pytest.raises(NotFound, match="network mine not found"):
        world.networks.inspect("mine")
    assert "br-" + answer["Id"][:12] not in [link.name for link in rtnetlink.links(world.host.route)]
    assert world.table.list("network").keys() == {n["Id"] for n in world.networks.list()}


async def test_bad_requests(world: World) -> None:
    networks = world.networks
    await networks.create({"Name": "mine", "IPAM": {"Config": [{"Subnet": "10.60.0.0/16"}]}})
    with pytest.raises(Conflict, match="mine already exists"):
        await networks.create({"Name": "mine"})
    with pytest.raises(Forbidden, match="overlaps"):
        await networks.create({"Name": "other", "IPAM": {"Config": [{"Subnet": "10.60.4.0/24"}]}})
    for name in ("bridge", "host", "none"):
        with pytest.raises(Forbidden, match="predefined"):
            await networks.create({"Name": name})
        with pytest.raises(Forbidden, match="pre-defined"):
            await networks.remove(name)
    with pytest.raises(Conflict, match="is no bridge"):
        await networks.create({"Name": "odd", "Options": {"com.docker.network.bridge.name": "lo"}})
    assert sorted(n["Name"] for n in networks.list()) == ["bridge", "host", "mine", "none"]
    with pytest.raises(Invalid, match="invalid filter"):
        networks.list(Filters({"color": ["red"]}))


async def test_many_starts_leave_no_descriptor_and_no_device(world: World) -> None:
    await world.run("warm")
    before = len(os.listdir("/proc/self/fd"))
    for number in range(20):
        box = Net()
        endpoint = await world.networks.connect(
            "bridge", str(number).ljust(64, "x"), box.namespace, {}, _bound(0), [], False, [f"c{number}"]
        )
        await world.networks.disconnect(endpoint)
        box.close()
    await world.networks.settle()
    assert len(os.listdir("/proc/self/fd")) <= before + 2  # a thread pool may have come into being
    assert len(world.leftovers()) == 1
