"""What every driver of networks does, in throw-away namespaces; `network.driver` is the contract."""

# ruff: noqa: F401, F811 - fixtures are imported

from __future__ import annotations

import asyncio
import ipaddress
import os
import struct
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from corten.errors import Conflict, Invalid, Unsupported
from corten.kernel import rtnetlink
from corten.kernel.rtnetlink import mac_bytes
from corten.network import rate
from corten.network.addresses import Addresses
from corten.network.dataplane import Dataplane
from corten.network.definition import Definition, Range
from corten.network.driver import ActiveNetwork, Driver
from corten.network.endpoint import Endpoint
from corten.network.guest import GuestNamespace
from corten.network.interface import InterfaceSpec
from corten.tasks.answers import readable
from netns import Net
from network_world import host

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root")

DRIVERS = ("bridge", "macvlan", "ipvlan", "host", "null")
WITH_ADDRESSES = ("bridge", "macvlan", "ipvlan")
GATEWAY = ipaddress.ip_address("10.9.0.1")


def arp(kind: int, mac: str, address: str, other_mac: str, other: str) -> bytes:
    """An ARP packet for Ethernet and IPv4 (RFC 826): kind 1 asks, 2 answers."""
    pairs = [(mac, address), (other_mac, other)]
    return struct.pack(">HHBBH", 1, 0x800, 6, 4, kind) + b"".join(
        mac_bytes(hardware) + ipaddress.ip_address(text).packed for hardware, text in pairs
    )


class World:
    """One network of a driver, and a container that can be in it."""

    def __init__(self, host: Net, dataplane: Dataplane, kind: str) -> None:
        self.host, self.dataplane, self.box = host, dataplane, Net()
        self.driver: Driver = dataplane.drivers[kind]
        ranges = (Range("10.9.0.0/24", "", str(GATEWAY)),) if self.driver.reachability.addresses else ()
        self.definition = Definition("ab" * 32, "net", "2026-01-01T00:00:00Z", kind, ranges=ranges)
        self.network = self.active()
        self.endpoint = Endpoint(
            self.definition.id, "net", "cd" * 32, "c" * 64, "box", "eth0", mac="02:42:0a:09:00:02",
            address="10.9.0.2", prefix=24, gateway=str(GATEWAY),
        )  # fmt: skip
        self.spec = InterfaceSpec(
            "eth0", self.endpoint.mac, (ipaddress.ip_interface("10.9.0.2/24"),), (GATEWAY,), mtu=1400
        )
        self.released = 0

    def active(self, **options: str) -> ActiveNetwork:
        made = replace(self.definition, options=options)
        return ActiveNetwork(made, self.driver, Addresses(made))

    def ensure(self, network: ActiveNetwork | None = None) -> None:
        try:
            self.driver.ensure(network or self.network)
        except Unsupported as error:
            pytest.skip(str(error))

    def attach(self) -> Endpoint:
        self.ensure()
        made = self.driver.attach(self.network, self.endpoint, self.spec, self.box.namespace)
        self.network.add(made)
        return made

    def detach(self, endpoint: Endpoint, namespace: bool) -> None:
        self.network.drop(endpoint.endpoint_id)
        self.driver.detach(endpoint, self.release, self.box.namespace if namespace else None)

    def release(self) -> None:
        self.released += 1

    def links(self, net: Net | None = None) -> dict[str, int]:
        return {link.name: link.ifindex for link in rtnetlink.links((net or self.host).route)}

    def default_routes(self) -> list[tuple[str | None, int]]:
        routes = [r for r in rtnetlink.routes(self.box.route) if not r.destination.prefixlen]
        return [(str(r.gateway) if r.gateway else None, r.ifindex) for r in routes]


@pytest.fixture
async def dataplane(host: Net) -> AsyncIterator[Dataplane]:
    made = Dataplane("contract")
    yield made
    await made.settle()
    made.close()


@pytest.fixture(params=DRIVERS)
async def world(host: Net, dataplane: Dataplane, request: pytest.FixtureRequest) -> AsyncIterator[World]:
    made = World(host, dataplane, request.param)
    yield made
    made.box.close()


@pytest.fixture(params=WITH_ADDRESSES)
async def addressed(host: Net, dataplane: Dataplane, request: pytest.FixtureRequest) -> AsyncIterator[World]:
    made = World(host, dataplane, request.param)
    yield made
    made.box.close()


