"""Disks as volumes: what can be made, chains, and a clone that is interrupted at every step."""

from __future__ import annotations

import errno
import os
import socket
from pathlib import Path

import pytest

from corten.engine.events import Events
from corten.engine.volumes import Volumes
from corten.errors import Conflict, Corrupt, Failed, Invalid, NotFound
from corten.machines.disks import Disks, given, recognized
from corten.spec import qcow2
from fakes.table import MemoryTable


class World:
    def __init__(self, root: Path) -> None:
        self.root, self.table = root, MemoryTable()
        self.begin()

    def begin(self) -> None:
        """As a daemon does, with what is there."""
        self.volumes = Volumes(self.root / "volumes", self.table, Events())
        self.disks = Disks(self.volumes, self.convert, self.fill)
        self.disks.recover()

    async def convert(self, format: str, source: int, target: int, size: int) -> None:
        if format == "raw" and os.pread(source, 4, 0) == b"fail":
            raise Failed("no")
        for offset, data in qcow2.empty(size or 1 << 20):
            os.pwrite(target, data, offset)

    async def fill(self, image: str, out: int) -> None:
        if image == "large":
            raise Invalid("no room")
        os.pwrite(out, image.encode(), 1024)

    def names(self) -> list[str]:
        return [volume.name for volume in self.volumes.list()]


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


async def test_empty_ones_and_clones(world: World) -> None:
    await world.disks.create("root", {"size": "10g"})
    await world.disks.create("clone", {"backing": "root"})
    await world.disks.create("larger", {"backing": "clone", "size": "20g"})
    assert [file.path.parent.parent.name for file in world.disks.chain("larger")] == ["root", "clone", "larger"]
    assert (world.disks.size("clone"), world.disks.size("larger")) == (10 << 30, 20 << 30)
    with pytest.raises(Conflict, match="clone are based on it"):
        world.disks.check_writable("root")
    with pytest.raises(Conflict, match="volume clone"):
        world.volumes.remove("root")


async def test_what_clones_have_put_beneath_goes_with_the_last(world: World) -> None:
    """And nothing of a user's own."""
    await world.disks.create("root", {"size": "1g"})
    await world.disks.create("own", {"backing": "root"})
    for name in ("first", "second"):
        await world.disks.create(name, {"backing": await world.disks.fork("own")})
    assert sorted(world.names()) == ["first", "own", "own-base1", "own-base2", "root", "second"]
    with pytest.raises(Conflict, match="volume first"):
        world.disks.remove("own-base1")
    world.disks.remove("own")
    assert sorted(world.names()) == ["first", "own-base1", "own-base2", "root", "second"]
    world.disks.remove("second")
    assert sorted(world.names()) == ["first", "own-base1", "root"]
    world.disks.remove("first")
    assert world.names() == ["root"]


@pytest.mark.parametrize(
    "options",
    [
        {}, {"size": "0"}, {"size": "-1g"}, {"size": "65t"}, {"size": "1g", "format": "vmdk"}, {"siez": "1g"},
        {"from": "/x", "backing": "root"}, {"from": "relative.img"}, {"backing": "root", "format": "raw"},
        {"backing": "root", "size": "1g"}, {"image": "large"}, {"image": "x", "backing": "root"},
        {"image": "x", "from": "/x"}, {"image": "x", "size": "0"},
    ],
    ids=str,
)  # fmt: skip
async def test_what_cannot_be_made(world: World, options: dict[str, str]) -> None:
    await world.disks.create("root", {"size": "2g"})
    with pytest.raises(Invalid):
        await world.disks.create("other", options)
    assert world.names() == ["root"]


async def test_nothing_is_left_of_a_copy_that_fails(world: World) -> None:
    image = world.root / "image"
    image.write_bytes(b"fail" + bytes(1020))
    with pytest.raises(Failed):
        await world.disks.create("copy", {"from": str(image)})
    assert world.names() == [] and not (world.root / "volumes/.moving/copy").exists()


