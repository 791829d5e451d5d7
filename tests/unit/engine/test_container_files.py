"""What a container does with its hosts file, which the engine writes again while it runs."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from corten.aio.background import Forever
from corten.engine.containers import files
from corten.errors import Unavailable
from corten.spec.docker.config import Config
from corten.spec.docker.host_config import HostConfig
from leases import leased


class World:
    """Containers by name, whose hosts file is their hostname."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.all: dict[str, Any] = {}
        networks = SimpleNamespace(hosts_file=lambda endpoints, name, *_: name, resolv_conf=lambda *_: "nameserver ::1")
        self.watching = Forever()
        self.networks = networks
        self.by_name = self.by_id = self.all

    def get(self, name: str) -> Any:
        return self.all[name]

    def make(self, name: str, sandbox: str = "") -> Any:
        (self.root / name).mkdir()
        state = SimpleNamespace(started_at=1)
        record = SimpleNamespace(
            config=Config(hostname=name), host_config=HostConfig(), state=state, sandbox=sandbox, links={}
        )
        self.all[name] = SimpleNamespace(id=name, bundle=self.root / name, record=record, endpoints={}, rewriting=None)
        return self.all[name]

    def hosts(self, name: str) -> str:
        return (self.root / name / "hosts").read_text()


@pytest.fixture
def world(tmp_path: Path) -> Any:
    return World(tmp_path)


async def test_a_container_has_the_files_of_the_one_whose_network_it_is_in(world: World) -> None:
    world.make("first")
    third = world.make("third", "first")
    (world.root / "first/hosts").write_bytes(bytes(8 << 20))  # what that one has made of its own is of no interest
    await files.write_network(cast(Any, world), third)
    assert world.hosts("third") == "first"
    del world.all["first"]
    await files.write_network(cast(Any, world), third)
    assert world.hosts("third") == "third"


async def test_a_lease_on_a_file_holds_nothing_up(world: World, caplog: pytest.LogCaptureFixture) -> None:
    first, second = world.make("first"), world.make("second")
    for one in (first, second):
        await files.prepare(one)
    started = time.monotonic()
    with leased(first.bundle / "hosts"), caplog.at_level(logging.WARNING):
        await files.rewrite_network(cast(Any, world), [first, second])
        await world.watching.settle()  # what took longer than a client would wait
    assert "container first keeps its hosts and resolv.conf" in caplog.text
    assert world.hosts("first") == "" and world.hosts("second") == "second"
    assert (first.bundle / "resolv.conf").read_text() == "nameserver ::1"  # the other file is written all the same
    assert time.monotonic() - started < 10  # the kernel would hold an open(2) up for 45 s


class Held:
    """The kernel blocks writers to one container's files, as it does during a write(2) of its own."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, held: str) -> None:
        self.free = threading.Event()
        put = files._put

        def slow(container: Any, name: str, data: bytes) -> None:
            if container.id == held:
                self.free.wait()
            put(container, name, data)

        monkeypatch.setattr(files, "_put", slow)
        monkeypatch.setattr(files, "_AT_START", 0.05)
        monkeypatch.setattr(files, "_WHILE_RUNNING", 0.05)


def writers() -> int:
    return sum(thread.name == "alone" for thread in threading.enumerate())


async def test_a_container_that_holds_its_files_up_stops_no_other(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = world.make("first"), world.make("second")
    held = Held(monkeypatch, "first")
    try:
        await files.rewrite_network(cast(Any, world), [first, second])
        while writers() > 1 or not (second.bundle / "hosts").exists():  # as long as it takes: only the first waits
            await asyncio.sleep(0.01)
        assert world.hosts("second") == "second" and "container first writes to its hosts" in caplog.text
        for name in ("a", "b", "newest"):
            first.record.config = Config(hostname=name)
            await files.rewrite_network(cast(Any, world), [first])
        assert writers() == 1  # one for this container, however often
        with pytest.raises(Unavailable, match="container first cannot be written"):
            await files.write_network(cast(Any, world), first)
    finally:
        held.free.set()
    await world.watching.settle()
    assert world.hosts("first") == "newest"


async def test_what_is_held_up_ends_with_the_daemon(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    first = world.make("first")
    held = Held(monkeypatch, "first")
    try:
        await files.rewrite_network(cast(Any, world), [first])
        async with asyncio.timeout(60):
            await world.watching.cancel()
    finally:
        held.free.set()
