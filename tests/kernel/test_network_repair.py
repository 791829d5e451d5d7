"""What another program removes or changes is found at once, and put back."""

# ruff: noqa: F401, F811 - fixtures are imported

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

import netns
from corten.kernel import rtnetlink
from corten.network.drivers import link_watcher
from corten.network.drivers.bridge import BridgeDriver
from corten.network.drivers.link_watcher import LinkWatcher
from corten.network.endpoint import Endpoint
from docker_json import network
from netns import Net
from network_world import EndpointFields, World, host, neighbour, world

SHY = {"Name": "shy", "EnableIPv6": True, "Options": {"com.docker.network.bridge.enable_icc": "false"}}


@pytest.fixture
async def kept(world: World) -> AsyncIterator[World]:
    await world.networks.reconcile()
    yield world


async def soon(check: Callable[[], object]) -> None:
    async with asyncio.timeout(60):
        while not check():
            await asyncio.sleep(0.005)


def links(world: World) -> dict[str, rtnetlink.Link]:
    """The host's, by name."""
    return {link.name: link for link in rtnetlink.links(world.host.route)}


def watcher_of(world: World) -> LinkWatcher:
    driver = world.networks.dataplane.drivers["bridge"]
    assert isinstance(driver, BridgeDriver) and driver.watcher is not None
    return driver.watcher


def bridge_of(world: World, name: str) -> str:
    return "br-" + str(world.networks.inspect(name)["Id"])[:12]


async def test_a_deleted_bridge_comes_back_with_its_containers(kept: World, neighbour: Net) -> None:
    ports = {"80/tcp": [{"HostPort": "8080"}]}
    web, endpoint = await kept.run("web", ports=ports)
    other, _ = await kept.run("other")
    server = web.listen("0.0.0.0", 80)
    for _ in range(3):
        kept.host.run("ip", "link", "delete", "ct0")
        assert neighbour.blocked("192.0.2.1", 8080)
        await soon(lambda: kept.host.reaches(endpoint.address, 80, 0.3))
        assert other.reaches(endpoint.address, 80)
        assert neighbour.reaches("192.0.2.1", 8080)
    server.close()


async def test_neighbours_stay_strangers_when_their_bridge_comes_back(kept: World) -> None:
    await kept.networks.create(network(SHY))
    one, _ = await kept.run("one", "shy")
    two, second = await kept.run("two", "shy")
    servers = [two.listen("0.0.0.0", 80), two.listen("::", 81)]
    kept.host.run("ip", "link", "delete", bridge_of(kept, "shy"))
    await soon(lambda: kept.host.reaches(second.address, 80, 0.3) and kept.host.reaches(second.address6, 81, 0.3))
    assert one.blocked(second.address, 80) and one.blocked(second.address6, 81)
    for server in servers:
        server.close()


@pytest.mark.parametrize(
    "damage",
    [
        ["ip", "link", "set", "ct0", "down"],
        ["ip", "addr", "flush", "dev", "ct0"],
        ["ip", "link", "set", "{port}", "nomaster"],
        ["ip", "link", "set", "ct0", "down", "name", "other"],
    ],
    ids=["down", "no address", "no port", "another name"],
)
async def test_a_damaged_bridge_is_as_it_was(kept: World, damage: list[str]) -> None:
    web, endpoint = await kept.run("web")
    server = web.listen("0.0.0.0", 80)
    kept.host.run(*(word.format(port=endpoint.host_interface) for word in damage))
    await soon(lambda: kept.host.reaches(endpoint.address, 80, 0.3))
    server.close()


