"""The daemon's side with the real launcher, QEMU and agent: what guests begin from, and what becomes of it."""

from __future__ import annotations

import asyncio
import os
import select
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path

import pytest

from corten.errors import Failed, StartFailed
from corten.guests.guests import Guests, Settings
from corten.tasks.launcher import Launcher
from corten.tasks.machines import LauncherMachines
from corten.vm.confine import USERS
from corten.vm.qemu import Qemu
from corten.vm.start import start
from e2e_parts.patience import PATIENCE, until
from vm import machines


@pytest.fixture
def launcher(tmp_path: Path) -> Iterator[Launcher]:
    if lacking := machines.missing():
        pytest.skip(lacking)
    launcher = Launcher(tmp_path / "launcher.log")
    launcher.start()
    yield launcher
    launcher.close()


@pytest.fixture
async def workers(launcher: Launcher) -> AsyncIterator[LauncherMachines]:
    yield LauncherMachines(launcher)


def plugged(machine: Qemu) -> int:
    """Bytes of memory that the guest has taken beside the boot's."""
    return int(machine.ask("qom-get", {"path": "/machine/peripheral/memory", "property": "size"}))


def _files(directory: Path) -> list[str]:
    return sorted(path.suffix for path in directory.iterdir())


async def test_a_guest_from_nothing_and_from_the_disk(workers: LauncherMachines, tmp_path: Path) -> None:
    booted = []
    template = workers.template

    async def counted(*arguments: object) -> object:
        found = await template(*arguments)  # type: ignore[arg-type]
        booted.append(found[1])
        return found

    workers.template = counted  # type: ignore[method-assign,assignment]
    for _ in range(2):
        guests = Guests(tmp_path / "vm", workers, Settings(kernel=str(machines.PLACES[0])))
        guest = await guests.begin(cpus=1)
        machine = start(guest.section, guest.descriptors, lambda: None)
        assert not select.select([machine.ended], [], [], 0.5)[0]
        assert plugged(machine) == guest.section.shape.plugged == 832 << 20  # without a word to the guest
        machine.set_memory(guest.section.memory - (256 << 20))
        assert until(partial(plugged, machine), lambda size: size <= 576 << 20) == 576 << 20
        machine.close()
        guest.close()
        await guests.close()
    assert booted == [True, False]
    assert _files(tmp_path / "vm/templates") == [".memory", ".state", ".sum"]
    assert len(list((tmp_path / "vm/initramfs").iterdir())) == 1
    assert sum(path.stat().st_blocks * 512 for path in (tmp_path / "vm").rglob("*")) < 200 << 20


async def test_a_guest_that_does_not_boot_says_why(workers: LauncherMachines, tmp_path: Path) -> None:
    parts = await workers.parts(machines.PLACES[0], tmp_path / "initramfs")
    with pytest.raises(StartFailed, match=r"the guest has ended: .*Kernel panic - not syncing: .*"):
        await workers.template(machines.shape(), parts._replace(initramfs=parts.kernel), tmp_path, "key")
    os.close(parts.kernel)
    os.close(parts.initramfs)


async def test_a_boot_that_is_given_up_leaves_no_qemu(
    launcher: Launcher, workers: LauncherMachines, tmp_path: Path
) -> None:
    parts = await workers.parts(machines.PLACES[0], tmp_path / "initramfs")
    boot = asyncio.create_task(workers.template(machines.shape(), parts, tmp_path, "key"))
    while not (found := _qemus(launcher.pid)):
        await asyncio.sleep(0.01)
    ends = [os.pidfd_open(pid) for pid in found]
    boot.cancel()
    with pytest.raises(asyncio.CancelledError):
        await boot
    for end in ends:
        assert select.select([end], [], [], PATIENCE)[0]
        os.close(end)
    os.close(parts.kernel)
    os.close(parts.initramfs)


async def test_a_place_that_is_no_directory(workers: LauncherMachines, tmp_path: Path) -> None:
    parts = await workers.parts(machines.PLACES[0], tmp_path / "initramfs")
    (tmp_path / "file").touch()
    with pytest.raises(Failed):
        await workers.parts(machines.PLACES[0], tmp_path / "file")
    os.close(parts.kernel)
    os.close(parts.initramfs)


def _qemus(launcher: int) -> list[int]:
    """Of the launcher's helpers."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit() and USERS <= _user(name) < USERS + (1 << 24) and _parent(_parent(int(name))) == launcher:
            found.append(int(name))
    return found


def _user(name: str) -> int:
    try:
        return os.stat(f"/proc/{name}").st_uid
    except FileNotFoundError:
        return -1


def _parent(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return -1
