"""User-defined networks: isolation, addresses, gateways, and their noun.

neighbour 192.0.2.9 ---- 192.0.2.1 host ---- bridges ---- containers
"""

# ruff: noqa: F401, F811 - fixtures are imported

from __future__ import annotations

import ipaddress
import os

import pytest

from corten.errors import Conflict, Forbidden, Invalid, NotFound
from corten.kernel import rtnetlink
from corten.network.endpoint_request import EndpointRequest
from corten.spec.docker.filters import Filters
from docker_json import network, port_map
from netns import Net
from network_world import EndpointFields, World, bound, frames, host, index_of, neighbour, world


async def test_networks_are_isolated_from_each_other(frames: str, world: World) -> None:
    await world.networks.create(network({"Name": "red"}))
    await world.networks.create(network({"Name": "blue"}))
    red, _ = await world.run("red1", "red")
    blue, other = await world.run("blue1", "blue", ports=bound(8080))
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
    await world.networks.create(network({"Name": "in", "Internal": True}))
    one, first = await world.run("one", "in", ports=bound(8080))
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
    web, _ = await world.run("web", ports=bound(8081))
    listening = web.listen("0.0.0.0", 80)
    assert one.blocked("192.0.2.1", 8081)
    for made in (outside, server, listening):
        made.close()


async def test_without_icc_containers_do_not_talk(frames: str, world: World) -> None:
    await world.networks.create(
        network({"Name": "shy", "Options": {"com.docker.network.bridge.enable_icc": "false"}}),
    )
    one, _ = await world.run("one", "shy")
    two, second = await world.run("two", "shy", ports=bound(8080))
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
    await world.networks.create(network({"Name": "fixed", "IPAM": {"Config": [{"Subnet": "10.77.0.0/24"}]}}))
    asked: EndpointFields = {"IPAMConfig": {"IPv4Address": "10.77.0.50"}, "MacAddress": "02:00:00:AA:BB:CC"}
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
    _, again = await world.run("one", "fixed", **asked)  # a restart: the old device is still being removed
    assert again.address == endpoint.address


async def test_the_gateway_follows_priority(world: World) -> None:
    await world.networks.create(network({"Name": "alpha"}))
    await world.networks.create(network({"Name": "beta"}))
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
    await world.networks.create(network({"Name": "six", "EnableIPv6": True}))
    one, first = await world.run("one", "six", ports=bound(8080))
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


async def test_a_subnet_of_ipv6_without_ipv6_is_not_used(world: World) -> None:
    ranges = [{"Subnet": "2001:db8:7::/64", "Gateway": "2001:db8:7::9"}]
    for name in ("four", "again"):  # what is not used keeps no other network from it
        answer = await world.networks.create(network({"Name": name, "IPAM": {"Config": ranges}}))
        assert answer["Warning"] == "IPv6 is not enabled for the network: 2001:db8:7::/64 is not used"
    first, second = world.networks.inspect("four")["IPAM"]["Config"]
    assert "." in first["Subnet"]
    assert second == ranges[0]
    _, endpoint = await world.run("one", "four")
    assert (bool(endpoint.address), endpoint.address6) == (True, "")


async def test_create_inspect_list_remove(world: World) -> None:
    answer = await world.networks.create(
        network(
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
    )
    shown = world.networks.inspect("mine")
    assert shown["Id"] == answer["Id"]
    assert shown["IPAM"]["Config"] == [
        {"Subnet": "10.60.0.0/16", "IPRange": "10.60.5.0/24", "AuxiliaryAddresses": {"r": "10.60.5.1"}}
    ]  # as it was given
    _, endpoint = await world.run("one", "mine")
    assert (endpoint.address, endpoint.gateway) == ("10.60.5.2", "10.60.5.0")
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
    await networks.create(network({"Name": "mine", "IPAM": {"Config": [{"Subnet": "10.60.0.0/16"}]}}))
    with pytest.raises(Conflict, match="mine already exists"):
        await networks.create(network({"Name": "mine"}))
    with pytest.raises(Forbidden, match="overlaps"):
        await networks.create(network({"Name": "other", "IPAM": {"Config": [{"Subnet": "10.60.4.0/24"}]}}))
    for name in ("bridge", "host", "none"):
        with pytest.raises(Forbidden, match="predefined"):
            await networks.create(network({"Name": name}))
        with pytest.raises(Forbidden, match="pre-defined"):
            await networks.remove(name)
    with pytest.raises(Conflict, match="is no bridge"):
        await networks.create(network({"Name": "odd", "Options": {"com.docker.network.bridge.name": "lo"}}))
    assert sorted(n["Name"] for n in networks.list()) == ["bridge", "host", "mine", "none"]
    with pytest.raises(Invalid, match="invalid filter"):
        networks.list(Filters({"color": ["red"]}))


async def test_many_starts_leave_no_descriptor_and_no_device(world: World) -> None:
    await world.run("warm")
    before = len(os.listdir("/proc/self/fd"))
    for number in range(20):
        box = Net()
        id, names = str(number).ljust(64, "x"), [f"c{number}"]
        request = EndpointRequest("bridge", id, box.namespace, names=names, port_bindings=port_map(bound(0)))
        endpoint = await world.networks.connect(request)
        await world.networks.disconnect(endpoint)
        box.close()
    await world.networks.settle()
    assert len(os.listdir("/proc/self/fd")) <= before + 2  # a thread pool may have come into being
    assert len(world.leftovers()) == 1


async def test_a_network_is_removed_while_a_container_is_connected(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Connecting waits for flows to be forgotten; until it is done the network has no endpoint that keeps it."""
    await world.networks.create(network({"Name": "short"}))

    async def meanwhile(ports: object) -> None:
        await world.networks.remove("short")

    monkeypatch.setattr(world.networks.dataplane, "forget_flows", meanwhile)
    with pytest.raises(NotFound, match="network short not found"):
        await world.run("web", "short", ports=bound(8080))
    await world.networks.settle()
    assert world.leftovers() == []
    assert [event[1] for event in world.events] == ["create", "destroy"]
    world.host.listen("0.0.0.0", 8080).close()


async def test_a_network_that_is_removed_is_not_made_again_for_a_container(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its bridge would stay, and its subnet with it."""
    await world.networks.create(network({"Name": "short"}))
    device = world.networks.find("short").device

    async def meanwhile() -> None:
        await world.networks.remove("short")

    with monkeypatch.context() as patch:
        patch.setattr(world.networks.forwarder, "settle", meanwhile)
        with pytest.raises(NotFound, match="network short not found"):
            await world.run("web", "short", ports=bound(8080))
    await world.networks.settle()
    assert device not in [link.name for link in rtnetlink.links(world.host.route)]
    assert world.leftovers() == []


async def test_a_network_that_is_removed_while_a_container_leaves_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.networks.create(network({"Name": "short"}))
    _, endpoint = await world.run("web", "short", ports=bound(8080))

    async def meanwhile() -> None:
        await world.networks.remove("short")

    with monkeypatch.context() as patch:
        patch.setattr(world.networks.forwarder, "settle", meanwhile)
        await world.networks.disconnect(endpoint)
    assert [event[1] for event in world.events] == ["create", "connect", "destroy", "disconnect"]
