"""Archives of machines: what a hostile one gets, and what is left of an import that fails or is killed."""

from __future__ import annotations

import asyncio
import io
import json
import os
import tarfile
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from corten.errors import Conflict, Failed, Invalid
from corten.machines import archive, life
from corten.machines.machine import Machine
from corten.vm import boot_files
from unit.machines.world import Killed, World

KERNEL: dict[str, Any] = {"Firmware": "kernel", "Kernel": "/boot/vmlinuz", "Initrd": "/etc/shadow"}


@pytest.fixture
async def world(tmp_path: Path) -> World:
    made = World(tmp_path)
    await made.begin()
    return made


def packed(files: list[tuple[str, bytes]], disks: int = 1, **config: Any) -> bytes:
    serials = [f"disk{index}" for index in range(disks)]
    described = {
        "version": 1,
        "name": "web",
        "config": {"Memory": 64 << 20, "Networks": {"bridge": {}}, **config},
        "disks": [{"serial": serial, "volume": "x"} for serial in serials],
        "chains": {serial: ["raw", "qcow2"] for serial in serials},
    }
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for name, data in [("machine.json", json.dumps(described).encode()), *files]:
            found = tarfile.TarInfo(name)
            found.size = len(data)
            tar.addfile(found, io.BytesIO(data))
    return buffer.getvalue()


async def imported(world: World, data: bytes, name: str = "", kernel: str = "", initrd: str = "") -> Machine:
    async def pieces() -> AsyncIterator[bytes]:
        for at in range(0, len(data), 1 << 20):
            yield data[at : at + (1 << 20)]

    return await archive.unpacked(world.machines, pieces(), name, kernel, initrd)


def files(world: World, disks: int = 1) -> list[tuple[str, bytes]]:
    from corten.spec import qcow2

    image = bytearray()
    for offset, data in qcow2.empty(1 << 20):
        image[offset : offset + len(data)] = data.rjust(len(data))
        image = image.ljust(offset + len(data), b"\0")
    found = []
    for index in range(disks):
        found += [(f"disks/disk{index}/0.raw", bytes(1 << 20)), (f"disks/disk{index}/1.qcow2", bytes(image))]
    return found


async def test_a_machine_with_what_is_beside_its_disks(world: World) -> None:
    beside = [("variables.qcow2", b"variables"), ("tpm/tpm2-00.permall", b"chip")]
    made = await imported(world, packed([*files(world), *beside]))
    assert (made.directory / "uefi-variables.qcow2").read_bytes() == b"variables"
    assert (made.directory / "tpm/tpm2-00.permall").read_bytes() == b"chip"
    assert world.names() == ["web-disk0", "web-disk0-base1"] and not world.machines.volumes.unsettled


async def test_the_guest_does_not_choose_files_of_this_host(world: World, tmp_path: Path) -> None:
    """It could read them: a kernel and an initrd are in its memory."""
    data = packed(files(world), **KERNEL)
    with pytest.raises(Invalid, match="files of its host, /boot/vmlinuz and /etc/shadow: say which ones of this host"):
        await imported(world, data)
    with pytest.raises(Invalid, match="say which ones"):
        await imported(world, data, kernel="/boot/vmlinuz")
    with pytest.raises(Invalid, match="boots from its disks"):
        await imported(world, packed(files(world)), kernel="/boot/vmlinuz")
    kernel, initrd = tmp_path / "kernel", tmp_path / "initrd"
    kernel.touch()
    initrd.touch()
    made = await imported(world, data, kernel=str(kernel), initrd=str(initrd))
    assert (made.record.config.kernel, made.record.config.initrd) == (str(kernel), str(initrd))


async def test_what_a_tpm_has_put_beside_its_state_names_no_file_of_this_host(world: World, tmp_path: Path) -> None:
    """Its process belongs to the guest as soon as that has found a fault in it, and root reads what it leaves."""
    made = await imported(world, packed([*files(world), ("tpm/tpm2-00.permall", b"chip")]))
    secret = tmp_path / "secret"
    secret.write_text("the host's")
    (made.directory / "tpm/link").symlink_to(secret)
    (made.directory / "tpm/nowhere").symlink_to(tmp_path / "nowhere")
    os.mkfifo(made.directory / "tpm/pipe")
    data = b"".join([piece async for piece in archive.packed(world.machines, made)])
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        assert [name for name in tar.getnames() if name.startswith("tpm/")] == ["tpm/tpm2-00.permall"]
    assert b"the host's" not in data


