"""Machines with devices of a host that is made up: who has one, where it is plugged in, and what is refused."""

from __future__ import annotations

import json
import os
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest

from corten.errors import Conflict, Failed, Invalid, NotFound, Unsupported
from corten.machines import (
    archive,
    change,
    clone,
    create,
    devices,
    interfaces,
    life,
    migration_source,
    migration_target,
    passthrough,
    plan,
    show,
    snapshots,
)
from corten.machines.machine import Machine
from corten.machines.migration import Moved
from corten.machines.records import Begun, Snapshot
from corten.spec.docker.machine import MachineDevice, MachineDisk, MachineUpdate
from corten.spec.docker.networking import EndpointSettings
from corten.vm.passthrough import CONTROLLER, Passed
from unit.machines.host_tree import MDEV
from unit.machines.world import World, asked

CARD, AUDIO = MachineDevice(kind="pci", address="01:00.0"), MachineDevice(kind="pci", address="01:00.1")
PART, MOUSE = MachineDevice(kind="mdev", address=MDEV), MachineDevice(kind="usb", address="046d:c52b")
PLACE = MachineDevice(kind="usb", address="3.5")
DISK = MachineDisk(size="1m")


@pytest.fixture
async def world(tmp_path: Path) -> World:
    """A host with a card of two functions in one IOMMU group, a mediated device and a mouse."""
    made = World(tmp_path)
    made.host.pci("0000:01:00.0", group=12)
    made.host.pci("0000:01:00.1", group=12)
    made.host.mdev(group=30)
    made.host.usb("3-1", 3, 5, "046d:c52b")
    made.host.vfio(12, 30)
    await made.begin()
    return made


async def test_where_they_are_plugged_in(world: World) -> None:
    """And a daemon that comes later knows of them."""
    await create.create(world.machines, "web", asked(DISK, devices=[CARD, MOUSE, PART]))
    machine = (await world.begin()).by_name["web"]
    assert passthrough.names(machine.record) == ["pci=0000:01:00.0", "usb=046d:c52b", f"mdev={MDEV}"]
    begun = plan.begun(machine)
    assert begun.places == {"disk0": 0, "bridge": 1, "pci=0000:01:00.0": 2, f"mdev={MDEV}": 3, CONTROLLER: 4}
    assert begun.ports >= 5
    with ExitStack() as held:
        passed, fds = await passthrough.opened(world.machines, machine.record, begun, held)
        assert [os.readlink(f"/proc/self/fd/{fd}") for fd in fds] == [f"{world.host.root}/dev/bus/usb/003/005"]
    assert passed == (
        Passed("pci", "0000:01:00.0", 2, 12), Passed("usb", "046d:c52b"), Passed("mdev", MDEV, 3, 30),
    )  # fmt: skip
    shown = passthrough.shown(machine.record, begun)
    assert [(one.address, one.place) for one in shown] == [(one.address, one.place) for one in passed]
    assert await passthrough.usb_paths(world.machines, machine.record) == ["/dev/bus/usb/003/005"]


async def test_what_is_shown(world: World) -> None:
    async def accelerator() -> Any:
        return SimpleNamespace(name="tcg", hint="")

    machine = await create.create(world.machines, "web", asked(DISK, devices=[CARD, MOUSE]))
    world.machines.guests = cast(Any, SimpleNamespace(accelerator=accelerator))
    shown = await show.inspected(world.machines, machine)
    assert shown["Devices"] == [
        {"Kind": "pci", "Address": "0000:01:00.0"}, {"Kind": "usb", "Address": "046d:c52b"},
    ]  # fmt: skip
    assert not shown["Config"]["Devices"], "what it has now is said once"


@pytest.mark.parametrize(
    ("wanted", "error", "said"),
    [
        ([MachineDevice(kind="pci", address="../..")], Invalid, "no device of a host"),
        ([MachineDevice(kind="pci", address="09:00.0")], NotFound, "there is no PCI device 0000:09:00.0"),
        ([CARD, CARD], Conflict, "pci=0000:01:00.0 is given twice"),
        ([MachineDevice(kind="usb", address=f"1.{n}") for n in range(17)], Invalid, "at most 16 devices"),
    ],
)
async def test_one_that_cannot_be_had(
    world: World, wanted: list[MachineDevice], error: type[Exception], said: str
) -> None:
    """Nothing is left."""
    with pytest.raises(error, match=said):
        await create.create(world.machines, "web", asked(DISK, devices=wanted))
    assert not world.machines.by_name and not world.machines.creating and not world.names()
    assert not [*(world.root / "machines").glob("*")]


