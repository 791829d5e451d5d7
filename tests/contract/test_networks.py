"""What containers and the API may expect of networks: the real ones, in throw-away namespaces, and the tests' fake."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import replace
from inspect import signature
from pathlib import Path
from typing import Any

import pytest

import network_world
from corten.engine.networks.networks import Networks
from corten.errors import Conflict, Failed, Forbidden, Invalid, NotFound
from corten.network.driver import Namespace as OpenNamespace
from corten.network.endpoint import Endpoint
from corten.network.endpoint_request import EndpointRequest
from corten.spec.docker.filters import Filters
from corten.tasks.contract import Namespace
from docker_json import endpoint as settings_of
from docker_json import network, port_map
from fakes.networks import FakeNetworks
from netns import Net

Json = dict[str, Any]
FIXED = {"Name": "fixed", "IPAM": {"Config": [{"Subnet": "10.77.0.0/24"}]}}


def id_of(name: str) -> str:
    return name.ljust(64, "0")


class World(ABC):
    """Networks, and containers that are namespaces and nothing else."""

    networks: Networks | FakeNetworks
    events: list[tuple[str, str, str, Mapping[str, str]]]

    @abstractmethod
    def namespace(self) -> OpenNamespace:
        """A new container's."""

    @abstractmethod
    def delete_device(self, endpoint: Endpoint) -> None:
        """As another program does it."""

    @abstractmethod
    async def restart(self) -> None:
        """Another daemon, which has adopted nothing yet."""

    async def connect(
        self,
        name: str,
        network: str = "bridge",
        ports: Json | None = None,
        namespace: OpenNamespace | None = None,
        **settings: Any,
    ) -> Endpoint:
        request = EndpointRequest(
            network,
            id_of(name),
            namespace or self.namespace(),
            settings_of(settings),
            names=[name],
            port_bindings=port_map(ports or {}),
            exposed=["80/tcp"],
        )
        return await self.networks.connect(request)


class RealWorld(World):
    def __init__(self) -> None:
        self.net = Net()
        self.nets: list[Net] = []
        with self.net.entered():
            self._inner = network_world.World(self.net)
        self.networks = self._inner.networks
        self.events = self._inner.events

    def namespace(self) -> OpenNamespace:
        self.nets.append(Net())
        return self.nets[-1].namespace

    def delete_device(self, endpoint: Endpoint) -> None:
        self.net.run("ip", "link", "delete", endpoint.host_interface)

    async def restart(self) -> None:
        await self._inner.restart()
        self.networks = self._inner.networks

    async def close(self) -> None:
        await self._inner.networks.close()
        for net in (*self.nets, self.net):
            net.close()


class FakeWorld(World):
    def __init__(self) -> None:
        self.events = []
        self.fake = FakeNetworks(lambda *event: self.events.append(event))
        self.networks = self.fake

    def namespace(self) -> OpenNamespace:
        return Namespace(Path("/proc/self/ns/net"), -1, -1)

    def delete_device(self, endpoint: Endpoint) -> None:
        assert endpoint.host_index is not None
        self.fake.driver.gone.add(endpoint.host_index)

    async def restart(self) -> None:
        self.fake.restart()


@pytest.fixture(params=["real", "fake"])
async def world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    if request.param == "fake":
        yield FakeWorld()
        return
    if os.geteuid() != 0:
        pytest.skip("network namespaces need root")
    made = RealWorld()
    with made.net.entered():
        await made._inner.networks.setup()
        yield made
        await made.close()


def test_both_are_called_alike() -> None:
    """The engine's type is `Networks`, which is no protocol: mypy cannot see that the fake takes other arguments."""
    methods = [name for name in vars(FakeNetworks) if not name.startswith("_")]
    shared = [name for name in methods if callable(getattr(Networks, name, None))]
    assert len(shared) > 20
    for name in shared:
        assert arguments(getattr(FakeNetworks, name)) == arguments(getattr(Networks, name)), name


def arguments(function: Callable[..., object]) -> list[tuple[str, object, object]]:
    return [(one.name, one.kind, one.default) for one in signature(function).parameters.values()]


# ------------------------------------------------------------------------------------------------------------ connect


async def test_an_endpoint_is_all_that_is_known_of_a_connection(world: World) -> None:
    made = await world.connect("web", Aliases=["www"])
    assert (made.network_name, made.container_id, made.container_name) == ("bridge", id_of("web"), "web")
    assert (made.network_id, made.address, made.gateway) == (
        world.networks.find("bridge").definition.id,
        "172.17.0.2",
        "172.17.0.1",
    )
    assert (made.interface, made.mac, made.ports) == ("eth0", "02:42:ac:11:00:02", {"80/tcp": None})
    assert made.index > 0 and made.host_index is not None and made.host_interface
    assert world.networks.named_endpoints(made.container_id) == [("bridge", made)]
    assert made.settings["Aliases"] == ["www"]
    assert Endpoint.from_json(made.record) == made


