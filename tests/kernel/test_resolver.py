"""The name server at 127.0.0.11, asked by programs' own way: sockets to port 53 in the container's namespace."""

from __future__ import annotations

import asyncio
import ipaddress
import os
import signal
import socket
import struct
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from corten.engine.networks.networks import Networks
from corten.errors import NotFound, Unavailable
from corten.network.config import NetworkConfig
from corten.network.endpoint import Endpoint
from corten.network.endpoint_request import EndpointRequest
from corten.network.resolver import Sockets
from corten.supervisor.sockets import NAMES
from corten.tasks.long_lived import LauncherProcess, name_server
from docker_json import endpoint as endpoint_of
from docker_json import network
from e2e_parts.patience import until
from fakes.table import MemoryTable
from forker import Forker
from netns import Net

UPSTREAM = "192.0.2.53"


@pytest.fixture
def host() -> Iterator[Net]:
    net = Net()
    with net.entered():
        net.run("ip", "addr", "add", f"{UPSTREAM}/32", "dev", "lo")
        yield net
    net.close()


@pytest.fixture
def dnsmasq(host: Net, tmp_path: Path) -> Iterator[Path]:
    """A real upstream, with a log of what it was asked."""
    log = tmp_path / "queries"
    try:
        with host.entered():
            server = subprocess.Popen(
                ["dnsmasq", "-k", "-p", "53", "-a", UPSTREAM, "-z", "-R", "-h", "-u", "root", "-C", "/dev/null", "-q"]
                + [f"--log-facility={log}", f"--pid-file={tmp_path}/pid", "--address=/example.org/198.51.100.7"]
                + ["--txt-record=long.example.org," + ",".join(["x" * 250] * 8)],
            )
    except FileNotFoundError:
        pytest.skip("dnsmasq is not installed")
    try:
        until(_listens)
        yield log
    finally:
        server.terminate()
        server.wait()


def _listens() -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        return probe.connect_ex((UPSTREAM, 53)) == 0


def sockets(net: Net) -> Sockets:
    with net.entered():
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        tcp = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        netfilter = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12)
    udp.bind(("127.0.0.11", 0))
    tcp.bind(("127.0.0.11", 0))
    tcp.listen(16)
    return Sockets(udp.detach(), tcp.detach(), netfilter.detach())


class World:
    def __init__(self, root: Path) -> None:
        self.root = root
        self.resolv_conf = root / "resolv.conf"
        self.resolv_conf.write_text(f"nameserver {UPSTREAM}\n")
        self.table, self.forker = MemoryTable(), Forker()
        self.resolver_lost = asyncio.Event()
        self.networks = self.new()
        self.boxes: list[Net] = []

    def new(self) -> Networks:
        self.server = LauncherProcess(self.forker, self.root, name_server(self.resolv_conf))
        config = NetworkConfig(bridge="ct0", resolv_conf=self.resolv_conf)
        lost = self.resolver_lost.set
        return Networks(self.table, config, lambda *event: None, lambda endpoint: None, lost, self.server)

    async def restart(self, endpoints: list[Endpoint]) -> None:
        """As after kill -9: nothing is taken down, sockets close."""
        self.server.close()
        self.networks.dataplane.close()
        self.networks = self.new()
        await self.networks.setup()
        for endpoint in endpoints:
            await self.networks.adopt(endpoint.record, endpoint.container_id)
        await self.networks.reconcile()

    async def run(self, name: str, network: str, box: Net | None = None, **settings: Any) -> tuple[Net, Endpoint]:
        net = box or Net()
        if box is None:
            self.boxes.append(net)
        id = name.ljust(64, "0")
        index = len(self.networks.of_container(id))
        request = EndpointRequest(network, id, net.namespace, endpoint_of(settings), names=[name], index=index)
        endpoint = await self.networks.connect(request)
        if self.networks.needs_resolver(id):
            await self.networks.start_resolver(id, sockets(net))
        return net, endpoint


@pytest.fixture
async def world(host: Net, tmp_path: Path) -> AsyncIterator[World]:
    made = World(tmp_path)
    await made.networks.setup()
    await made.networks.create(network({"Name": "shop"}))
    yield made
    for box in made.boxes:
        box.close()
    for endpoint in [e for used in made.networks.store.values() for e in used.endpoints.values()]:
        await made.networks.disconnect(endpoint)
    await made.networks.close()
    made.forker.wait()


async def ask(net: Net, name: str, kind: str = "A", *options: str) -> list[str]:
    """dig's answer, sorted; its status when that is not NOERROR."""

    def dig() -> str:
        with net.entered():
            command = [
                "dig",
                "@127.0.0.11",
                "+tries=1",
                "+time=4",
                "+noall",
                "+answer",
                "+comments",
                *options,
                name,
                kind,
            ]
            return subprocess.run(command, capture_output=True, text=True).stdout

    text = await asyncio.to_thread(dig)
    status = text.partition("status: ")[2].partition(",")[0]
    rows = [line.split(None, 4)[4] for line in text.splitlines() if line and not line.startswith(";")]
    return sorted(rows) if status == "NOERROR" else [status or text]