async def test_one_machine_has_it(world: World) -> None:
    await create.create(world.machines, "web", asked(DISK, devices=[CARD, PLACE]))
    other = await create.create(world.machines, "other", asked(DISK))
    for device, said in (
        (CARD, "pci=0000:01:00.0 is in use by machine web"),
        (AUDIO, "in IOMMU group 12 together with pci=0000:01:00.0, which machine web has"),
        (MOUSE, "usb=046d:c52b is in use by machine web"),
    ):
        with pytest.raises(Conflict, match=said):
            await devices.add(world.machines, other, device)
        with pytest.raises(Conflict, match=said):
            await create.create(world.machines, "third", asked(DISK, devices=[device]))
    assert not other.record.devices and "third" not in world.machines.by_name
    await devices.remove(world.machines, world.machines.by_name["web"], CARD)
    assert await devices.add(world.machines, other, AUDIO) == "pci=0000:01:00.1"


async def test_a_start_looks_again(world: World) -> None:
    machine = await create.create(world.machines, "web", asked(DISK, devices=[CARD, MOUSE]))
    (world.host.root / "sys/bus/pci/devices/0000:01:00.0/driver").unlink()
    with ExitStack() as held, pytest.raises(Conflict, match="is not bound to vfio-pci"):
        await passthrough.opened(world.machines, machine.record, plan.begun(machine), held)
    await devices.remove(world.machines, machine, CARD)
    (world.host.root / "dev/bus/usb/003/005").unlink()
    with ExitStack() as held, pytest.raises(NotFound, match="/dev/bus/usb/003/005: No such file"):
        await passthrough.opened(world.machines, machine.record, plan.begun(machine), held)
    (world.host.root / "sys/bus/usb/devices/3-1").unlink()
    with ExitStack() as held, pytest.raises(NotFound, match="there is no USB device 046d:c52b"):
        await passthrough.opened(world.machines, machine.record, plan.begun(machine), held)
    assert await passthrough.usb_paths(world.machines, machine.record) == ["/dev/bus/usb/BUS/NUMBER"], "is still shown"


async def test_a_host_that_lacks_it(world: World) -> None:
    (world.host.root / "dev/vfio/vfio").unlink()
    with pytest.raises(Unsupported, match="no VFIO"):
        await create.create(world.machines, "web", asked(DISK, devices=[PART]))


async def test_no_change_is_recorded_by_halves(world: World) -> None:
    machine = await create.create(world.machines, "web", asked(DISK))
    with pytest.raises(NotFound, match=r"has no device usb=3\.5"):
        await devices.remove(world.machines, machine, PLACE)
    machine.record.saved = True
    with pytest.raises(Conflict, match="is saved"):
        await devices.add(world.machines, machine, PLACE)
    assert machine.record.devices == []


async def test_a_saved_machine_has_the_devices_that_its_state_has(world: World) -> None:
    machine = await create.create(world.machines, "web", asked(DISK))
    machine.record.saved = True
    changes: list[Callable[[], Awaitable[object]]] = [
        lambda: change.add_disk(world.machines, machine, MachineDisk(size="1m")),
        lambda: change.remove_disk(world.machines, machine, "disk0"),
        lambda: interfaces.connect(world.machines, machine, "other", EndpointSettings()),
        lambda: interfaces.disconnect(world.machines, machine, "bridge"),
        lambda: change.update(world.machines, machine, MachineUpdate(memory=machine.record.config.max_memory + 1)),
        lambda: change.update(world.machines, machine, MachineUpdate(cpus=machine.record.config.max_cpus + 1)),
    ]
    for do in changes:
        with pytest.raises(Conflict, match="web is saved, and goes on with the devices that it has"):
            await do()
    assert len(machine.record.disks) == len(machine.record.networks) == 1 and world.names() == ["web-disk0"]


class Task:
    """A run that answers what a USB device needs; `fails` at this command."""

    def __init__(self, fails: str = "") -> None:
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.fails, self.events = fails, 0
        self.sets: dict[int, str] = {1: ""}
        self.devices: list[str] = []

    async def ask(self, command: str, fds: Any = (), **arguments: Any) -> Any:
        return await self.ask_json(command, {key.replace("_", "-"): value for key, value in arguments.items()})

    async def ask_json(self, command: str, arguments: dict[str, Any]) -> Any:
        self.asked.append((command, arguments))
        if command == self.fails and arguments.get("driver") != "qemu-xhci":
            raise Failed("QEMU says no")
        match command:
            case "query-fdsets":
                return [{"fdset-id": n, "fds": [{"fd": 9, "opaque": name}]} for n, name in self.sets.items()]
            case "add-fd":
                self.sets[arguments["fdset-id"]] = arguments["opaque"]
            case "remove-fd":
                del self.sets[arguments["fdset-id"]]
            case "device_add":
                self.devices.append(arguments["id"])
            case "device_del":
                self.devices.remove(arguments["id"])
            case "qom-list":
                return [{"name": name} for name in self.devices]
        return {}


def running(machine: Machine, task: Task) -> Machine:
    machine.record.begun = plan.begun(machine)
    machine.record.state.status = "running"
    machine.task = cast(Any, task)
    return machine


