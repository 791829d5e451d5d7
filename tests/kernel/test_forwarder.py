"""Published ports that a process forwards, on a simulated host: IPv6 for containers without it, and ::1.

neighbour 2001:db8::9 ---- 2001:db8::1 host ---- bridges ---- containers
"""

# ruff: noqa: F401, F811 - fixtures are imported

from __future__ import annotations

import asyncio
import os
import signal
import socket
import threading
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from corten.engine.networks.networks import Networks
from corten.errors import Failed, Invalid
from corten.network.endpoint import Endpoint
from corten.supervisor import sockets
from corten.tasks.long_lived import FORWARDER, LauncherProcess
from docker_json import network, port_map
from forker import Forker
from netns import Net
from network_world import World as Plain
from network_world import bound, host, neighbour

OURS = "2001:db8::1"


class World(Plain):
    def __init__(self, host: Net, root: Path) -> None:
        self.root, self.forker = root, Forker()
        self.echoes: list[tuple[socket.socket, threading.Thread]] = []
        (root / "containers").mkdir()
        super().__init__(host)

    def _new(self) -> Networks:
        self.process = LauncherProcess(self.forker, self.root, FORWARDER)
        events = self.events
        return Networks(
            self.table, self.config, lambda *e: events.append(e), self.lost.append, lambda: None, None, self.process
        )

    async def run(self, name: str, *arguments: Any, **options: Any) -> tuple[Net, Endpoint]:
        box, endpoint = await super().run(name, *arguments, **options)
        (self.root / "containers" / endpoint.container_id).mkdir(exist_ok=True)
        return box, endpoint

    def echo(self, box: Net, address: str = "0.0.0.0") -> None:
        """Each connection gets what it has sent, and who it came from, once it has sent all."""
        listener = box.listen(address, 80)
        listener.settimeout(None)
        thread = threading.Thread(target=_serve, args=(listener,))
        thread.start()
        self.echoes.append((listener, thread))

    def end_echoes(self) -> None:
        for listener, thread in self.echoes:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()
            listener.close()

    async def killed_daemon(self) -> None:
        """Nothing is taken down, sockets close."""
        self.process.close()
        self.networks._endpoints.release_ports()
        self.networks.dataplane.close()

    async def later_daemon(self, *endpoints: Endpoint) -> None:
        self.networks = self._new()
        await self.networks.setup()
        for endpoint in endpoints:
            await self.networks.adopt(endpoint.record, endpoint.container_id)
        await self.networks.reconcile()


def _serve(listener: socket.socket) -> None:
    def answer(connection: socket.socket, peer: str) -> None:
        with connection, connection.makefile("rwb") as stream, suppress(OSError):
            stream.write(stream.read() + f" from {peer}".encode())

    with ThreadPoolExecutor(8) as pool, suppress(OSError):  # the listener is closed
        while True:
            connection, peer = listener.accept()
            pool.submit(answer, connection, peer[0])


@pytest.fixture
async def world(host: Net, tmp_path: Path) -> AsyncIterator[World]:
    made = World(host, tmp_path)
    await made.networks.setup()
    yield made
    await asyncio.to_thread(made.end_echoes)
    for endpoint in [e for used in made.networks.store.values() for e in used.endpoints.values()]:
        await made.networks.disconnect(endpoint)
    await made.networks.close()
    for box in made.containers:
        box.close()
    await asyncio.to_thread(made.forker.wait)


@pytest.fixture
def outside(host: Net, neighbour: Net) -> Net:
    """A neighbour with IPv6."""
    for net, address in ((host, f"{OURS}/64"), (neighbour, "2001:db8::9/64")):
        net.run("ip", "addr", "add", address, "dev", "up0", "nodad")
    return neighbour


async def said(net: Net, address: str, port: int = 8080) -> str:
    """What the echo says to "hello"; why not, in a word, when it does not."""

    def ask() -> str:
        try:
            with net.connect(address, port, 5) as client:
                client.sendall(b"hello")
                client.shutdown(socket.SHUT_WR)
                with client.makefile("rb") as stream:
                    return stream.read().decode()
        except OSError as error:
            return type(error).__name__

    return await asyncio.to_thread(ask)