@pytest.mark.parametrize("name", ["tpm/{}", "tpm/same"])
async def test_what_is_beside_the_disks_does_not_fill_memory(world: World, name: str) -> None:
    beside = [(name.format(f"n{number}"), bytes(1 << 20)) for number in range(66)]
    with pytest.raises(Invalid, match="bytes beside its disks, each file once"):
        await imported(world, packed([*files(world), *beside]))
    assert not world.names() and not world.machines.by_name


async def test_nothing_is_left_when_what_is_beside_the_disks_cannot_be_written(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("corten.machines.run.write", full)
    with pytest.raises(OSError, match="No space"):
        await imported(world, packed([*files(world), ("tpm/a", b"x")]))
    assert not world.names() and not world.machines.by_name and not world.table.list("machine")
    assert not [*(world.root / "machines").glob("*")]


WRITES = 9  # four disks, the machine, and each disk as it is settled


@pytest.mark.parametrize("left", range(WRITES + 1))
@pytest.mark.parametrize("how", ["killed", "full"])
async def test_an_import_that_does_not_come_to_its_end(world: World, left: int, how: str) -> None:
    world.table.left, world.table.error = left, Killed() if how == "killed" else Failed("the database is full")
    if left < WRITES:
        with pytest.raises((Killed, Failed)):
            await imported(world, packed(files(world, 2), disks=2))
    else:
        await imported(world, packed(files(world, 2), disks=2))
    world.table.left = 1000
    machines = await world.begin()
    there = left >= (5 if how == "killed" else WRITES)
    assert list(machines.by_name) == ["web"] * there and not machines.volumes.unsettled
    assert len(world.names()) == 4 * there


async def test_a_volume_that_is_there_is_not_taken_and_not_removed(world: World) -> None:
    await world.machines.disks.create("web-disk0", {"size": "1m"})
    with pytest.raises(Conflict, match="web-disk0 is there already"):
        await imported(world, packed(files(world)))
    assert world.names() == ["web-disk0"]


async def test_a_client_that_does_not_read_holds_no_removal_up(world: World) -> None:
    machine = await imported(world, packed(files(world)))
    begun = asyncio.Event()

    async def reading() -> None:
        async for _ in archive.packed(world.machines, machine):
            begun.set()
            await asyncio.Event().wait()

    client = asyncio.ensure_future(reading())
    await begun.wait()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await life.remove(world.machines, machine, force=False, disks=True)
    async with asyncio.timeout(60):
        await life.remove(world.machines, machine, force=True, disks=True)
    assert client.cancelled() or client.cancelling()
    assert world.names() == [] and not world.machines.by_name
    with suppress(asyncio.CancelledError):
        await client


IMAGE: dict[str, Any] = {"Firmware": "image", "Image": "system", "Kernel": "/boot/vmlinuz", "Initrd": "/boot/initrd"}


async def test_one_from_an_image_brings_what_it_boots(world: World) -> None:
    """By a stream, and not by this host's files; the image need not be here."""
    kernel, initrd = bytes(3 << 20) + b"kernel", b"initrd" * 1000
    data = packed([*files(world), ("kernel", kernel), ("initrd", initrd)], **{**IMAGE, "Image": "elsewhere:1"})
    with pytest.raises(Invalid, match="boots the kernel that came with it"):
        await imported(world, data, kernel="/boot/vmlinuz")
    made = await imported(world, data)
    assert (made.directory / "kernel").read_bytes() == kernel and (made.directory / "initrd").read_bytes() == initrd
    assert [disk.volume for disk in made.record.disks] == ["web-disk0"]
    again = b"".join([piece async for piece in archive.packed(world.machines, made)])
    other = await imported(world, again, name="other")
    assert (other.directory / "kernel").read_bytes() == kernel and other.record.config.image == "elsewhere:1"
    assert sorted(path.name for path in (world.root / "machines").iterdir()) == sorted((made.id, other.id))


@pytest.mark.parametrize(
    "beside, config, message",
    [
        ([("initrd", b"x")], IMAGE, "has no kernel, which the machine boots"),
        ([("kernel", b"x")], IMAGE, "has no initrd, which the machine boots"),
        ([("kernel", b"x"), ("kernel", b"x")], IMAGE, "one kernel, of a bounded size"),
        ([("kernel", b"x")], {}, "others have none"),
    ],
)
async def test_what_is_booted_is_there_once(
    world: World, beside: list[tuple[str, bytes]], config: dict[str, Any], message: str
) -> None:
    with pytest.raises(Invalid, match=message):
        await imported(world, packed([*files(world), *beside], **config))
    assert not world.names() and not world.machines.by_name and not [*(world.root / "machines").glob("*")]


async def test_a_kernel_without_end(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(boot_files.MOST, "kernel", 1 << 20)
    with pytest.raises(Invalid, match="of a bounded size"):
        await imported(world, packed([("kernel", bytes(2 << 20))], **IMAGE))
