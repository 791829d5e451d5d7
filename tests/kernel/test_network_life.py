"""A daemon's life with its networks: restarts, other daemons, what the host has already.

neighbour 192.0.2.9 ---- 192.0.2.1 host ---- bridges ---- containers
"""

# ruff: noqa: F401, F811 - fixtures are imported

from __future__ import annotations

import pytest

import netns
from corten.engine.networks.networks import Networks
from corten.errors import Conflict, Exhausted, Failed, NotFound
from corten.kernel import rtnetlink
from corten.kernel.netlink import Message, Request, Socket
from corten.network.config import NetworkConfig
from docker_json import network
from fakes.table import MemoryTable
from netns import Net
from network_world import World, bound, frames, host, neighbour, world


async def test_a_restarted_daemon_adopts_and_traffic_never_stops(world: World, neighbour: Net) -> None:
    web, endpoint = await world.run("web", ports=bound(8080))
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
        await world.run("third", ports=bound(8080))
    await world.networks.disconnect(adopted)
    assert neighbour.blocked("192.0.2.1", 8080)
    server.close()


async def test_a_daemon_that_ends_without_containers_leaves_nothing(host: Net) -> None:
    world = World(host)
    await world.networks.setup()
    await world.networks.create(network({"Name": "mine"}))
    before = world.networks.list()
    _, endpoint = await world.run("one", "mine", ports=bound(8080))
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


async def test_what_is_not_adopted_is_swept(world: World, neighbour: Net) -> None:
    web, endpoint = await world.run("web", ports=bound(8080))
    server = web.listen("0.0.0.0", 80)
    await world.networks.create(network({"Name": "gone"}))
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


async def test_a_foreign_bridge_is_used_and_not_changed(host: Net) -> None:
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
    second = Networks(MemoryTable(), world.config, lambda *event: None, lambda endpoint: None, lambda: None)
    with pytest.raises(Conflict, match="corten-ct0 belongs to another process"):
        await second.setup()
    await second.close()


async def test_two_daemons_side_by_side(world: World) -> None:
    second = Networks(
        MemoryTable(), NetworkConfig(bridge="ct1"), lambda *event: None, lambda endpoint: None, lambda: None
    )
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
    web, _ = await world.run("web", ports=bound(8080))
    server = web.listen("0.0.0.0", 80)
    for _ in range(3):
        host.run("nft", "flush", "ruleset")
        async with asyncio.timeout(60):
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
    for name, network_name in (("one", "bridge"), ("two", "none")):
        _, endpoint = await world.run(name, network_name)
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
        await world.networks.create(network({"Name": "full"}))
    await world.networks.close()
    other.close()


async def test_forwarding_is_switched_on_and_reported(host: Net) -> None:
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


async def test_a_restart_lists_devices_as_often_for_many_networks_as_for_few(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    really, dumps = Socket.dump, list[str]()

    def dump(route: Socket, request: Request) -> list[Message]:
        dumps.append(request.name)
        return really(route, request)

    monkeypatch.setattr(Socket, "dump", dump)
    seen = []
    for networks in (2, 8):
        for number in range(networks):
            await world.networks.create(network({"Name": f"n{networks}-{number}"}))
            await world.run(f"c{networks}-{number}", f"n{networks}-{number}")
        dumps.clear()
        await world.restart()
        await world.networks.reconcile()
        seen.append(sorted(dumps))
    assert seen[0] == seen[1]
    assert seen[0].count("list links") <= 5