@pytest.fixture(autouse=True)
def _needs_dig() -> None:
    try:
        subprocess.run(["dig", "-v"], capture_output=True)
    except FileNotFoundError:
        pytest.skip("dig is not installed (bind9-dnsutils)")


@pytest.mark.parametrize("transport", ["+notcp", "+tcp"])
async def test_names_of_a_network(world: World, transport: str) -> None:
    web, first = await world.run("web", "shop", Aliases=["front", "both"])
    _, second = await world.run("db", "shop", Aliases=["both"])
    assert await ask(web, "db", "A", transport) == [second.address]
    assert await ask(web, "DB.shop", "A", transport) == [second.address]
    assert await ask(web, "front", "A", transport) == [first.address]
    assert await ask(web, second.container_id[:12], "A", transport) == [second.address]
    assert await ask(web, "both", "A", transport) == sorted([first.address, second.address])
    assert await ask(web, "db", "AAAA", transport) == []  # the name exists
    assert await ask(web, "db", "MX", transport) == []
    reverse = ipaddress.ip_address(second.address).reverse_pointer
    assert await ask(web, reverse, "PTR", transport) == ["db.shop."]
    text = world.networks.resolv_conf([first])
    assert text == "nameserver 127.0.0.11\noptions ndots:0\n"


async def test_other_names_are_forwarded_and_ours_never(world: World, dnsmasq: Path) -> None:
    web, _ = await world.run("web", "shop")
    await world.run("db", "shop")
    assert await ask(web, "example.org") == ["198.51.100.7"]
    assert await ask(web, "example.org", "A", "+tcp") == ["198.51.100.7"]
    (text,) = await ask(web, "long.example.org", "TXT")  # too long for UDP: dig asks again by TCP
    assert len(text) > 2000
    assert await ask(web, "absent.invalid") in (["NXDOMAIN"], ["REFUSED"])
    for kind in ("A", "AAAA", "MX", "TXT"):
        await ask(web, "db", kind)
    asked = dnsmasq.read_text()
    assert "example.org" in asked
    assert " db " not in asked


async def test_the_hosts_servers_are_followed(world: World, dnsmasq: Path) -> None:
    world.resolv_conf.write_text("nameserver 192.0.2.99\n")  # no server is there
    web, _ = await world.run("web", "shop")
    world.resolv_conf.write_text(f"nameserver {UPSTREAM}\n")
    assert await ask(web, "example.org") == ["198.51.100.7"]


@pytest.mark.parametrize("transport", ["+notcp", "+tcp"])
async def test_an_internal_network_leaks_no_question(world: World, dnsmasq: Path, transport: str) -> None:
    await world.networks.create(network({"Name": "vault", "Internal": True}))
    box, _ = await world.run("safe", "vault")
    _, other = await world.run("lock", "vault")
    assert await ask(box, "lock", "A", transport) == [other.address]
    assert await ask(box, "secret.example.org", "A", transport) == ["REFUSED"]
    assert await ask(box, "secret.example.org", "A", transport, "+dnssec") == ["REFUSED"]
    assert "secret" not in (dnsmasq.read_text() if dnsmasq.exists() else "")
    _, second = await world.run("safe", "shop", box)
    assert await ask(box, "secret.example.org", "A", transport) == ["198.51.100.7"]
    await world.networks.disconnect(second, box.namespace)
    assert await ask(box, "secret.example.org", "A", transport) == ["REFUSED"]


async def test_names_of_other_networks_are_unknown(world: World, dnsmasq: Path) -> None:
    await world.networks.create(network({"Name": "other"}))
    web, _ = await world.run("web", "shop")
    both, _ = await world.run("both", "shop")
    await world.run("far", "other")
    assert await ask(web, "far") in (["NXDOMAIN"], ["REFUSED"])
    _, there = await world.run("both", "other", both)
    (found,) = await ask(both, "far")
    assert found.startswith(there.address.rpartition(".")[0])


async def test_links(world: World) -> None:
    _, db = await world.run("db", "shop")
    web, _ = await world.run("web", "shop", Links=["db:storage"])
    other, _ = await world.run("other", "shop")
    assert await ask(web, "storage") == [db.address]
    assert await ask(other, "storage") != [db.address]


async def test_a_container_can_have_port_53_itself(world: World) -> None:
    web, first = await world.run("web", "shop")
    for protocol in ("udp", "tcp"):
        own = web.listen("0.0.0.0", 53, protocol)
        assert await ask(web, "web") == [first.address]
        own.close()


async def test_garbage_is_survived(world: World) -> None:
    web, first = await world.run("web", "shop")
    with web.entered():
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    for data in (
        b"",
        b"x",
        bytes(12),
        b"\xff" * 600,
        struct.pack(">HHHHHH", 1, 0x100, 1, 0, 0, 0) + b"\xc0\x0c\0\1\0\1",
    ):
        udp.sendto(data, ("127.0.0.11", 53))
    udp.close()
    web.connect("127.0.0.11", 53).close()
    assert await ask(web, "web") == [first.address]