async def test_each_container_has_an_address_of_its_own_and_gives_it_back(world: World) -> None:
    one, two = await world.connect("one"), await world.connect("two")
    assert (one.address, two.address) == ("172.17.0.2", "172.17.0.3")
    await world.networks.disconnect(one)
    await world.networks.settle()
    assert (await world.connect("three")).address == one.address


async def test_a_container_is_in_a_network_once(world: World) -> None:
    await world.connect("web")
    with pytest.raises(Forbidden, match="endpoint with name web already exists in network bridge"):
        await world.connect("web")


async def test_a_container_is_in_several_networks(world: World) -> None:
    await world.networks.create(network(FIXED))
    namespace = world.namespace()
    first = await world.connect("web", "bridge", namespace=namespace)
    named = {"com.docker.network.endpoint.ifname": "b"}
    second = await world.connect("web", "fixed", namespace=namespace, DriverOpts=named)
    assert (second.address, second.interface) == ("10.77.0.2", "b")
    assert dict(world.networks.named_endpoints(id_of("web"))) == {"bridge": first, "fixed": second}
    await world.networks.disconnect(first, namespace)
    assert world.networks.named_endpoints(id_of("web")) == [("fixed", second)]


async def test_nothing_is_in_a_network_that_is_not_there(world: World) -> None:
    with pytest.raises(NotFound, match="network nowhere not found"):
        await world.connect("web", "nowhere")
    with pytest.raises(NotFound):
        world.networks.find("nowhere")
    with pytest.raises(NotFound):
        world.networks.validate("nowhere", settings_of({}))


async def test_host_and_none_give_nothing(world: World) -> None:
    for name in ("host", "none"):
        made = await world.connect("web", name)
        assert (made.address, made.interface, made.index, made.host_index, made.ports) == ("", "", 0, None, {})
        assert not world.networks.lacks_device(made)
        await world.networks.disconnect(made)
    assert world.networks.named_endpoints(id_of("web")) == []


async def test_an_address_that_is_asked_for(world: World) -> None:
    await world.networks.create(network(FIXED))
    asked: Json = {"IPAMConfig": {"IPv4Address": "10.77.0.50"}, "MacAddress": "02:00:00:AA:BB:CC"}
    made = await world.connect("one", "fixed", **asked)
    assert (made.address, made.mac) == ("10.77.0.50", "02:00:00:aa:bb:cc")
    with pytest.raises(Forbidden, match=r"10\.77\.0\.50 is already in use"):
        await world.connect("two", "fixed", **asked)
    with pytest.raises(Invalid, match="user defined networks only"):
        await world.connect("two", "bridge", IPAMConfig={"IPv4Address": "172.17.0.50"})
    with pytest.raises(Invalid):
        world.networks.validate("bridge", settings_of({"IPAMConfig": {"IPv4Address": "172.17.0.50"}}))
    assert world.networks.validate("fixed", settings_of(asked)).name == "fixed"


async def test_disconnect_is_idempotent(world: World) -> None:
    made = await world.connect("web")
    await world.networks.disconnect(made)
    await world.networks.disconnect(made)
    await world.networks.settle()
    assert world.networks.named_endpoints(made.container_id) == []
    assert [event[1] for event in world.events] == ["connect", "disconnect"]


async def test_a_step_of_a_build_is_connected_without_an_event(world: World) -> None:
    request = EndpointRequest("bridge", id_of("step"), world.namespace())
    made = await world.networks.connect(request, quiet=True)
    assert made.address
    await world.networks.disconnect(made, quiet=True)
    await world.networks.settle()
    assert world.networks.named_endpoints(made.container_id) == []
    assert world.events == []


async def test_events_name_the_network_and_the_container(world: World) -> None:
    made = await world.connect("web")
    assert world.events == [
        ("network", "connect", made.network_id, {"name": "bridge", "type": "bridge", "container": id_of("web")})
    ]


# -------------------------------------------------------------------------------------------------------------- ports


def bound(port: int) -> Json:
    return {"80/tcp": [{"HostPort": str(port)}]}


