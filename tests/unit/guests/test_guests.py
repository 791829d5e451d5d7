"""One making for all starts at a time, and a new one when anything that it depends on is another one."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from corten.errors import Exhausted, NotFound, StartFailed, Unsupported
from corten.guests import guests as room
from corten.guests import host
from corten.guests.guests import Guests, Settings
from corten.guests.host import Accelerator
from corten.vm import kept
from corten.vm.architectures import ARCHITECTURES
from fakes.guests import FakeMachines

MIB = 1 << 20


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with a QEMU and a kernel, 16 GiB and four processors."""
    (tmp_path / "kernel/boot").mkdir(parents=True)
    (tmp_path / "kernel/boot/vmlinuz-6.1.0").write_bytes(b"kernel")
    (tmp_path / "kernel/lib/modules/6.1.0/kernel").mkdir(parents=True)
    (tmp_path / "qemu").write_bytes(b"program")
    monkeypatch.setattr(host, "qemu", lambda *_: str(tmp_path / "qemu"))
    monkeypatch.setattr(host, "PLACES", (tmp_path / "kernel",))
    monkeypatch.setattr(host, "total_memory", lambda: 16384 * MIB)
    monkeypatch.setattr(host, "available_memory", lambda: 8192 * MIB)
    monkeypatch.setattr(host, "accelerator", lambda: Accelerator("tcg", "a reason", ""))
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    return tmp_path


@pytest.fixture
def workers() -> FakeMachines:
    return FakeMachines()


@pytest.fixture
async def guests(tmp_path: Path, workers: FakeMachines) -> AsyncIterator[Guests]:
    before = len(os.listdir("/proc/self/fd"))
    guests = Guests(tmp_path / "vm", workers, Settings())
    yield guests
    await guests.close()
    assert len(os.listdir("/proc/self/fd")) == before


def _content(descriptors: tuple[int, ...]) -> list[bytes]:
    return [os.pread(fd, 20, 0) for fd in descriptors]


async def test_a_guest_is_a_clone(guests: Guests, workers: FakeMachines) -> None:
    guest = await guests.begin(limit=512 * MIB, cpus=3)
    assert guest.section.cloned
    assert guest.section.memory == 576 * MIB
    assert guest.section.cpus == 3
    assert guest.section.shape == workers.made[0][0]
    assert guest.section.shape[1:] == ("tcg", 256 * MIB, 16384 * MIB, 4, 1, 0, host.HERE)
    assert _content(guest.descriptors) == [b"memory", b"state"]
    guest.close()


async def test_a_guest_of_another_architecture_is_emulated_and_kept_apart(
    guests: Guests, workers: FakeMachines, machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host, "accelerator", lambda: Accelerator("kvm", "a reason", ""))
    other = next(row for row in ARCHITECTURES.values() if row.name != host.HERE)
    with pytest.raises(Unsupported, match=f"no kernel for guests of {other.go} in .*-{other.go}: scripts/guest-kernel"):
        await guests.check(other.name)
    shutil.copytree(machine / "kernel", machine / f"kernel-{other.go}")
    await guests.check(other.name)
    for architecture in (host.HERE, other.name, other.name, host.HERE):
        (await guests.begin(architecture=architecture)).close()
    assert [shape.architecture for shape, _ in workers.made] == [host.HERE, other.name]
    assert [shape.accelerator for shape, _ in workers.made] == ["kvm", "tcg"]
    assert len({key for _, key in workers.made}) == 2


async def test_sizes(guests: Guests) -> None:
    for limit, cpus, expected in (
        (0, 0, (1088 * MIB, 1)),
        (6 * MIB, 1, (256 * MIB, 1)),
        (300 * MIB + 1, 99, (366 * MIB, 4)),
    ):
        guest = await guests.begin(limit, cpus)
        assert (guest.section.memory, guest.section.cpus) == expected
        guest.close()
    with pytest.raises(Exhausted, match="a guest with 16448 MiB of memory: this machine has 16384 MiB"):
        await guests.begin(limit=16384 * MIB)


async def test_memory_that_every_usual_guest_has_is_in_its_template(guests: Guests, workers: FakeMachines) -> None:
    for limit, shared in ((0, False), (2048 * MIB, False), (1023 * MIB, False), (0, True), (4096 * MIB, True)):
        (await guests.begin(limit, shared=shared)).close()
    assert [shape.plugged for shape, _ in workers.made] == [832 * MIB, 0]
    assert len({key for _, key in workers.made}) == 2


async def test_starts_at_once_share_one_making(guests: Guests, workers: FakeMachines) -> None:
    workers.gate.clear()
    starts = [asyncio.create_task(guests.begin()) for _ in range(10)]
    while not workers.made:
        await asyncio.sleep(0)
    workers.gate.set()
    for guest in await asyncio.gather(*starts):
        guest.close()
    (await guests.begin()).close()
    assert len(workers.made) == 1


async def test_who_waits_for_a_boot_learns_of_it(guests: Guests, workers: FakeMachines, tmp_path: Path) -> None:
    workers.gate.clear()
    early, late, later = [], [], []
    starts = [asyncio.create_task(guests.begin(boots=lambda: early.append(1)))]
    while not workers.made:
        await asyncio.sleep(0)
    starts.append(asyncio.create_task(guests.begin(boots=lambda: late.append(1))))
    while not late:
        await asyncio.sleep(0)
    workers.gate.set()
    for guest in await asyncio.gather(*starts):
        guest.close()
    (await guests.begin(boots=lambda: later.append(1))).close()
    assert (early, late, later) == ([1], [1], [])