async def test_the_namespace_is_let_go(world: World) -> None:
    web, endpoint = await world.run("web", "shop")
    peer, _ = await world.run("peer", "shop")
    await world.networks.disconnect(endpoint)
    await world.networks.settle()
    assert await ask(peer, "web") != [endpoint.address]
    assert not world.networks.needs_resolver(endpoint.container_id)
    assert web.blocked("127.0.0.11", 53)


async def test_names_are_answered_without_a_daemon(world: World, dnsmasq: Path) -> None:
    web, first = await world.run("web", "shop")
    db, second = await world.run("db", "shop")
    (world.root / "containers").mkdir()
    for endpoint in (first, second):
        (world.root / "containers" / endpoint.container_id).mkdir()
    world.server.close()
    assert await ask(web, "db") == [second.address]
    assert await ask(web, "example.org") == ["198.51.100.7"]
    world.resolv_conf.write_text("nameserver 192.0.2.99\n")
    assert await ask(web, "example.org") != ["198.51.100.7"]
    world.resolv_conf.write_text(f"nameserver {UPSTREAM}\n")
    (world.root / "containers" / second.container_id).rmdir()  # it ends while no daemon runs
    async with asyncio.timeout(60):
        while await ask(web, "db") == [second.address]:
            pass
    assert db.blocked("127.0.0.11", 53)
    await world.restart([first])
    assert not world.networks.needs_resolver(first.container_id)
    assert await ask(web, "web") == [first.address]
    assert len(world.forker.pids) == 1


async def test_the_last_one_ends_it(world: World) -> None:
    _, first = await world.run("web", "shop")
    (world.root / "containers").mkdir()
    world.server.close()
    async with asyncio.timeout(60):
        while (world.root / NAMES).exists():
            await asyncio.sleep(0.01)
    await asyncio.to_thread(world.forker.wait)
    await world.restart([first])
    assert world.networks.needs_resolver(first.container_id)


async def test_another_takes_the_place_of_one_that_was_killed(world: World) -> None:
    web, first = await world.run("web", "shop")
    os.kill(world.forker.pids[0], signal.SIGKILL)
    async with asyncio.timeout(60):
        await world.resolver_lost.wait()
    assert world.networks.needs_resolver(first.container_id)
    await world.networks.start_resolver(first.container_id, sockets(web))
    _, second = await world.run("db", "shop")
    assert await ask(web, "db") == [second.address]
    assert len(world.forker.pids) == 2


async def test_a_container_is_served_by_one_that_lives(world: World) -> None:
    await world.run("web", "shop")
    box = Net()
    world.boxes.append(box)
    id = "db".ljust(64, "0")
    endpoint = await world.networks.connect(EndpointRequest("shop", id, box.namespace, names=["db"]))
    world.forker.kill()
    await world.networks.start_resolver(id, sockets(box))
    assert not world.networks.needs_resolver(id)
    assert await ask(box, "db.shop") == [endpoint.address]


async def test_a_container_that_ends_while_its_name_server_begins(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not served for ever: that would end with its last network, which it has left."""
    box, id = Net(), "db".ljust(64, "0")
    world.boxes.append(box)
    endpoint = await world.networks.connect(EndpointRequest("shop", id, box.namespace, names=["db"]))
    resolver = world.networks.resolver
    reached = resolver.open

    async def ends(start: bool = False) -> None:
        await reached(start)
        await world.networks.disconnect(endpoint)

    with monkeypatch.context() as patch:
        patch.setattr(resolver, "open", ends)
        with pytest.raises(NotFound, match="in no network"):
            await world.networks.start_resolver(id, sockets(box))
    assert id not in resolver


async def test_a_container_without_a_name_server_is_not_taken_for_served(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.run("web", "shop")
    world.forker.kill()
    monkeypatch.setattr(world.forker, "send", lambda request, fds: None)  # no process is forked
    with pytest.raises(Unavailable, match="name server"):
        await world.run("db", "shop")
    assert world.networks.needs_resolver("db".ljust(64, "0"))


async def test_many_questions_at_once_and_several_in_one_stream(world: World) -> None:
    web, first = await world.run("web", "shop")

    def query(id: int, name: str = "web") -> bytes:
        return struct.pack(">HHHHHH", id, 0x100, 1, 0, 0, 0) + bytes((len(name),)) + name.encode() + b"\0\0\1\0\1"

    with web.entered():
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.settimeout(5)
    for id in range(100):
        udp.sendto(query(id), ("127.0.0.11", 53))
    assert {struct.unpack(">H", udp.recv(512)[:2])[0] for _ in range(100)} == set(range(100))
    udp.close()
    stream = web.connect("127.0.0.11", 53)
    both = b"".join(struct.pack(">H", len(query(id))) + query(id) for id in (7, 8))
    for byte in both:
        stream.sendall(bytes((byte,)))
    received = b""
    while received.count(ipaddress.ip_address(first.address).packed) < 2:
        received += stream.recv(512)
    stream.close()