def test_all_drivers_are_here(dataplane: Dataplane) -> None:
    assert set(dataplane.drivers) == set(DRIVERS)


# ----------------------------------------------------------------------------------------------------------- networks


async def test_what_is_pure_needs_no_device(world: World) -> None:
    driver, made = world.driver, world.definition
    driver.check(made)
    has = driver.reachability
    assert bool(driver.device(made)) == has.addresses
    assert bool(driver.sources(made, 4)) == has.addresses
    assert bool(driver.default_routes(made, 7, [GATEWAY])) == has.addresses
    assert has.addresses or not (has.publishes or has.gateway)
    assert driver.predefined_only != has.addresses
    assert world.links() == {"lo": 1}


async def test_an_option_that_cannot_be(addressed: World) -> None:
    with pytest.raises(Invalid):
        addressed.driver.check(replace(addressed.definition, options={"com.docker.network.driver.mtu": "7"}))


async def test_a_network_is_made_and_removed_more_than_once(world: World) -> None:
    before = world.links()
    world.ensure()
    made = world.links()
    assert made.keys() - before.keys() == {world.network.device} - {""}
    world.ensure()
    world.driver.restore([world.network])
    assert world.links() == made  # the same device
    for _ in range(2):
        await world.driver.remove(world.network)
        assert world.links() == before


async def test_another_daemon_finds_the_device(addressed: World) -> None:
    addressed.ensure()
    before = addressed.links()
    second = Dataplane("contract")
    another = replace(addressed.network, driver=second.drivers[addressed.definition.driver])
    addressed.dataplane.firewall.close()  # as of a daemon that is gone: one table has one owner
    second.restore([another])
    assert addressed.links() == before
    assert second.warnings == []
    await another.driver.remove(another)
    assert addressed.links().keys() == {"lo"}
    second.firewall.remove()
    second.close()


async def test_a_device_of_another_program_stays(addressed: World) -> None:
    kind = addressed.definition.driver
    name, option = ("br9", "com.docker.network.bridge.name") if kind == "bridge" else ("d9", "parent")
    addressed.host.run("ip", "link", "add", name, "type", "bridge")
    network = addressed.active(**{option: name})
    assert network.device == name
    before = addressed.links()
    addressed.ensure(network)
    await addressed.driver.remove(network)
    assert addressed.links() == before


# ---------------------------------------------------------------------------------------------------------- endpoints


async def test_a_driver_without_addresses_attaches_nothing(host: Net, dataplane: Dataplane) -> None:
    for kind in set(DRIVERS) - set(WITH_ADDRESSES):
        world = World(host, dataplane, kind)
        before = world.links(), world.links(world.box)
        made = world.attach()
        assert made == world.endpoint and world.driver.attached(made)
        world.driver.ports_changed(made)
        world.detach(made, namespace=True)
        assert world.released == 1
        assert (world.links(), world.links(world.box)) == before
        world.box.close()


async def test_an_attached_device_is_as_it_was_asked_for(addressed: World) -> None:
    made = addressed.attach()
    inside = {link.name: link for link in rtnetlink.links(addressed.box.route)}
    assert inside.keys() == {"lo", "eth0"}
    link = inside["eth0"]
    assert (made.index, link.up) == (link.ifindex, True)
    assert made.mac in (link.mac, "")  # empty: its parent's
    assert "mtu 1400" in addressed.box.run("ip", "link", "show", "eth0")
    shown = [str(a.interface) for a in rtnetlink.addresses(addressed.box.route) if a.ifindex == made.index]
    assert "10.9.0.2/24" in shown
    assert addressed.default_routes() == [(str(GATEWAY), made.index)]
    assert replace(made, index=0, host_interface="", host_index=None, mac=addressed.endpoint.mac) == addressed.endpoint
    assert (made.host_index is None) == (not made.host_interface)
    if made.host_index is not None:
        assert addressed.links()[made.host_interface] == made.host_index
    assert addressed.driver.attached(made)
    assert Endpoint.from_json(made.record) == made


