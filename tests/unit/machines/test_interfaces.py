"""An interface whose tap another program has deleted."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from corten.errors import Conflict, Failed
from corten.machines import create, interfaces, migration_source, plan
from corten.machines.machine import Machine
from corten.machines.migration import Outgoing
from corten.network.endpoint import Endpoint
from corten.tasks.contract import Exit
from unit.machines.world import World, asked


class Networks:
    """The machine's endpoint has a tap, or `lacks` one; one that is closed and not `taken` is gone, which is said."""

    def __init__(self, machines: Any, machine: Machine) -> None:
        self.lacks, self.made, self.taken = True, 0, False
        self.config = machines.networks.config
        self._lost: Callable[[], None] = lambda: interfaces.lost(machines, machine)

    def lacks_device(self, _: Endpoint) -> bool:
        return self.lacks

    def reconnect(self, endpoint: Endpoint, taps: Taps) -> Endpoint:
        self.lacks = False
        self.made += 1
        assert self.made < 5
        taps.taps = [self]
        return endpoint

    def close(self) -> None:
        if not self.taken:
            self.lacks = True
            self._lost()


class Taps:
    """In the place of `GuestNamespace`."""

    def __init__(self, *_: object) -> None:
        self.taps: list[Networks] = []

    def close_taps(self) -> None:
        for one in self.taps:
            one.close()


class Task:
    def __init__(self) -> None:
        self.exit: asyncio.Future[Exit] = asyncio.get_running_loop().create_future()
        self.asked: list[str] = []
        self.events = 0

    @property
    def ended(self) -> bool:
        return self.exit.done()

    async def wait(self) -> Exit:
        return await asyncio.shield(self.exit)

    async def ask(self, command: str, *_: object, **__: object) -> Any:
        self.asked.append(command)
        return {"running": True} if command == "query-status" else []


@pytest.fixture(autouse=True)
def no_tap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interfaces, "GuestNamespace", Taps)


async def running(root: Path) -> tuple[Any, Machine, Task, Networks]:
    world, task = World(root), Task()
    machines: Any = await world.begin()
    machine = await create.create(machines, "web", asked())
    machine.record.begun = plan.begun(machine)
    machine.record.state.status = "running"
    machine.task, machine.endpoints = cast(Any, task), {"bridge": cast(Any, SimpleNamespace())}
    machines.networks = networks = Networks(machines, machine)
    return machines, machine, task, networks


async def test_a_tap_that_goes_with_its_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No network is lost then."""
    machines, machine, task, _ = await running(tmp_path)
    said: list[str] = []
    monkeypatch.setattr(machines, "publish", lambda machine, action, **more: said.append(action))

    async def killed(*_: object) -> None:
        asyncio.get_running_loop().call_soon(task.exit.set_result, Exit(137, 0.0))
        raise Conflict("the machine does not run any more")

    monkeypatch.setattr(interfaces, "_unplug", killed)
    interfaces.lost(machines, machine)
    await machines.changing.settle(None)
    assert said == [] and not machine.lock.locked()


async def test_a_tap_that_qemu_does_not_take(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not tried again and again: the end of the second tap says the same as that of the first."""
    machines, machine, _, networks = await running(tmp_path)
    monkeypatch.setattr(interfaces, "_END", 0.0)

    async def refused(*_: object) -> None:
        raise Failed("QEMU refuses device_add")

    monkeypatch.setattr(interfaces, "_plug", refused)
    interfaces.lost(machines, machine)
    await machines.changing.settle(None)
    assert networks.made == 1 and networks.lacks


async def test_a_tap_of_a_machine_on_its_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """QEMU changes no device while it sends its state: the interface comes back when the machine goes on here."""
    machines, machine, task, networks = await running(tmp_path)
    plugged: list[str] = []

    async def plug(*given: Any) -> None:
        plugged.append(given[3])
        networks.taken = True

    monkeypatch.setattr(interfaces, "_plug", plug)
    monkeypatch.setattr(interfaces, "_record", lambda *_: None)
    machine.outgoing = Outgoing(sending=asyncio.ensure_future(asyncio.sleep(60, {})))
    interfaces.lost(machines, machine)
    await machines.changing.settle(None)
    assert task.asked == [] and not plugged
    await migration_source.cancel(machines, machine)
    await machines.changing.settle(None)
    assert plugged == ["bridge"] and networks.made == 1
