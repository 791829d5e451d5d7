"""The golden matrix: from where to where packets pass. `network audit` has to say the same as the kernel does.

Every network has a server ("srv") and a client ("cli"). A target is a container's own address, or what it published:
port 80xx on every address of the host, port 90xx on 127.0.0.1 alone.
"""

# ruff: noqa: F401, F811 - fixtures are imported

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from corten.kernel import rtnetlink
from docker_json import network as network_of
from netns import Net, passing
from network_world import World, host, neighbour

NETWORKS: dict[str, dict[str, Any]] = {
    "bridge": {},
    "red": {},
    "shy": {"Options": {"com.docker.network.bridge.enable_icc": "false"}},
    "vault": {"Internal": True},
}
SOURCES = ("outside", "host", "bridge", "red", "shy", "vault")
TARGETS = [(network, how) for network in NETWORKS for how in ("direct", "published", "loopback")]

# Which sources reach a target; the order of SOURCES. "." is no, "x" is yes.
MATRIX = {
    ("bridge", "direct"): ".xx...",
    ("bridge", "published"): "xxxxx.",
    ("bridge", "loopback"): ".x....",
    ("red", "direct"): ".x.x..",
    ("red", "published"): "xxxxx.",
    ("red", "loopback"): ".x....",
    ("shy", "direct"): ".x....",
    ("shy", "published"): "xxxxx.",
    ("shy", "loopback"): ".x....",
    ("vault", "direct"): ".x...x",
    ("vault", "published"): "......",  # nothing of an internal network is published
    ("vault", "loopback"): "......",
}


class Matrix:
    """Everything set up once."""

    def __init__(self, world: World, outside: Net) -> None:
        self.world = world
        self.sources: dict[str, Net] = {"outside": outside, "host": world.host}
        self.addresses: dict[str, str] = {}
        self.published: dict[tuple[str, str], int] = {}
        self.servers: list[Any] = []

    async def build(self) -> None:
        for number, (name, request) in enumerate(NETWORKS.items()):
            if name != "bridge":
                await self.world.networks.create(network_of({"Name": name, **request}))
            ports = {
                "80/tcp": [{"HostPort": str(8000 + number)}, {"HostIp": "127.0.0.1", "HostPort": str(9000 + number)}]
            }
            box, endpoint = await self.world.run(f"srv-{name}", name, ports)
            self.servers.append(box.listen("0.0.0.0", 80))
            self.addresses[name] = endpoint.address
            self.published[name, "published"], self.published[name, "loopback"] = 8000 + number, 9000 + number
            self.sources[name], _ = await self.world.run(f"cli-{name}", name)
        outside = self.sources["outside"]
        outside.run("ip", "route", "replace", "default", "via", "192.0.2.1")

    def probe(self, source: str, network: str, how: str) -> tuple[Net, str, int]:
        net = self.sources[source]
        if how == "direct":
            return net, self.addresses[network], 80
        return net, "192.0.2.1" if how == "published" else "127.0.0.1", self.published.get((network, how), 9)

    def audited(self, source: str, network: str, how: str) -> bool:
        port = self.published[network, how] if how != "direct" else 0
        via = {"direct": self.addresses[network], "published": f"0.0.0.0:{port}", "loopback": f"127.0.0.1:{port}"}[how]
        return any(
            way["Container"] == f"srv-{network}" and way["Via"] == via and source in way["From"]
            for way in self.world.networks.audit()
        )


@pytest.fixture(params=["0", "1"], ids=["frames-unfiltered", "frames-filtered"])
async def matrix(host: Net, neighbour: Net, request: pytest.FixtureRequest) -> AsyncIterator[Matrix]:
    try:
        with open("/proc/sys/net/bridge/bridge-nf-call-iptables", "w") as file:
            file.write(request.param)
    except FileNotFoundError:
        if request.param == "1":
            pytest.skip("br_netfilter is not loaded")
    world = World(host)
    await world.networks.setup()
    made = Matrix(world, neighbour)
    await made.build()
    yield made
    for server in made.servers:
        server.close()
    await world.networks.close()
    for box in world.containers:
        box.close()


async def test_the_matrix(matrix: Matrix, request: pytest.FixtureRequest) -> None:
    filtered = "frames-filtered" in request.node.name
    passed = iter(passing([matrix.probe(source, *target) for target in TARGETS for source in SOURCES]))
    found, audited = {}, {}
    for network, how in TARGETS:
        found[network, how] = "".join("x" if next(passed) else "." for _ in SOURCES)
        audited[network, how] = "".join("x" if matrix.audited(s, network, how) else "." for s in SOURCES)
    expected = dict(MATRIX)
    assert audited == expected
    if filtered:  # from port to port of one bridge, which isolation forbids
        expected["shy", "published"] = "xxxx.."
    assert found == expected


async def test_a_neighbour_with_routes_gets_no_further(matrix: Matrix) -> None:
    """NET-05: routed straight at containers, and with loopback addresses on the wire."""
    outside = matrix.sources["outside"]
    index = next(link.ifindex for link in rtnetlink.links(outside.route) if link.name == "up0")
    outside.route.request(rtnetlink.route_localnet(index))
    outside.run("ip", "route", "replace", "table", "local", "unicast", "127.0.0.1", "via", "192.0.2.1", "dev", "up0")
    probes = [(outside, matrix.addresses[name], 80) for name in NETWORKS]
    probes += [(outside, "127.0.0.1", matrix.published[name, "loopback"]) for name in NETWORKS]
    assert not any(passing(probes))
