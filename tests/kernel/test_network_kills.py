"""The daemon is killed at every single point of a change: before each message to the kernel, and before each record.

What the next daemon finds is all of the change or none of it, and nothing is left that belongs to neither.
"""

# ruff: noqa: F401, F811 - fixtures are imported

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest

from corten.errors import CortenError
from corten.kernel import netlink, rtnetlink
from corten.network.endpoint import Endpoint
from docker_json import network
from netns import Net
from network_world import Json, World, host

PORTS = {"80/tcp": [{"HostPort": "8080"}], "53/udp": [{"HostPort": "5353"}]}


class Killed(BaseException):
    """Nothing more is done by this daemon: not even its own cleanup."""


class Failpoint:
    """Lets so many messages and records pass."""

    def __init__(self) -> None:
        self.left = -1  # no end
        self.made: list[socket.socket] = []

    def step(self) -> None:
        if self.left == 0:
            raise Killed
        self.left -= 1


@pytest.fixture
def failpoint(monkeypatch: pytest.MonkeyPatch) -> Failpoint:
    made = Failpoint()

    class CountedSocket(socket.socket):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            made.made.append(self)

        def send(self, *arguments: Any) -> int:
            made.step()
            return super().send(*arguments)

    class Sockets:
        socket = CountedSocket

        def __getattr__(self, name: str) -> Any:
            return getattr(socket, name)

    monkeypatch.setattr(netlink, "socket", Sockets())
    return made


class Daemon(World):
    """A world whose daemon can be killed. `endpoints` are what container records have on disk."""

    def __init__(self, host: Net, failpoint: Failpoint) -> None:
        super().__init__(host)
        self.networks.dataplane.close()  # `start` makes the first one
        self.failpoint = failpoint
        self.endpoints: dict[str, Json] = {}
        for verb in ("put", "delete"):
            setattr(self.table, verb, self._stepped(getattr(self.table, verb)))

    def _stepped(self, act: Callable[..., None]) -> Callable[..., None]:
        def stepped(*arguments: Any) -> None:
            self.failpoint.step()
            act(*arguments)

        return stepped

    async def start(self) -> None:
        self.failpoint.made.clear()
        self.networks = self._new()
        await self.networks.setup()
        for record in list(self.endpoints.values()):
            with suppress(CortenError):
                await self.networks.adopt(record, record["container_id"])
        await self.networks.reconcile()

    async def kill(self) -> None:
        """As the kernel does it: descriptors are closed, and that is all."""
        self.failpoint.left = 0
        for held, _ in self.networks.reservations._held.values():
            if held is not None:
                held.close()
        dataplane = self.networks.dataplane
        if dataplane.reaper._task is not None:
            dataplane.reaper._task.cancel()
        dataplane.close()
        for one in self.failpoint.made:
            one.close()
        self.failpoint.left = -1

    async def connect(self, network: str, box: Net) -> None:
        _, endpoint = await self.run("box", network, PORTS, box)
        self.failpoint.step()
        self.endpoints[network] = endpoint.record

    async def disconnect(self, network: str, box: Net) -> None:
        """The record goes first, as the engine does it."""
        endpoint = Endpoint.from_json(self.endpoints[network])
        self.failpoint.step()
        del self.endpoints[network]
        await self.networks.disconnect(endpoint, box.namespace)

    def check(self, box: Net) -> None:
        """What is in the kernel is what is on record, and nothing else."""
        bridges = {
            row["options"].get("com.docker.network.bridge.name") or f"br-{row['id'][:12]}"
            for row in self.table.list("network").values()
            if row["driver"] == "bridge"
        }
        links = rtnetlink.links(self.host.route)
        assert {link.name for link in links if link.kind == "bridge"} == bridges
        wanted = [Endpoint.from_json(record) for record in self.endpoints.values()]
        assert sorted(self.leftovers()) == sorted(e.host_interface for e in wanted)
        inside = {link.name for link in rtnetlink.links(box.route)} - {"lo"}
        assert inside == {e.interface for e in wanted}
        rules = self.host.run("nft", "list", "table", "inet", "corten-ct0")
        assert rules.count("tcp . 8080 : ") == rules.count("udp . 5353 : ") == len(wanted)
        for name in bridges:
            assert f'"{name}"' in rules
        self.host.listen("0.0.0.0", 9999).close()

    def ports_are_held(self) -> bool:
        with suppress(OSError):
            self.host.listen("0.0.0.0", 8080).close()
            return False
        return True


async def create(daemon: Daemon, box: Net) -> None:
    await daemon.networks.create(network({"Name": "new", "EnableIPv6": True}))


async def remove(daemon: Daemon, box: Net) -> None:
    await daemon.networks.remove("old")


async def connect(daemon: Daemon, box: Net) -> None:
    await daemon.connect("old", box)


async def disconnect(daemon: Daemon, box: Net) -> None:
    await daemon.disconnect("old", box)


@pytest.mark.parametrize("act", [create, remove, connect, disconnect])
async def test_killed_at_every_point(
    host: Net, failpoint: Failpoint, act: Callable[[Daemon, Net], Awaitable[None]]
) -> None:
    daemon, box = Daemon(host, failpoint), Net()
    await daemon.start()
    await daemon.networks.create(network({"Name": "old"}))
    points = 0
    while True:
        if act is disconnect and not daemon.endpoints:
            await daemon.connect("old", box)
        if act is connect and daemon.endpoints:
            await daemon.disconnect("old", box)
            await daemon.networks.settle()
        names = {n["Name"] for n in daemon.networks.list()}
        if act is create and "new" in names:
            await daemon.networks.remove("new")
        if act is remove and "old" not in names:
            await daemon.networks.create(network({"Name": "old"}))
        daemon.check(box)
        failpoint.left = points
        try:
            await act(daemon, box)
        except Killed:
            await daemon.kill()
        else:
            break
        await daemon.start()
        await daemon.networks.settle()
        daemon.check(box)
        assert daemon.ports_are_held() == bool(daemon.endpoints)
        points += 1
    failpoint.left = -1
    await daemon.networks.settle()
    daemon.check(box)
    assert points > 3
    print(f"{act.__name__}: {points} points")
    await daemon.networks.close()
    box.close()