async def test_a_published_port_belongs_to_one_container(world: World) -> None:
    web = await world.connect("web", ports=bound(8080))
    assert web.ports == {"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}]}
    with pytest.raises(Failed, match="8080 failed: port is already allocated"):
        await world.connect("other", ports=bound(8080))
    assert world.networks.named_endpoints(id_of("other")) == []
    await world.networks.disconnect(web)
    assert (await world.connect("other", ports=bound(8080))).ports == web.ports


async def test_any_free_port(world: World) -> None:
    ports = [(await world.connect(name, ports=bound(0))).ports["80/tcp"] for name in ("one", "two")]
    numbers = {int(rows[0]["HostPort"]) for rows in ports if rows}
    assert len(numbers) == 2 and all(number > 1023 for number in numbers)


async def test_other_ports_while_it_runs(world: World) -> None:
    web = await world.connect("web", ports=bound(8080))
    changed = await world.networks.republish(web.container_id, port_map(bound(9090)), port_map(bound(8080)), ["80/tcp"])
    assert changed == replace(web, ports={"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "9090"}]})
    assert world.networks.named_endpoints(web.container_id) == [("bridge", changed)]
    await world.connect("other", ports=bound(8080))
    with pytest.raises(Failed):
        await world.networks.republish(web.container_id, port_map(bound(8080)), port_map(bound(9090)), [])
    with pytest.raises(Failed):  # and nothing has changed
        await world.connect("third", ports=bound(9090))
    with pytest.raises(NotFound, match="port 80/tcp is not published as 7"):
        await world.networks.republish(web.container_id, {}, port_map(bound(7)), [])


async def test_without_a_network_that_publishes(world: World) -> None:
    await world.networks.create(network({"Name": "in", "Internal": True}))
    made = await world.connect("web", "in", ports=bound(8080))
    assert (made.ports, made.gateway) == ({"80/tcp": None}, "")
    with pytest.raises(Conflict, match="has no network that can publish ports"):
        await world.networks.republish(made.container_id, port_map(bound(8080)), {}, [])


# ------------------------------------------------------------------------------------------------------ while it runs


async def test_a_container_has_another_name(world: World) -> None:
    await world.networks.create(network(FIXED))
    await world.connect("web", "fixed", Aliases=["www"])
    world.networks.rename(id_of("web"), "shop")
    ((_, now),) = world.networks.named_endpoints(id_of("web"))
    assert (now.container_name, now.dns_names) == ("shop", ["shop", "www", id_of("web")[:12]])
    shown = world.networks.inspect("fixed")["Containers"][id_of("web")]
    assert (shown["Name"], shown["IPv4Address"]) == ("shop", "10.77.0.2/24")


async def test_an_old_name_that_is_an_alias_or_the_hostname_stays(world: World) -> None:
    await world.networks.create(network(FIXED))
    await world.connect("web", "fixed", Aliases=["web"])
    await world.connect("db", "fixed")
    world.networks.rename(id_of("web"), "shop")
    world.networks.rename(id_of("db"), "store", "db")
    ((_, web),), ((_, db),) = (world.networks.named_endpoints(id_of(name)) for name in ("web", "db"))
    assert web.dns_names == ["shop", id_of("web")[:12], "web"]
    assert db.dns_names == ["store", id_of("db")[:12], "db"]


async def test_a_device_that_is_gone_is_made_again(world: World) -> None:
    namespace = world.namespace()
    made = await world.connect("web", namespace=namespace)
    assert not world.networks.lacks_device(made)
    world.delete_device(made)
    assert world.networks.lacks_device(made)
    again = world.networks.reconnect(made, namespace)
    assert not world.networks.lacks_device(again)
    assert replace(again, index=made.index, host_index=made.host_index) == made
    await world.networks.disconnect(again)
    assert not world.networks.lacks_device(again)  # it is not connected
    with pytest.raises(NotFound, match="is not in network bridge any more"):
        world.networks.reconnect(again, namespace)


async def test_a_rate_that_cannot_be(world: World) -> None:
    namespace = world.namespace()
    await world.connect("web", namespace=namespace)
    world.networks.shape(id_of("web"), "none", namespace)
    with pytest.raises(Invalid):
        world.networks.shape(id_of("web"), "fast", namespace)


async def test_without_a_name_server_no_container_needs_one(world: World) -> None:
    await world.networks.create(network(FIXED))
    await world.connect("web", "fixed")
    assert not world.networks.needs_resolver(id_of("web"))


async def test_the_texts_of_a_container(world: World) -> None:
    made = await world.connect("web")
    extra, linked = ["db:10.0.0.9", "up:host-gateway"], [("10.0.0.3", "alias name")]
    hosts = world.networks.hosts_file([made], "box", "example.org", extra, linked)
    assert f"{made.address}\tbox.example.org box\n" in hosts
    assert "10.0.0.9\tdb\n172.17.0.1\tup\n10.0.0.3\talias name\n" in hosts
    with pytest.raises(Invalid):
        world.networks.hosts_file([made], "box", extra=["nonsense"])
    assert world.networks.resolv_conf([made], ["192.0.2.7"], ["example.org"], ["ndots:2"]) == (
        "nameserver 192.0.2.7\nsearch example.org\noptions ndots:2\n"
    )


# ---------------------------------------------------------------------------------------------------- another daemon


async def test_what_went_on_is_adopted(world: World) -> None:
    await world.networks.create(network(FIXED))
    made = await world.connect("web", "fixed", ports=bound(8080))
    record = made.record
    await world.restart()
    assert world.networks.named_endpoints(made.container_id) == []
    assert await world.networks.adopt(record, made.container_id) == made
    assert await world.networks.adopt(record, made.container_id) == made
    assert world.networks.named_endpoints(made.container_id) == [("fixed", made)]
    assert not world.networks.lacks_device(made)
    assert (await world.connect("other", "fixed")).address == "10.77.0.3"
    with pytest.raises(Failed):
        await world.connect("third", ports=bound(8080))
    await world.networks.disconnect(made)
    await world.connect("third", ports=bound(8080))


async def test_a_network_may_be_gone_when_a_container_is_adopted(world: World) -> None:
    made = await world.connect("web")
    lost = {**made.record, "network_id": "f" * 64, "network_name": "gone"}
    with pytest.raises(NotFound, match="network gone of container"):
        await world.networks.adopt(lost, made.container_id)


# ----------------------------------------------------------------------------------------------------------- the noun


def names(world: World, filters: Filters | None = None) -> set[str]:
    return {shown["Name"] for shown in world.networks.list(filters)}


async def test_networks_are_created_listed_and_removed(world: World) -> None:
    before = names(world)
    assert before >= {"bridge", "host", "none"}
    id = (await world.networks.create(network(FIXED)))["Id"]
    assert names(world) == {*before, "fixed"}
    assert names(world, Filters({"driver": ["null"]})) == {"none"}
    for reference in (id, id[:40], "fixed"):
        assert world.networks.find(reference).definition.name == "fixed"
    assert (world.networks.id_of("fixed"), world.networks.id_of("nowhere"), world.networks.id_of(id)) == (id, "", "")
    assert world.networks.inspect("fixed")["IPAM"]["Config"] == [{"Subnet": "10.77.0.0/24"}]  # as it was given
    assert world.networks.find("fixed").definition.ranges[0].gateway == "10.77.0.1"
    with pytest.raises(Conflict, match="network with name fixed already exists"):
        await world.networks.create(network(FIXED))
    with pytest.raises(Invalid, match="invalid filter"):
        world.networks.list(Filters({"color": ["red"]}))
    await world.restart()
    assert names(world) == {*before, "fixed"}
    await world.networks.remove("fixed")
    assert names(world) == before
    assert [(event[1], event[3]["name"]) for event in world.events] == [("create", "fixed"), ("destroy", "fixed")]


async def test_what_cannot_be_created(world: World) -> None:
    for request, error in (
        ({"Name": "host"}, Forbidden),
        ({"Name": "n", "Driver": "null"}, Forbidden),
        ({"Name": "n", "Driver": "weave"}, NotFound),
        ({"Name": "n", "ConfigFrom": {"Network": "nowhere"}}, NotFound),
        ({"Name": "n", "IPAM": {"Config": [{"Subnet": "10.0.0.0"}]}}, Invalid),
    ):
        with pytest.raises(error):
            await world.networks.create(network(request))


async def test_what_is_in_use_stays(world: World) -> None:
    await world.networks.create(network(FIXED))
    await world.networks.create(network({"Name": "idle", "Labels": {"a": "b"}}))
    made = await world.connect("web", "fixed")
    with pytest.raises(Forbidden, match="pre-defined"):
        await world.networks.remove("bridge")
    with pytest.raises(Forbidden, match="has active endpoints"):
        await world.networks.remove("fixed")
    assert (await world.networks.prune(Filters({"label": ["other"]})))["NetworksDeleted"] == []
    assert (await world.networks.prune())["NetworksDeleted"] == ["idle"]
    await world.networks.disconnect(made)
    await world.networks.remove("fixed")
    with pytest.raises(NotFound):
        await world.networks.remove("fixed")


async def test_a_configuration_is_no_place_for_containers(world: World) -> None:
    await world.networks.create(network({**FIXED, "ConfigOnly": True}))
    with pytest.raises(Forbidden, match="configuration-only"):
        await world.connect("web", "fixed")