def both(port: int) -> list[dict[str, str]]:
    return [{"HostIp": ip, "HostPort": str(port)} for ip in ("0.0.0.0", "::")]


async def test_a_container_without_ipv6_is_reached_by_it(world: World, outside: Net) -> None:
    box, endpoint = await world.run("web", ports=bound(8080))
    world.echo(box)
    assert endpoint.ports == {"80/tcp": both(8080)}
    gateway = endpoint.gateway
    assert await said(world.host, "::1") == f"hello from {gateway}"
    assert await said(world.host, OURS) == f"hello from {gateway}"
    assert await said(outside, OURS) == f"hello from {gateway}"
    assert await said(outside, "192.0.2.1") == "hello from 192.0.2.9"  # the kernel's way keeps who it is
    assert len(world.forker.pids) == 1


async def test_one_process_for_all_without_capabilities(world: World) -> None:
    assert not world.forker.pids  # not before a port needs it
    first, _ = await world.run("a", ports=bound(8080))
    second, _ = await world.run("b", ports=bound(8081))
    world.echo(first)
    world.echo(second)
    assert [(await said(world.host, "::1", port))[:5] for port in (8080, 8081)] == ["hello"] * 2
    (pid,) = world.forker.pids
    status = Path(f"/proc/{pid}/status").read_text()
    assert {line.split()[1] for line in status.splitlines() if line.startswith(("CapEff", "CapPrm"))} == {"0" * 16}
    assert "Name:\tcorten:forward\n" in status


async def test_a_port_at_the_loopback_alone(world: World, outside: Net) -> None:
    box, endpoint = await world.run("web", ports=bound(8080, "::1"))
    world.echo(box)
    assert endpoint.ports == {"80/tcp": [{"HostIp": "::1", "HostPort": "8080"}]}
    assert (await said(world.host, "::1")).startswith("hello")
    assert await said(world.host, "127.0.0.1") == "ConnectionRefusedError"
    assert await said(outside, OURS) == "ConnectionRefusedError"


async def test_with_both_families_the_kernel_does_what_it_can(world: World, outside: Net) -> None:
    await world.networks.create(network({"Name": "dual", "EnableIPv6": True}))
    box, endpoint = await world.run("web", "dual", ports=bound(8080))
    world.echo(box, address="::")
    assert endpoint.ports == {"80/tcp": both(8080)}
    assert await said(outside, OURS) == "hello from 2001:db8::9"
    assert await said(world.host, "::1") == f"hello from {endpoint.gateway6}"
    box, only = await world.run("other", "dual", ports=bound(8081, "::1"))
    world.echo(box, address="::")
    assert (await said(world.host, "::1", 8081)).startswith("hello")
    assert only.ports == {"80/tcp": [{"HostIp": "::1", "HostPort": "8081"}]}


async def test_a_firewall_that_forwards_nothing_is_in_the_way_of_the_kernel_alone(world: World, outside: Net) -> None:
    world.host.run(
        "nft", "add table inet other; add chain inet other f { type filter hook forward priority 0; policy drop; }"
    )
    box, _ = await world.run("web", ports=bound(8080))
    world.echo(box)
    assert (await said(outside, OURS)).startswith("hello")
    obstacles = {way["Via"]: way["Obstacles"] for way in world.networks.audit() if way["Port"] == "80/tcp"}
    assert obstacles == {"0.0.0.0:8080": ["inet other f"], "[::]:8080": []}


async def test_udp(world: World, outside: Net) -> None:
    ports = {"7/udp": [{"HostPort": "7007"}]}
    box, endpoint = await world.run("echo", ports=ports)
    assert endpoint.ports["7/udp"] == both(7007)
    echoing = box.listen("0.0.0.0", 7, "udp")
    world.host.run("ip", "addr", "add", "2001:db8::2/64", "dev", "up0", "nodad")

    def ask(net: Net, address: str) -> bytes:
        with net.entered():
            client = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        with client:
            client.settimeout(5)
            client.connect((address, 7007))  # it gets no other datagrams
            client.send(b"ping")
            data, peer = echoing.recvfrom(100)
            echoing.sendto(data, peer)
            return client.recv(100)

    for net, address in ((world.host, "::1"), (outside, OURS), (outside, "2001:db8::2")):
        assert await asyncio.to_thread(ask, net, address) == b"ping"
    echoing.close()