async def test_a_template_on_the_disk_is_no_boot(
    guests: Guests, workers: FakeMachines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept, "is_there", lambda directory, key: True)
    booted: list[int] = []
    (await guests.begin(boots=lambda: booted.append(1))).close()
    assert booted == []


async def test_a_making_goes_on_without_its_client(guests: Guests, workers: FakeMachines) -> None:
    workers.gate.clear()
    start = asyncio.create_task(guests.begin())
    while not workers.made:
        await asyncio.sleep(0)
    start.cancel()
    with pytest.raises(asyncio.CancelledError):
        await start
    workers.gate.set()
    (await guests.begin()).close()
    assert len(workers.made) == 1


async def test_an_error_is_that_of_all_and_the_next_tries_again(guests: Guests, workers: FakeMachines) -> None:
    workers.error = StartFailed("the guest has ended: Kernel panic")
    starts = [asyncio.create_task(guests.begin()) for _ in range(3)]
    for result in await asyncio.gather(*starts, return_exceptions=True):
        assert isinstance(result, StartFailed)
    workers.error, failed = None, len(workers.made)
    (await guests.begin()).close()
    assert len(workers.made) == failed + 1


async def test_closing_gives_a_making_up(guests: Guests, workers: FakeMachines) -> None:
    workers.gate.clear()
    start = asyncio.create_task(guests.begin())
    while not workers.made:
        await asyncio.sleep(0)
    await guests.close()
    with pytest.raises(asyncio.CancelledError):
        await start


async def test_another_file_is_another_template(guests: Guests, workers: FakeMachines, machine: Path) -> None:
    running = await guests.begin()
    (machine / "kernel/boot/vmlinuz-6.1.0").write_bytes(b"another kernel")
    (await guests.begin()).close()
    (machine / "qemu").write_bytes(b"another program")
    (await guests.begin()).close()
    (machine / "kernel/boot/vmlinuz-6.2.0").write_bytes(b"kernel")
    (machine / "kernel/lib/modules/6.2.0/kernel").mkdir(parents=True)
    (await guests.begin()).close()
    (await guests.begin()).close()
    keys = [key for _, key in workers.made]
    assert len(keys) == len(set(keys)) == 4
    assert _content(running.descriptors) == [b"memory", b"state"]
    running.close()


async def test_what_the_key_depends_on(guests: Guests, workers: FakeMachines, monkeypatch: pytest.MonkeyPatch) -> None:
    (await guests.begin()).close()
    base, marks = workers.made[0][0], ("marks",)
    key = room._key(base, "i", marks)
    assert key == room._key(base, "i", marks)
    others = [
        room._key(base._replace(memory=1 << 30), "i", marks),
        room._key(base._replace(max_cpus=3), "i", marks),
        room._key(base._replace(cpus=2), "i", marks),
        room._key(base._replace(accelerator="kvm"), "i", marks),
        room._key(base, "j", marks),
        room._key(base, "i", ("others",)),
    ]
    monkeypatch.setattr(room, "_processor", lambda: "another one")
    others.append(room._key(base._replace(accelerator="kvm"), "i", marks))
    assert len({key, *others}) == 8


async def test_a_new_template_is_stored_once(tmp_path: Path, workers: FakeMachines) -> None:
    for _ in range(2):
        guests = Guests(tmp_path / "vm", workers, Settings())
        (await guests.begin()).close()
        await guests.close()
    assert [key for _, key in workers.made] == workers.kept * 2


async def test_without_templates_each_guest_boots(tmp_path: Path, workers: FakeMachines) -> None:
    guests = Guests(tmp_path / "vm", workers, Settings(template=False))
    guest = await guests.begin()
    assert not guest.section.cloned
    assert _content(guest.descriptors) == [b"kernel", b"initramfs"]
    assert workers.made == []
    guest.close()
    await guests.close()


async def test_a_kernel_of_ones_own(tmp_path: Path, workers: FakeMachines) -> None:
    guests = Guests(tmp_path / "vm", workers, Settings(kernel=str(tmp_path / "none")))
    with pytest.raises(NotFound, match=r"no kernel for guests in .*/none: .* vm-kernel in daemon.json"):
        await guests.begin()
    await guests.close()


async def test_without_qemu(guests: Guests, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    monkeypatch.setattr("shutil.which", lambda *_, **__: None)
    with pytest.raises(Unsupported, match=r"qemu-system-x86_64 is missing in /usr: install the package"):
        host.qemu()


async def test_without_memory(guests: Guests, workers: FakeMachines, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "available_memory", lambda: 100 * MIB)
    with pytest.raises(Exhausted, match="not enough memory for a guest: 100 MiB of 448 are available"):
        await guests.begin()
    assert workers.made == []


async def test_the_accelerator_is_found_out_once(guests: Guests, monkeypatch: pytest.MonkeyPatch) -> None:
    first = await guests.accelerator()
    monkeypatch.setattr(host, "accelerator", lambda: Accelerator("kvm", "another", ""))
    assert await guests.accelerator() == first == Accelerator("tcg", "a reason", "")
