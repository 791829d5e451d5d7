"""Machines and their disks: a create that is killed or fails at any step leaves neither."""

from __future__ import annotations

import asyncio
import errno
import threading
from pathlib import Path
from typing import Any

import pytest

from corten.aio import threads
from corten.errors import Conflict, Exhausted, Failed, Invalid, NotFound, Unavailable
from corten.machines import change, clone, create
from corten.spec.docker.filters import Filters
from corten.spec.docker.machine import MachineDisk
from unit.machines.world import Killed, World, asked


@pytest.fixture
async def world(tmp_path: Path) -> World:
    made = World(tmp_path)
    await made.begin()
    return made


TWO = asked(MachineDisk(size="1m"), MachineDisk(volume="mine", size="1m"))
WRITES = 5  # of a create with two disks: each as it is made, the machine, each as it is settled


@pytest.mark.parametrize("left", range(WRITES + 1))
async def test_a_create_that_is_killed(world: World, left: int) -> None:
    world.table.left = left
    if left < WRITES:
        with pytest.raises(Killed):
            await create.create(world.machines, "web", TWO)
    else:
        await create.create(world.machines, "web", TWO)
    world.table.left = 1000
    machines = await world.begin()
    there = left >= 3
    assert list(machines.by_name) == (["web"] if there else [])
    assert world.names() == (["mine", "web-disk0"] if there else []) and not machines.volumes.unsettled
    assert len([*(world.root / "machines").glob("*")]) == there
    await world.begin()
    assert len(world.names()) == 2 * there


@pytest.mark.parametrize("left", range(WRITES))
async def test_a_create_that_cannot_be_recorded(world: World, left: int) -> None:
    world.table.left, world.table.error = left, Failed("the database is full")
    with pytest.raises(Failed):
        await create.create(world.machines, "web", TWO)
    world.table.left = 1000
    for machines in (world.machines, await world.begin()):
        assert not machines.by_name and not machines.creating and not machines.volumes.list()
    assert not [*(world.root / "machines").glob("*")]
    await create.create(world.machines, "web", TWO)


async def test_disks_outlive_their_machine(world: World) -> None:
    """What a machine was made with is the user's, also when the machine is gone."""
    made = await create.create(world.machines, "web", TWO)
    world.table.delete("machine", made.id)
    await world.begin()
    assert world.names() == ["mine", "web-disk0"]


async def test_a_disk_that_is_added_and_not_recorded(world: World) -> None:
    machine = await create.create(world.machines, "web", TWO)
    world.table.left = 1
    with pytest.raises(Killed):
        await change.add_disk(world.machines, machine, MachineDisk(size="1m"))
    world.table.left = 1000
    machines = await world.begin()
    assert world.names() == ["mine", "web-disk0"] and len(machines.by_name["web"].record.disks) == 2