async def test_one_that_cannot_be_repaired_delays_no_other(
    kept: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A device that has another use cannot be a port of a bridge (EBUSY)."""
    monkeypatch.setattr(link_watcher, "_RETRY_DELAY", 0.5)
    _, bad = await kept.run("bad")
    web, endpoint = await kept.run("web")
    server = web.listen("0.0.0.0", 80)
    port = bad.host_interface
    kept.host.run("sh", "-c", f"ip link set {port} nomaster; ip link add other link {port} type macvlan")
    await soon(lambda: "cannot be repaired yet" in caplog.text)
    monkeypatch.setattr(link_watcher, "_RETRY_DELAY", 600)
    for damage in (f"{endpoint.host_interface} nomaster", "ct0 down"):
        kept.host.run("ip", "link", "set", *damage.split())
        await soon(lambda: kept.host.reaches(endpoint.address, 80, 0.3))
    kept.host.run("ip", "link", "delete", "ct0")
    await soon(lambda: kept.host.reaches(endpoint.address, 80, 0.3))
    server.close()


async def test_one_that_could_not_be_repaired_is_tried_again(
    kept: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(link_watcher, "_RETRY_DELAY", 0.2)
    web, endpoint = await kept.run("web")
    server = web.listen("0.0.0.0", 80)
    port = endpoint.host_interface
    kept.host.run("sh", "-c", f"ip link set {port} nomaster; ip link add other link {port} type macvlan")
    await soon(lambda: "cannot be repaired yet" in caplog.text)
    kept.host.run("ip", "link", "delete", "other")
    await soon(lambda: kept.host.reaches(endpoint.address, 80, 0.3))
    server.close()


async def test_a_pair_that_is_gone_is_reported_and_made_again(kept: World, neighbour: Net) -> None:
    lost = kept.lost
    await kept.networks.create(network({"Name": "six", "EnableIPv6": True}))
    asked: EndpointFields = {"IPAMConfig": {"LinkLocalIPs": ["169.254.7.7"]}, "MacAddress": "02:00:00:aa:bb:cc"}
    web, endpoint = await kept.run("web", "six", ports={"80/tcp": [{"HostPort": "8080"}]}, **asked)
    before = web.run("ip", "-o", "addr") + web.run("ip", "route") + web.run("ip", "-6", "route")
    kept.host.run("ip", "link", "delete", endpoint.host_interface)
    await soon(lambda: lost)
    assert lost == [endpoint] and kept.networks.lacks_device(endpoint)
    changed = kept.networks.reconnect(endpoint, web.namespace)
    after = web.run("ip", "-o", "addr") + web.run("ip", "route") + web.run("ip", "-6", "route")
    numbers = str(endpoint.index), str(changed.index)
    assert after.replace(numbers[1] + ":", numbers[0] + ":") == before
    server = web.listen("0.0.0.0", 80)
    assert neighbour.reaches("192.0.2.1", 8080)
    assert not kept.networks.lacks_device(changed)
    server.close()
    await kept.networks.disconnect(changed)
    await kept.networks.settle()
    assert kept.leftovers() == []


async def test_a_pair_that_goes_with_its_container_is_not_reported(
    kept: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link_watcher, "_EXIT_GRACE", 2.0)  # the end below is reported earlier, on a busy machine too
    lost = kept.lost
    box, endpoint = await kept.run("box")
    _, later = await kept.run("later")
    kept.containers.remove(box)
    box.close()
    await soon(lambda: endpoint.host_interface not in kept.leftovers())
    await kept.networks.disconnect(endpoint)
    kept.host.run("ip", "link", "delete", later.host_interface)  # this loss is reported, and losses are in their order
    await soon(lambda: lost)
    assert lost == [later]


async def test_a_network_that_is_removed_stays_removed(kept: World) -> None:
    await kept.networks.create(network({"Name": "short"}))
    name = bridge_of(kept, "short")
    await kept.networks.remove("short")
    kept.host.run("ip", "link", "set", "ct0", "down")
    await soon(lambda: links(kept)["ct0"].up)  # what was removed before has been seen by now
    assert name not in links(kept)


async def test_what_is_published_does_not_leave_by_another_way(kept: World, neighbour: Net) -> None:
    """While a bridge is gone its subnet's packets would follow the default route."""
    _, endpoint = await kept.run("web", ports={"80/tcp": [{"HostPort": "8080"}]})
    watcher_of(kept).repair_bridge = lambda network: {}  # as if there was no repair
    kept.host.run("ip", "route", "add", "default", "via", "192.0.2.9")
    neighbour.run("ip", "addr", "add", f"{endpoint.address}/32", "dev", "lo")
    server = neighbour.listen(endpoint.address, 80)
    kept.host.run("ip", "link", "delete", "ct0")
    other = Net()
    netns.wire(kept.host, other, "192.0.3.1/24", "192.0.3.9/24", ("up1", "up0"))
    assert other.blocked("192.0.3.1", 8080)
    server.close()
    other.close()


async def test_lost_messages_are_made_up_for(kept: World, caplog: pytest.LogCaptureFixture) -> None:
    """More happens at once than the kernel keeps for us: what is whole is left alone, what is not is repaired."""
    lost = kept.lost
    await kept.networks.create(network({"Name": "whole"}))
    box, endpoint = await kept.run("box")
    _, gone = await kept.run("gone")
    server = box.listen("0.0.0.0", 80)
    watcher_of(kept).socket.reserve(1 << 16, 1)  # the least that there is
    for _ in range(40):
        kept.host.run("sh", "-c", "ip link add d0 type ifb; ip link del d0")
    kept.host.run("ip", "link", "delete", "ct0")
    kept.host.run("ip", "link", "delete", gone.host_interface)
    await soon(lambda: kept.host.reaches(endpoint.address, 80, 0.3))
    await soon(lambda: gone in lost)
    assert "whole" not in caplog.text
    server.close()


async def test_networks_come_and_go_in_one_table(kept: World) -> None:
    """What a network adds to the firewall is its own part alone."""
    for number in range(30):
        await kept.networks.create(
            network({"Name": f"n{number}", "IPAM": {"Config": [{"Subnet": f"10.70.{number}.0/24"}]}})
        )
    for number in range(0, 30, 2):
        await kept.networks.remove(f"n{number}")
    listed = kept.host.run("nft", "list", "set", "inet", "corten-ct0", "masquerade4")
    assert [f"10.70.{number}.0/24" in listed for number in range(30)] == [number % 2 == 1 for number in range(30)]


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