async def test_a_guest_gets_a_tap_or_nothing(addressed: World) -> None:
    """Its frames are a port's of the network's bridge: the gateway answers them."""
    addressed.ensure()
    guest = GuestNamespace(addressed.box.fd, addressed.box.route.fileno())
    before = addressed.links(addressed.box)
    with addressed.host.entered():
        try:
            made = addressed.driver.attach(addressed.network, addressed.endpoint, addressed.spec, guest)
        except Unsupported as error:
            assert "a guest cannot be in a network of the driver" in str(error) and not guest.taps
            return
    (tap,) = guest.taps
    assert tap.spec == addressed.spec and addressed.links(addressed.box) == before
    assert addressed.links()[made.host_interface] == made.host_index
    assert "mtu 1400" in addressed.host.run("ip", "link", "show", made.host_interface)
    asked = arp(1, addressed.spec.mac, "10.9.0.2", "00:00:00:00:00:00", str(GATEWAY))
    os.write(tap.fd, bytes(12) + bytes.fromhex("ffffffffffff") + mac_bytes(addressed.spec.mac) + b"\x08\x06" + asked)
    while True:
        await asyncio.wait_for(readable(tap.fd), 60)
        frame = os.read(tap.fd, 2048)[12:]
        if frame[12:14] == b"\x08\x06" and frame[20:22] == b"\0\2":
            break
    assert frame[28:32] == GATEWAY.packed and frame[:6] == mac_bytes(addressed.spec.mac)
    guest.close_taps()
    assert not addressed.driver.attached(made)
    addressed.detach(made, namespace=False)
    await addressed.dataplane.settle()
    assert addressed.released == 1


async def test_a_device_that_cannot_be_attached_leaves_nothing(addressed: World) -> None:
    addressed.ensure()
    addressed.box.run("ip", "link", "add", "eth0", "type", "bridge")
    before = addressed.links(), addressed.links(addressed.box)
    with pytest.raises(Conflict, match="eth0 exists in the container already"):
        addressed.attach()
    assert (addressed.links(), addressed.links(addressed.box)) == before
    bad = replace(addressed.spec, name="eth1", interfaces=(ipaddress.ip_interface("10.9.0.2/24"),) * 2)
    with pytest.raises(OSError):
        addressed.driver.attach(addressed.network, addressed.endpoint, bad, addressed.box.namespace)
    assert (addressed.links(), addressed.links(addressed.box)) == before


async def test_without_a_gateway_there_is_no_default_route(addressed: World) -> None:
    addressed.spec = replace(addressed.spec, gateways=())
    made = addressed.attach()
    assert addressed.default_routes() == []
    addressed.dataplane.set_default_routes(addressed.network, made, addressed.box.namespace)
    assert addressed.default_routes() == [(str(GATEWAY), made.index)]


async def test_a_container_goes_on_without_the_network(addressed: World) -> None:
    made = addressed.attach()
    for times in (1, 2):
        addressed.detach(made, namespace=True)
        await addressed.dataplane.wait_detached(made)
        await addressed.dataplane.settle()
        assert addressed.released == times
    assert addressed.links(addressed.box).keys() == {"lo"}
    assert addressed.links().keys() == {"lo", addressed.network.device}
    again = addressed.attach()
    assert addressed.driver.attached(again)


async def test_a_device_goes_with_its_namespace(addressed: World) -> None:
    made = addressed.attach()
    addressed.detach(made, namespace=False)
    addressed.box.close()
    await addressed.dataplane.settle()
    assert addressed.released == 1
    assert addressed.links().keys() == {"lo", addressed.network.device}
    addressed.box = Net()


async def test_rates_are_set_and_taken_away(addressed: World) -> None:
    made = addressed.attach()
    for limits in ("10mbit", "none"):
        try:
            addressed.dataplane.shape([made], rate.parse(limits), addressed.box.namespace)
        except Unsupported as error:
            pytest.skip(str(error))
        shown = addressed.box.run("tc", "qdisc", "show", "dev", "eth0")
        assert ("tbf" in shown) == (limits != "none")


async def test_a_lost_device_is_reported_where_this_host_can_see_it(addressed: World) -> None:
    lost: asyncio.Queue[Endpoint] = asyncio.Queue()
    addressed.ensure()
    for _ in range(2):  # idempotent
        addressed.driver.watch(lambda: [addressed.network], lost.put_nowait)
    made = addressed.attach()
    if made.host_interface:
        addressed.host.run("ip", "link", "delete", made.host_interface)
        assert not addressed.driver.attached(made)
        async with asyncio.timeout(60):
            assert await lost.get() == made
    for _ in range(2):
        addressed.driver.unwatch()