async def test_nothing_else_takes_a_disk_before_its_machine_is_there(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = world.root / "image"
    image.write_bytes(bytes(1 << 20))
    reached, go = asyncio.Event(), asyncio.Event()

    async def slow(*_: object) -> None:
        reached.set()
        await go.wait()

    monkeypatch.setattr(world.machines.disks, "_convert", slow)
    both = asked(MachineDisk(volume="first", size="1m"), MachineDisk(volume="second", source=str(image)))
    creating = asyncio.ensure_future(create.create(world.machines, "web", both))
    await reached.wait()
    assert await world.machines.volumes.prune(everything()) == ([], 0)
    with pytest.raises(Conflict, match="in use"):
        world.machines.volumes.remove("first")
    with pytest.raises(Conflict, match="in use by what it is being made for"):
        await create.create(world.machines, "thief", asked(MachineDisk(volume="first")))
    go.set()
    await creating
    assert world.names() == ["first", "second"] and list(world.machines.by_name) == ["web"]


def everything() -> Filters:

    return Filters({"all": ["true"]})


@pytest.mark.parametrize("what", ["kernel", "disk"])
async def test_a_file_on_a_file_system_that_does_not_answer(
    world: World, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loop goes on meanwhile, and the request ends."""
    stuck, loop_thread = threading.Event(), threading.get_ident()

    def hangs(*_: object) -> Any:
        assert threading.get_ident() != loop_thread, "it is looked at in the event loop's thread"
        stuck.wait(30)
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(threads, "_LOOK", 0.05)
    monkeypatch.setattr("os.path.isfile" if what == "kernel" else "corten.machines.disks.given", hangs)
    wanted = asked(kernel="/dead/vmlinuz") if what == "kernel" else asked(MachineDisk(source="/dead/image"))
    try:
        with pytest.raises(Unavailable, match="on a file system that does not answer"):
            await create.create(world.machines, "web", wanted)
    finally:
        stuck.set()
    assert not world.names() and not world.machines.by_name


async def test_a_kernel_that_is_not_there(world: World) -> None:
    with pytest.raises(NotFound, match="there is no file /no/such"):
        await create.create(world.machines, "web", asked(kernel="/no/such"))


FROM_IMAGE = asked(MachineDisk(size="1m"), image="system", image_size="16m")


@pytest.mark.parametrize("left", range(WRITES + 1))
async def test_one_from_an_image_that_is_killed(world: World, left: int) -> None:
    world.table.left = left
    if left < WRITES:
        with pytest.raises(Killed):
            await create.create(world.machines, "web", FROM_IMAGE)
    else:
        await create.create(world.machines, "web", FROM_IMAGE)
    world.table.left = 1000
    machines = await world.begin()
    there = left >= 3
    assert world.names() == (["web-disk0", "web-disk1"] if there else []) and not machines.volumes.unsettled
    files = [path.name for path in sorted((world.root / "machines").glob("*/*"))]
    assert files == (["initrd", "kernel"] if there else [])


async def test_what_one_from_an_image_boots(world: World) -> None:
    made = await create.create(world.machines, "web", FROM_IMAGE)
    config = made.record.config
    assert (config.firmware, config.kernel, config.initrd) == ("image", "/boot/vmlinuz", "/boot/initrd.img")
    assert [disk.volume for disk in made.record.disks] == ["web-disk0", "web-disk1"]
    options = world.machines.volumes.get("web-disk0").options
    assert options == {"image": "sha256:1", "size": "16m"}
    assert not (world.root / "volumes/web-disk0/_data/disk.raw").exists()
    cloned = await clone.clone(world.machines, made, "other", False)
    assert (cloned.directory / "kernel").samefile(made.directory / "kernel")
    assert cloned.record.config.firmware == "image"
    assert [disk.volume for disk in cloned.record.disks] == ["other-disk0", "other-disk1"]


async def test_files_of_one_from_an_image_that_cannot_be_written(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def full(*_: object) -> None:
        raise Exhausted("no space")

    monkeypatch.setattr(world.images, "take", full)
    with pytest.raises(Exhausted):
        await create.create(world.machines, "web", FROM_IMAGE)
    assert not world.names() and not [*(world.root / "machines").glob("*")] and not world.machines.creating


@pytest.mark.parametrize(
    "wanted, message",
    [
        ({"image": "system", "firmware": "bios"}, "boots what is in an image with the firmware image"),
        ({"firmware": "image"}, "boots what is in an image with the firmware image"),
        ({"image_size": "1g"}, "given with an image"),
        ({"image": "system", "kernel": "boot/vmlinuz"}, "no absolute path of a file in an image"),
        ({"image": "system", "initrd": "/boot/\n"}, "no absolute path of a file in an image"),
        ({"image": "system", "image_size": "large"}, "large"),
    ],
)
async def test_images_that_are_asked_for_wrongly(world: World, wanted: dict[str, str], message: str) -> None:
    with pytest.raises(Invalid, match=message):
        await create.create(world.machines, "web", asked(**wanted))
    assert not world.names()


async def test_an_image_that_is_not_here(world: World) -> None:
    with pytest.raises(NotFound, match="No such image: other"):
        await create.create(world.machines, "web", asked(image="other"))