async def test_a_usb_device_while_it_runs(world: World) -> None:
    """The first one brings its controller, which stays; its descriptor goes with it."""
    task = Task()
    machine = running(await create.create(world.machines, "web", asked(DISK)), task)
    assert await devices.add(world.machines, machine, MOUSE) == "usb=046d:c52b"
    added = [arguments for command, arguments in task.asked if command == "device_add"]
    assert added == [
        {"driver": "qemu-xhci", "id": "usb", "bus": "port2"},
        {"driver": "usb-host", "id": "host-usb-046d-c52b", "bus": "usb.0", "hostdevice": "/dev/fdset/50000"},
    ]
    assert machine.record.begun.places[CONTROLLER] == 2 and task.sets == {1: "", 50000: "host-usb-046d-c52b"}
    await devices.remove(world.machines, machine, MOUSE)
    assert ("device_del", {"id": "host-usb-046d-c52b"}) in task.asked
    assert task.sets == {1: ""} and not machine.record.devices
    await devices.add(world.machines, machine, MOUSE)
    assert sum(arguments.get("driver") == "qemu-xhci" for _, arguments in task.asked) == 1


async def test_a_usb_device_that_qemu_does_not_take(world: World) -> None:
    task = Task("device_add")
    machine = running(await create.create(world.machines, "web", asked(DISK)), task)
    with pytest.raises(Failed, match="QEMU says no"):
        await devices.add(world.machines, machine, MOUSE)
    assert task.sets == {1: ""} and not machine.record.devices


async def test_others_while_it_is_off(world: World) -> None:
    machine = running(await create.create(world.machines, "web", asked(DISK)), Task())
    for device in (CARD, PART):
        with pytest.raises(Conflict, match="can be added while machine web is off: stop it first"):
            await devices.add(world.machines, machine, device)
    assert not machine.record.devices


@pytest.mark.parametrize("device", [CARD, MOUSE])
async def test_what_a_machine_with_one_cannot(world: World, device: MachineDevice) -> None:
    machine = await create.create(world.machines, "web", asked(DISK, devices=[device]))
    name = passthrough.names(machine.record)[0]
    off: dict[str, Callable[[], Any]] = {
        "be cloned": lambda: clone.clone(world.machines, machine, "second", True),
        "be exported": lambda: _later(lambda: archive.check(world.machines, machine)),
    }
    on: dict[str, Callable[[], Any]] = {
        "be saved": lambda: life.save(world.machines, machine),
        "move": lambda: migration_source.description(world.machines, machine),
        "have a snapshot with its memory": lambda: snapshots.create(
            world.machines, machine, "one", snapshots.Kind(external=True)
        ),
    }
    for what, do in off.items():
        with pytest.raises(Conflict, match=f"machine web has {name} of this host, and cannot {what}"):
            await do()
    running(machine, Task())
    for what, do in on.items():
        with pytest.raises(Conflict, match=f"machine web has {name} of this host, and cannot {what}"):
            await do()
    assert not cast(Any, machine.task).asked and not machine.record.saved and not machine.record.snapshots
    record = machine.record
    record.snapshots = [
        Snapshot("before", 0, record.config, record.disks, record.networks, record.begun, {}, memory=True)
    ]
    with pytest.raises(Conflict, match="cannot go back to a snapshot with its memory"):
        await snapshots.revert(world.machines, machine, "before")
    assert record.state.running, "it was not ended for that"


async def _later(do: Callable[[], None]) -> None:
    do()


async def test_a_mistake_is_found_before_disks_are_made(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def made(*_: object) -> Any:
        raise AssertionError("a disk is made")

    monkeypatch.setattr(create, "make_disk", made)
    card = MachineDevice(kind="pci", address="09:00.0")
    for wrong in (asked(DISK, devices=[card]), asked(DISK, MachineDisk(device="/dev/none"))):
        with pytest.raises(NotFound, match="there is no"):
            await create.create(world.machines, "web", wrong)


async def test_a_machine_from_elsewhere_has_none(world: World) -> None:
    """Who describes it does not say what of this host it has."""
    config = asked(devices=[CARD]).replace(networks=None)
    moved = Moved(1, "web", "11111111-2222-3333-4444-555555555555", config, [], {}, {}, Begun(64 << 20, 1))
    body = json.loads(msgspec.json.encode(msgspec.to_builtins(moved, enc_hook=lambda one: one.given_json())))
    with pytest.raises(Invalid, match="from elsewhere has no devices of this host"):
        await migration_target.receive(world.machines, body, "")
    packed = archive.Packed(1, "web", config, [], {})
    text = msgspec.json.encode(msgspec.to_builtins(packed, enc_hook=lambda one: one.given_json()))
    tar = archive._head("machine.json", len(text)) + text + archive._padding(len(text)) + bytes(1024)

    async def pieces() -> Any:
        yield tar

    with pytest.raises(Invalid, match="from elsewhere has no devices of this host"):
        await archive.unpacked(world.machines, pieces(), "")
    assert not world.machines.by_name