@pytest.mark.parametrize("format", ["", "raw"])
async def test_one_with_what_an_image_has(world: World, format: str) -> None:
    volume = await world.disks.create("lab", {"image": "alpine", "format": format})
    (file,) = world.disks.chain("lab")
    assert [path.name for path in file.path.parent.iterdir()] == [f"disk.{format or 'qcow2'}"]
    assert volume.options["size"] == "10g" and file.path.stat().st_mode & 0o777 == 0o600
    if format == "raw":
        assert world.disks.size("lab") == 10 << 30
        with file.path.open("rb") as opened:
            assert b"alpine" in opened.read(4096)


@pytest.mark.parametrize("kind", ["fifo", "directory"])
async def test_files_that_are_no_images(world: World, kind: str) -> None:
    path = world.root / "image"
    os.mkfifo(path) if kind == "fifo" else path.mkdir()
    with pytest.raises(Invalid, match="neither a file nor a block device"):
        await world.disks.create("copy", {"from": str(path)})


async def test_a_header_that_a_machine_has_changed_leads_nowhere(world: World) -> None:
    from contextlib import ExitStack

    await world.disks.create("root", {"size": "1g"})
    file = world.disks.file("root").path
    data = bytearray(file.read_bytes())
    data[79] = 4  # incompatible: the content is in another file
    file.write_bytes(data)
    with ExitStack() as held, pytest.raises(Corrupt, match="leads to another file"):
        world.disks.open("root", False, held)


