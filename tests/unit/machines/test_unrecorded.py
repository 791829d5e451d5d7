"""What a daemon that was killed had given to a machine, or taken from it, and has not recorded."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from corten.errors import Conflict, Failed
from corten.machines import change, create, interfaces, plan, run, snapshots, unrecorded
from corten.machines.machine import Machine
from corten.machines.records import Snapshot
from corten.spec.docker.machine import MachineCreate, MachineDisk
from corten.spec.json import Json
from unit.machines.world import Killed, World, asked

DISK = MachineDisk(size="1m")


class Qemu:
    """Devices that are plugged in, block nodes, taps, and snapshots in the disks; it is `killed` behind a command."""

    def __init__(self) -> None:
        self.devices, self.nodes, self.taps = ["disk0", "interface1", "memory"], ["disk0-0", "disk0-0-file"], ["net1"]
        self.tags: list[str] = []
        self.jobs: list[str] = []
        self.killed = ""
        self.events, self.ended = 0, False
        self.asked: list[str] = []

    async def ask(self, command: str, fds: object = (), **arguments: Any) -> Any:
        return await self.ask_json(command, {key.replace("_", "-"): value for key, value in arguments.items()})

    async def ask_json(self, command: str, arguments: Json) -> Any:
        self.asked.append(command)
        answer = self._do(command, arguments)
        if command == self.killed:
            raise Killed
        return answer

    def _do(self, command: str, arguments: Json) -> Any:
        match command:
            case "qom-list":
                return [{"name": name} for name in self.devices]
            case "query-block":
                return [{"qdev": "/machine/peripheral/disk0", "inserted": {"node-name": "disk0-0"}}]
            case "query-named-block-nodes":
                return [{"node-name": name, "file": ""} for name in self.nodes]
            case "query-jobs":
                return [{"id": job, "status": "concluded"} for job in self.jobs]
            case "device_del":
                _remove(self.devices, arguments["id"])
            case "netdev_del":
                _remove(self.taps, arguments["id"])
            case "blockdev-del":
                _remove(self.nodes, arguments["node-name"])
            case "snapshot-save" | "snapshot-delete":
                self.jobs.append(arguments["job-id"])
                if command == "snapshot-save" and arguments["tag"] in self.tags:
                    raise Failed(f"Snapshot '{arguments['tag']}' already exists in one or more devices")
                self.tags = [tag for tag in self.tags if tag != arguments["tag"]]
                self.tags += [arguments["tag"]] * (command == "snapshot-save")
        return {}


def _remove(names: list[str], name: str) -> None:
    if name not in names:
        raise Failed(f"Device '{name}' not found")
    names.remove(name)


@pytest.fixture
async def world(tmp_path: Path) -> World:
    world = World(tmp_path)
    await world.begin()
    return world


async def running(world: World, qemu: Qemu, config: MachineCreate | None = None) -> Machine:
    machine = await create.create(world.machines, "web", config or asked(DISK))
    return follow(machine, qemu)


def follow(machine: Machine, qemu: Qemu) -> Machine:
    machine.record.begun = plan.begun(machine)
    machine.record.state.status = "running"
    machine.task = cast(Any, qemu)
    return machine


async def test_what_was_plugged_in_is_taken_out(world: World) -> None:
    qemu = Qemu()
    machine = await running(world, qemu)
    qemu.devices += ["disk2", "interface3"]
    qemu.nodes += ["disk2-0", "disk2-1", "disk900-0", "variables"]
    qemu.taps += ["net3", "net4"]
    await unrecorded.settle(world.machines, machine)
    assert qemu.devices == ["disk0", "interface1", "memory"] and qemu.taps == ["net1"]
    assert qemu.nodes == ["disk0-0", "disk0-0-file", "variables"]


async def test_one_that_is_gone_is_removed(world: World) -> None:
    qemu = Qemu()
    machine = await running(world, qemu)
    qemu.devices, qemu.nodes, qemu.taps = [], [], []
    await change.remove_disk(world.machines, machine, "disk0")
    await interfaces.disconnect(world.machines, machine, "bridge")
    assert not machine.record.disks and not machine.record.networks and not machine.record.begun.places


@pytest.mark.parametrize("later", ["with the next daemon", "with the next snapshot"])
async def test_a_snapshot_that_was_not_recorded(world: World, later: str) -> None:
    """The next one can be called so."""
    qemu = Qemu()
    machine = await running(world, qemu)
    qemu.killed = "snapshot-save"
    with pytest.raises(Killed):
        await snapshots.create(world.machines, machine, "one", snapshots.Kind())
    qemu.killed = ""
    machine = follow((await world.begin()).get("web"), qemu)
    if later == "with the next daemon":
        await unrecorded.settle(world.machines, machine)
        assert qemu.tags == []
    await snapshots.create(world.machines, machine, "one", snapshots.Kind())
    await unrecorded.settle(world.machines, machine)
    assert qemu.tags == ["one"] and [one.name for one in machine.record.snapshots] == ["one"]


async def test_a_revert_refers_to_what_there_was(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that was added behind it is a volume that nothing has; one that was removed is the machine's again."""

    async def started(*_: object) -> None:
        pass

    monkeypatch.setattr(run, "start_locked", started)
    machine = await create.create(world.machines, "web", asked(DISK, DISK))
    first, second = machine.record.disks
    before = Snapshot("one", 0, machine.record.config, [first], {}, machine.record.begun, {}, memory=True)
    machine.record.snapshots.append(before)
    users = world.machines.volumes.users
    await snapshots.revert(world.machines, machine, "one")
    assert users("web-disk0") == {machine.id} and not users("web-disk1")
    before.disks = [second]
    await snapshots.revert(world.machines, machine, "one")
    assert users("web-disk1") == {machine.id} and not users("web-disk0")
    world.machines.volumes.hold("web-disk0", "another")
    before.disks, before.memory = [first], False
    with pytest.raises(Conflict, match="disk web-disk0 is in use by another"):
        await snapshots.revert(world.machines, machine, "one")


async def test_a_run_that_was_ended_leaves_nothing_to_the_next_one(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its supervisor was killed, say before it was recorded."""
    swept: list[str] = []

    def sweep(id: str, *_: object) -> list[str]:
        swept.append(id)
        return []

    async def ended() -> None:
        raise Conflict("the machine does not run any more")

    machine = await create.create(world.machines, "web", asked(DISK))
    monkeypatch.setattr(world.machines.supervisors, "sweep", sweep)
    task = SimpleNamespace(kill=lambda _: ended(), wait=lambda: asyncio.sleep(0))
    await run.finish(world.machines, machine, cast(Any, task))
    assert swept == [machine.id]
