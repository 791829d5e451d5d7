"""The default bridge on a simulated host: which address reaches which, published ports, flows.

neighbour 192.0.2.9 ---- 192.0.2.1 host ---- bridges ---- containers
"""

# ruff: noqa: F401, F811 - fixtures are imported

from __future__ import annotations

import ipaddress
import os
import socket
from pathlib import Path

import pytest

from corten.errors import Failed, Forbidden
from corten.kernel import rtnetlink
from corten.network.config import NetworkConfig
from corten.network.endpoint import Endpoint
from e2e_parts.patience import PATIENCE
from netns import Net
from network_world import World, bound, frames, host, index_of, neighbour, world


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


async def test_a_published_port_is_reached_from_everywhere(frames: str, world: World, neighbour: Net) -> None:
    web, endpoint = await world.run("web", ports=bound(8080))
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
    web, endpoint = await world.run("web", ports=bound(8080, "127.0.0.1"))
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
    for number in range(20):
        world = World(host, NetworkConfig(bridge=f"ct{number}"))
        await world.networks.setup()
        for name in ("first", "second"):  # the first port of a bridge brings that one up as well
            box, endpoint = await world.run(name)
            if number % 2:
                assert _is_refused(box, "eth0", endpoint.gateway)
            else:
                assert _is_refused(host, f"ct{number}", endpoint.address)
        await world.networks.close()
        for box in world.containers:
            box.close()


def _is_refused(net: Net, device: str, address: str) -> bool:
    """One datagram is answered by an error, and neither that nor the question for the MAC address is sent again."""
    with net.entered(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        Path(f"/proc/sys/net/ipv4/neigh/{device}/retrans_time_ms").write_text(f"{10 * 1000 * PATIENCE:.0f}")
        client.settimeout(PATIENCE)
        client.connect((address, 9))
        client.send(b"first")
        try:
            client.recv(1)
        except ConnectionRefusedError:
            return True
    return False


async def test_udp_is_published(world: World, neighbour: Net) -> None:
    box, _ = await world.run("dns", ports={"53/udp": [{"HostPort": "5353"}]})
    server = box.listen("0.0.0.0", 53, "udp")
    with neighbour.entered():
        client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    client.settimeout(PATIENCE)
    client.sendto(b"question", ("192.0.2.1", 5353))
    question, peer = server.recvfrom(100)
    server.sendto(b"answer", peer)
    assert (question, client.recvfrom(100)) == (b"question", (b"answer", ("192.0.2.1", 5353)))
    client.close()
    server.close()


async def test_a_client_that_keeps_sending_reaches_the_new_container(world: World, neighbour: Net) -> None:
    """UDP flows outlive what they led to: unless they are deleted a client stays with the old address, or the host."""
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


async def test_flows_are_deleted_with_their_container(world: World, neighbour: Net) -> None:
    web, endpoint = await world.run("web", ports=bound(8080))
    other, _ = await world.run("other", ports=bound(8081))
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
    _, endpoint = await world.run("web", ports=bound(8080))
    assert world.leftovers() == [endpoint.host_interface]
    await world.networks.disconnect(endpoint)
    await world.networks.disconnect(endpoint)
    world.host.listen("0.0.0.0", 8080).close()  # free at once
    await world.networks.settle()
    assert world.leftovers() == []
    listed = world.host.run("nft", "list", "table", "inet", "corten-ct0")
    assert "8080" not in listed
    _, again = await world.run("web", ports=bound(8080))
    assert again.address == endpoint.address  # it was given back
    assert [event[1] for event in world.events] == ["connect", "disconnect", "connect"]


async def test_a_taken_port_is_dockers_error_and_leaves_nothing(world: World) -> None:
    taken = world.host.listen("0.0.0.0", 8080)
    with pytest.raises(Failed) as refused:
        await world.run("web", ports=bound(8080))
    taken.close()
    text = str(refused.value)
    assert text.startswith("driver failed programming external connectivity on endpoint web (")
    me = Path("/proc/self/comm").read_text().strip()
    assert text.endswith(
        f"Bind for 0.0.0.0:8080 failed: port is already allocated (by process {me}, pid {os.getpid()})"
    )
    assert world.leftovers() == []
    _, endpoint = await world.run("first", ports=bound(8080))
    with pytest.raises(Failed, match=r"port is already allocated \(by container first\)"):
        await world.run("second", ports=bound(8080, "127.0.0.1"))
    assert world.leftovers() == [endpoint.host_interface]
    with pytest.raises(OSError):  # and no other program gets it either, not even with SO_REUSEADDR
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


async def test_a_port_that_is_asked_for_is_not_the_next_free_one_of_the_same_container(world: World) -> None:
    Path("/proc/sys/net/ipv4/ip_local_port_range").write_text("32768 32770")
    ports = {"80/tcp": [{"HostPort": ""}], "81/tcp": [{"HostPort": "32768"}], "82/tcp": [{"HostPort": "32768-32769"}]}
    _, endpoint = await world.run("web", ports=ports)
    given = {port: [row["HostPort"] for row in rows or [] if row["HostIp"] == "0.0.0.0"]
             for port, rows in endpoint.ports.items()}  # fmt: skip
    assert given == {"80/tcp": ["32770"], "81/tcp": ["32768"], "82/tcp": ["32769"]}