@pytest.mark.parametrize("format", ["qcow2", "raw"])
@pytest.mark.parametrize("step", ["with_options", "_write_empty", "rename", "_frozen", "never"])
async def test_freezing_is_whole_or_has_not_happened(
    world: World, step: str, format: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed behind each step, the next daemon has a disk with the same content."""
    await world.disks.create("root", {"size": "1m", "format": format})
    content = world.disks.file("root").path
    with content.open("r+b") as file:
        file.seek(600_000)
        file.write(b"content")

    class Killed(Exception):
        pass

    def killed(*_: object) -> None:
        raise Killed

    target = {"with_options": world.volumes, "_frozen": world.disks}.get(step)
    if target is not None:
        monkeypatch.setattr(target, step, killed)
    elif step == "rename":
        monkeypatch.setattr(Path, "rename", killed)
    elif step == "_write_empty":
        monkeypatch.setattr("corten.machines.disks._write_empty", killed)
    if step == "never":
        assert await world.disks.freeze("root") == "root-base1"
    else:
        with pytest.raises(Killed):
            await world.disks.freeze("root")
    monkeypatch.undo()
    world.begin()
    chain = world.disks.chain("root")
    assert b"content" in chain[0].path.read_bytes()
    frozen = step in ("_frozen", "never")
    assert len(chain) == (2 if frozen else 1)
    if frozen:
        assert b"content" not in chain[1].path.read_bytes()
    assert world.names() == (["root", "root-base1"] if frozen else ["root"]) and not world.volumes.unsettled


@pytest.mark.parametrize("format", ["qcow2", "raw"])
async def test_a_merge_is_whole_or_has_not_happened(world: World, format: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the base has by now is the disk, whichever write is the daemon's last."""
    await world.disks.create("root", {"size": "1m", "format": format})
    await world.disks.freeze("root")
    for last in range(20):
        base = await world.disks.fork("root")
        its = world.disks.file(base).path
        merged = f"merged {last}".encode()
        with its.open("r+b") as file:
            file.seek(700_000)
            file.write(merged)
        ended = _killed_after(last, monkeypatch)
        try:
            world.disks.absorb("root")
        except ProcessEnd:
            pass
        monkeypatch.undo()
        world.begin()
        content = b"".join(file.path.read_bytes() for file in world.disks.chain("root"))
        assert merged in content and not world.volumes.unsettled
        assert not any(world.root.glob("volumes/*/_data/.fresh"))
        if base in world.names():  # nothing of it had begun
            assert last == 0
            world.disks.absorb("root")
        assert world.names() == ["root", "root-base1"] and len(world.disks.chain("root")) == 2
        if not ended:
            return
    pytest.fail("it has no end")


class ProcessEnd(BaseException):
    pass


def _killed_after(calls: int, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The process ends in the place of a write after so many; what it was, once it has."""
    left, ended = [calls], list[str]()

    def counted(owner: object, name: str) -> None:
        before = getattr(owner, name)

        def call(*given: object, **more: object) -> object:
            if ended or left[0] == 0:
                ended.append(name)
                raise ProcessEnd
            left[0] -= 1
            return before(*given, **more)

        monkeypatch.setattr(owner, name, call)

    for owner, name in (
        (MemoryTable, "put"),
        (MemoryTable, "delete"),
        (os, "link"),
        (Path, "rename"),
        (Path, "unlink"),
    ):
        counted(owner, name)
    return ended


@pytest.mark.parametrize("format", ["qcow2", "raw"])
async def test_a_disk_begins_anew_on_what_was_kept(world: World, format: str) -> None:
    await world.disks.create("root", {"size": "1m", "format": format})
    with world.disks.file("root").path.open("r+b") as file:
        file.write(b"first" if format == "raw" else b"")
    one, two = [await world.disks.fork("root") for _ in range(2)]
    for _ in range(2):
        world.disks.start_from("root", one)
    assert world.disks.names("root") == [one, "root"] and world.disks.names(two) == [one, two]
    assert world.disks.file("root").format == "qcow2" and world.disks.size("root") == 1 << 20
    assert world.disks.base_of(one) == "root" and world.disks.base_of("root") == ""
    with pytest.raises(Conflict, match=f"in use by volume {two}"):
        world.disks.absorb("root")


async def test_a_chain_has_an_end(world: World) -> None:
    await world.disks.create("root", {"size": "1m"})
    for _ in range(31):
        await world.disks.fork("root")
    with pytest.raises(Conflict, match="at the end of 32 files"):
        await world.disks.fork("root")
    world.disks.absorb("root")


@pytest.mark.parametrize("format", ["qcow2", "raw"])
async def test_freezing_on_a_full_disk_is_undone(world: World, format: str, monkeypatch: pytest.MonkeyPatch) -> None:
    await world.disks.create("root", {"size": "1m", "format": format})
    before = world.disks.file("root").path.read_bytes()

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("corten.machines.disks._write_empty", full)
    with pytest.raises(OSError, match="No space"):
        await world.disks.freeze("root")
    assert world.names() == ["root"] and world.disks.file("root").path.read_bytes() == before
    monkeypatch.undo()
    with world.disks.file("root").path.open("ab") as file:
        file.write(bytes(512))
    assert await world.disks.freeze("root") == "root-base1" and len(world.disks.chain("root")) == 2


@pytest.mark.parametrize("what", ["fifo", "socket", "directory", "/dev/null", "/dev/tty", "/proc/self/mem", "missing"])
def test_what_a_client_may_not_name(tmp_path: Path, what: str) -> None:
    """It is looked at before it is opened: a pipe that nothing writes to holds nothing up."""
    path = tmp_path / "given"
    with socket.socket(socket.AF_UNIX) as listening:
        if what == "fifo":
            os.mkfifo(path)
        elif what == "socket":
            listening.bind(str(path))
        elif what == "directory":
            path.mkdir()
        try:
            fd = given(what if what.startswith("/") else str(path))
        except (Invalid, NotFound) as error:
            assert isinstance(error, NotFound) is (what == "missing")
            return
    try:
        with pytest.raises(Invalid, match="cannot be read as a disk"):
            recognized(fd, what)
    finally:
        os.close(fd)
