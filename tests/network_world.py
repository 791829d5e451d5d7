"""A simulated host with a daemon's networks on it, for tests.

neighbour 192.0.2.9 ---- 192.0.2.1 host ---- bridges ---- containers
"""

from __future__ import annotations

import ipaddress
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any, TypedDict, Unpack

import pytest

import netns
from corten.engine.networks.networks import Networks
from corten.kernel import rtnetlink
from corten.network.config import NetworkConfig
from corten.network.endpoint import Endpoint
from corten.network.endpoint_request import EndpointRequest
from docker_json import endpoint as endpoint_of
from docker_json import port_map
from fakes.table import MemoryTable
from netns import Net

Json = dict[str, Any]


@pytest.fixture
def host() -> Iterator[Net]:
    net = Net()
    with net.entered():
        yield net
    net.close()


@pytest.fixture
def neighbour(host: Net) -> Iterator[Net]:
    net = Net()
    netns.wire(host, net, "192.0.2.1/24", "192.0.2.9/24")
    net.route.request(rtnetlink.route(index_of(net, "up0"), ipaddress.ip_address("192.0.2.1")))
    yield net
    net.close()


def index_of(net: Net, name: str) -> int:
    return next(link.ifindex for link in rtnetlink.links(net.route) if link.name == name)


class EndpointFields(TypedDict, total=False):
    """Of Docker's EndpointSettings."""

    IPAMConfig: Json
    MacAddress: str
    Aliases: list[str]
    Links: list[str]
    DriverOpts: dict[str, str]
    GwPriority: int


class World:
    """A daemon's networks, and the containers in them."""

    def __init__(self, host: Net, config: NetworkConfig | None = None, table: MemoryTable | None = None) -> None:
        self.host = host
        self.table = table or MemoryTable()
        self.events: list[tuple[str, str, str, Mapping[str, str]]] = []
        self.lost: list[Endpoint] = []  # whose device was reported to be gone
        self.containers: list[Net] = []
        self.config = config or NetworkConfig(bridge="ct0")
        self.networks = self._new()

    def _new(self) -> Networks:
        return Networks(
            self.table, self.config, lambda *event: self.events.append(event), self.lost.append, lambda: None
        )

    async def restart(self) -> None:
        """As after kill -9: nothing is taken down, sockets close."""
        await self.networks.close()
        self.networks = self._new()
        await self.networks.setup()

    async def run(
        self,
        name: str,
        network: str = "bridge",
        ports: Json | None = None,
        net: Net | None = None,
        **settings: Unpack[EndpointFields],
    ) -> tuple[Net, Endpoint]:
        box = net or Net()
        if net is None:
            self.containers.append(box)
        index = sum(link.name.startswith("eth") for link in rtnetlink.links(box.route))
        request = EndpointRequest(
            network,
            name.ljust(64, "0"),
            box.namespace,
            endpoint_of(dict(settings)),
            names=[name],
            port_bindings=port_map(ports or {}),
            exposed=["80/tcp"],
            index=index,
        )
        return box, await self.networks.connect(request)

    def leftovers(self) -> list[str]:
        return [link.name for link in rtnetlink.links(self.host.route) if link.kind == "veth" and link.name != "up0"]


@pytest.fixture
async def world(host: Net) -> AsyncIterator[World]:
    made = World(host)
    await made.networks.setup()
    yield made
    await made.networks.close()
    for box in made.containers:
        box.close()


def bound(port: int, ip: str = "") -> Json:
    return {"80/tcp": [{"HostIp": ip, "HostPort": str(port)}]}


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
