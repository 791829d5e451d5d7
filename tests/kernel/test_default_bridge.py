"""Daemons without a bridge in their configuration, beside and after one another on one simulated host."""

# ruff: noqa: F401, F811 - fixtures are imported

from __future__ import annotations

import ipaddress
import json

import pytest

from corten.engine.networks.networks import Networks
from corten.errors import Exhausted
from corten.kernel import nft, rtnetlink
from corten.network import default_bridge
from corten.network.config import NetworkConfig
from corten.network.interface import mac_of
from fakes.table import MemoryTable
from netns import Net
from network_world import World, host


class Daemon(World):
    """One with a data root of its own, by the name of `owner`."""

    def __init__(self, host: Net, owner: str) -> None:
        self.given, table = NetworkConfig(bridge="", owner=owner, mtu=1400), MemoryTable()
        super().__init__(host, default_bridge.chosen(self.given, table), table)

    async def again(self) -> None:
        """The next start, after an end without containers."""
        self.config = default_bridge.chosen(self.given, self.table)
        self.networks = self._new()
        await self.networks.setup()

    @property
    def bridge(self) -> str:
        return self.config.bridge

    @property
    def subnet(self) -> str:
        return str(self.networks.inspect("bridge")["IPAM"]["Config"][0]["Subnet"])

    async def close(self) -> None:
        await self.networks.close()
        for box in self.containers:
            box.close()


async def test_daemons_side_by_side_choose_names_and_subnets(host: Net) -> None:
    first, second = Daemon(host, "a"), Daemon(host, "b")  # chosen before either has anything else
    assert (first.bridge, second.bridge) == ("corten0", "corten1")
    for one in (first, second):
        await one.networks.setup()
    (shown,) = json.loads(host.run("ip", "-j", "link", "show", "corten0"))
    assert (shown["mtu"], shown["address"]) == (1400, mac_of(ipaddress.ip_network(first.subnet)[1]))
    third = Daemon(host, "c")
    await third.networks.setup()
    assert third.bridge == "corten2"
    daemons = (first, second, third)
    assert len({one.subnet for one in daemons}) == 3
    endpoints = [(await one.run("web"))[1] for one in daemons]
    assert len({endpoint.address for endpoint in endpoints}) == 3
    for one in daemons:
        await one.networks.reconcile()
    assert {link.name for link in rtnetlink.links(host.route)} == {
        "lo", *(one.bridge for one in daemons), *(endpoint.host_interface for endpoint in endpoints)
    }  # fmt: skip
    tables = {line.split()[-1] for line in host.run("nft", "list", "tables").splitlines()}
    assert tables == {f"corten-{one.bridge}" for one in daemons}
    for one, endpoint in zip(daemons, endpoints):
        await one.networks.disconnect(endpoint)
        await one.close()


async def test_what_was_chosen_stays(host: Net) -> None:
    first, second = Daemon(host, "a"), Daemon(host, "b")
    for one in (first, second):
        await one.networks.setup()
    subnets = (first.subnet, second.subnet)
    for one in (first, second):
        await one.networks.close()
    assert [link.name for link in rtnetlink.links(host.route)] == ["lo"]
    for one in (second, first):  # as after a boot, in another order
        await one.again()
    assert (first.bridge, second.bridge) == ("corten0", "corten1")
    assert (first.subnet, second.subnet) == subnets
    for one in (first, second):
        await one.close()


async def test_what_another_one_has_taken_is_left_to_it(host: Net) -> None:
    first = Daemon(host, "a")
    await first.networks.setup()
    before = first.subnet
    await first.networks.close()
    second = Daemon(host, "b")
    await second.networks.setup()
    assert (second.bridge, second.subnet) == ("corten0", before)
    await first.again()
    assert first.bridge == "corten1" and first.subnet != before
    assert second.subnet == before
    for one in (first, second):
        await one.close()


async def test_one_that_was_killed_finds_its_own(host: Net) -> None:
    """The containers run on, and no other daemon takes their bridge meanwhile."""
    first = Daemon(host, "a")
    await first.networks.setup()
    _, endpoint = await first.run("web")
    await first.networks.close()  # the container's device stays
    second = Daemon(host, "b")
    assert second.bridge == "corten1"
    await first.again()
    await first.networks.adopt(endpoint.record, endpoint.container_id)
    await first.networks.reconcile()
    assert first.bridge == "corten0" and endpoint.host_interface in first.leftovers()
    await first.networks.disconnect(endpoint)
    await second.networks.setup()
    for one in (first, second):
        await one.close()


async def test_of_an_older_version_it_is_taken_up(host: Net) -> None:
    """Its devices do not say whose they are."""
    first = Daemon(host, "")
    await first.networks.setup()
    _, endpoint = await first.run("web")
    await first.networks.close()
    other = Daemon(host, "b")
    assert other.bridge == "corten1"
    first.given = NetworkConfig(bridge="", owner="a")
    await first.again()
    assert first.bridge == "corten0"
    shown = rtnetlink.link_named(host.route, "corten0")
    assert shown is not None and shown.alias == "corten corten0 a"
    await first.networks.adopt(endpoint.record, endpoint.container_id)
    await first.networks.reconcile()
    await first.networks.disconnect(endpoint)
    await other.networks.setup()
    for one in (first, other):
        await one.close()


async def test_a_bridge_of_the_administrators_is_used(host: Net) -> None:
    host.run("ip", "link", "add", "corten0", "type", "bridge")
    host.run("ip", "addr", "add", "10.50.0.1/24", "dev", "corten0")
    first = Daemon(host, "a")
    await first.networks.setup()
    assert (first.bridge, first.subnet) == ("corten0", "10.50.0.0/24")
    second = Daemon(host, "b")
    assert second.bridge == "corten1"
    await second.networks.setup()
    for one in (first, second):
        await one.close()
    assert [link.name for link in rtnetlink.links(host.route)] == ["lo", "corten0"]


async def test_what_is_given_is_not_chosen(host: Net) -> None:
    for name in ("br7", "none"):
        assert default_bridge.chosen(NetworkConfig(bridge=name), MemoryTable()).bridge == name
    assert [link.name for link in rtnetlink.links(host.route)] == ["lo"]


async def test_no_name_is_free(host: Net, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(default_bridge, "_NAMES", ["corten0", "corten1"])
    host.run("ip", "link", "add", "corten0", "type", "veth", "peer", "name", "other")
    transactions = nft.Transactions()
    transactions.commit([nft.new_table(nft.Table(nft.NFPROTO_INET, "corten-corten1"))])
    with pytest.raises(Exhausted, match="--bridge"):
        Daemon(host, "a")
    transactions.close()


async def test_a_daemon_without_a_default_network(host: Net) -> None:
    """A container that asks for the bridge has its loopback alone, as with dockerd; others are as they are."""
    world = World(host, NetworkConfig(bridge="none", tag="x"))
    await world.networks.setup()
    assert [link.name for link in rtnetlink.links(host.route)] == ["lo"]
    for name in ("bridge", "default"):
        box, endpoint = await world.run(f"in-{name}", name, ports={"80/tcp": [{"HostPort": "8080"}]})
        assert (endpoint.network_name, endpoint.address, endpoint.ports) == ("none", "", {})
        assert [link.name for link in rtnetlink.links(box.route)] == ["lo"]
    for box in world.containers:
        box.close()
    await world.networks.close()