async def test_a_port_is_free_when_it_is_answered_that_it_is(world: World) -> None:
    for _ in range(20):
        _, endpoint = await world.run("web", ports=bound(8080))
        await world.networks.disconnect(endpoint)
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as other:
            other.bind(("::", 8080))
    assert len(world.networks.reservations) == 0


async def test_a_port_in_use_is_dockers_error_and_leaves_nothing(world: World) -> None:
    with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as other:
        other.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        other.bind(("::", 8080))
        other.listen()
        with pytest.raises(Failed, match=r"Bind for \[::\]:8080 failed: port is already allocated \(by process"):
            await world.run("web", ports=bound(8080))
    assert len(world.networks.reservations) == 0
    await world.run("web", ports=bound(8080))
    with pytest.raises(Failed, match=r"already allocated \(by container web\)"):
        await world.run("other", ports=bound(8080, "::1"))


async def test_a_host_without_ipv6_publishes_without_it(world: World) -> None:
    Path("/proc/sys/net/ipv6/conf/lo/disable_ipv6").write_text("1")
    _, endpoint = await world.run("web", ports=bound(8080))
    assert endpoint.ports == {"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}]}
    assert not world.forker.pids
    with pytest.raises(Failed, match=r"Bind for \[::1\]:8081 failed: cannot assign requested address"):
        await world.run("other", ports=bound(8081, "::1"))


async def test_what_no_process_can_carry_is_refused(world: World) -> None:
    with pytest.raises(Invalid, match=r"::: the container's network has no IPv6 address"):
        await world.run("web", ports={"80/sctp": [{"HostIp": "::", "HostPort": "8080"}]})
    _, endpoint = await world.run("web", ports={"80/sctp": [{"HostPort": "8080"}]})
    assert endpoint.ports["80/sctp"] == both(8080)[:1]
    await world.networks.create(network({"Name": "dual", "EnableIPv6": True}))
    with pytest.raises(Invalid, match="::1: what is sent there can only be forwarded by a process"):
        await world.run("other", "dual", ports={"80/sctp": [{"HostIp": "::1", "HostPort": "8081"}]})


async def test_ports_change_while_connections_go_on(world: World) -> None:
    box, endpoint = await world.run("web", ports=bound(8080))
    world.echo(box)
    with world.host.connect("::1", 8080) as client:
        client.sendall(b"hello")
        changed = await world.networks.republish(
            endpoint.container_id, port_map(bound(8081)), port_map(bound(8080)), ["80/tcp"]
        )
        assert changed.ports == {"80/tcp": both(8081)}
        assert await said(world.host, "::1") == "ConnectionRefusedError"
        client.shutdown(socket.SHUT_WR)
        assert (await asyncio.to_thread(client.recv, 100)).startswith(b"hello from")
    assert (await said(world.host, "::1", 8081)).startswith("hello")
    with pytest.raises(Failed):  # all or nothing
        await world.networks.republish(
            endpoint.container_id, {**port_map(bound(8082)), **port_map({"81/tcp": [{"HostPort": "8082"}]})},
            port_map(bound(8081)), ["80/tcp"],
        )  # fmt: skip
    assert (await said(world.host, "::1", 8081)).startswith("hello")


async def test_a_port_that_is_taken_away_is_free(world: World) -> None:
    """When that is answered, however late the process hears of it."""
    _, endpoint = await world.run("web", ports=bound(8080))
    (process,) = world.forker.pids
    os.kill(process, signal.SIGSTOP)
    removing = asyncio.ensure_future(
        world.networks.republish(endpoint.container_id, {}, port_map(bound(8080)), ["80/tcp"])
    )
    done, _ = await asyncio.wait({removing}, timeout=0.3)
    os.kill(process, signal.SIGCONT)
    assert not done
    assert (await removing).ports == {"80/tcp": None}
    world.host.listen("::1", 8080).close()


async def test_the_end_of_a_container_ends_its_connections(world: World) -> None:
    box, endpoint = await world.run("web", ports=bound(8080))
    listener = box.listen("0.0.0.0", 80)
    with world.host.connect("::1", 8080) as client:
        server_side, _ = await asyncio.to_thread(listener.accept)
        await world.networks.disconnect(endpoint)
        assert await asyncio.to_thread(client.recv, 1) == b""
    for one in (listener, server_side):
        one.close()


async def test_it_outlives_the_daemon(world: World) -> None:
    box, first = await world.run("web", ports=bound(8080))
    _, second = await world.run("gone", ports=bound(8081))
    world.echo(box)
    with world.host.connect("::1", 8080) as client:
        await world.killed_daemon()
        assert (await said(world.host, "::1")).startswith("hello")
        (world.root / "containers" / second.container_id).rmdir()
        async with asyncio.timeout(60):
            while await said(world.host, "::1", 8081) != "ConnectionRefusedError":
                await asyncio.sleep(0.01)
        await world.later_daemon(first)
        assert not world.networks.warnings
        assert (await said(world.host, "::1")).startswith("hello")
        client.sendall(b"hello")
        client.shutdown(socket.SHUT_WR)
        assert (await asyncio.to_thread(client.recv, 100)).startswith(b"hello from")
    assert len(world.forker.pids) == 1
    await world.networks.disconnect(first)
    assert await said(world.host, "::1") == "ConnectionRefusedError"


async def test_a_later_daemon_forwards_what_no_process_does(world: World) -> None:
    box, endpoint = await world.run("web", ports=bound(8080))
    world.echo(box)
    await world.killed_daemon()
    world.forker.kill()
    await world.later_daemon(endpoint)
    assert (await said(world.host, "::1")).startswith("hello")


async def test_a_later_daemon_takes_away_what_ended_meanwhile(world: World) -> None:
    _, first = await world.run("web", ports=bound(8080))
    await world.run("gone", ports=bound(8081))
    await world.killed_daemon()
    await world.later_daemon(first)
    async with asyncio.timeout(60):
        while await said(world.host, "::1", 8081) != "ConnectionRefusedError":
            await asyncio.sleep(0.01)


async def test_the_last_one_ends_it(world: World) -> None:
    _, endpoint = await world.run("web", ports=bound(8080))
    await world.killed_daemon()
    (world.root / "containers" / endpoint.container_id).rmdir()
    await asyncio.to_thread(world.forker.wait)
    assert not (world.root / sockets.FORWARDER).exists()
    await world.later_daemon()


async def test_another_takes_the_place_of_one_that_was_killed(world: World) -> None:
    box, _ = await world.run("web", ports=bound(8080))
    world.echo(box)
    os.kill(world.forker.pids[0], signal.SIGKILL)
    async with asyncio.timeout(60):
        while len(world.forker.pids) < 2 or not (await said(world.host, "::1")).startswith("hello"):
            await asyncio.sleep(0.01)
    _, second = await world.run("db", ports=bound(8081))
    assert second.ports == {"80/tcp": both(8081)}


async def test_a_port_is_given_to_one_that_lives(world: World) -> None:
    await world.run("web", ports=bound(8080))
    world.forker.kill()
    box, _ = await world.run("db", ports=bound(8081))
    world.echo(box)
    assert (await said(world.host, "::1", 8081)).startswith("hello")


async def test_one_that_is_stopped_blocks_no_request(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("corten.network.forwarder._PATIENCE", 0.2)
    _, endpoint = await world.run("web", ports=bound(8080))
    os.kill(world.forker.pids[0], signal.SIGSTOP)
    try:
        async with asyncio.timeout(60):
            await world.networks.disconnect(endpoint)
            with pytest.raises(Failed, match="already allocated"):
                await world.run("web", ports=bound(8080))
    finally:
        os.kill(world.forker.pids[0], signal.SIGCONT)
