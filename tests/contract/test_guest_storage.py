"""What guests have instead of directories of the host: images of layers, and disks of their own."""

from __future__ import annotations

import asyncio
import os
import shutil
import stat
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from corten.errors import Failed, Invalid, NotFound, Unsupported
from corten.kernel import mount
from corten.snapshots import contract
from corten.snapshots.guest_disks import SMALLEST, GuestDisks, allocated
from corten.snapshots.guest_images import GuestImages, ImageFiles
from corten.snapshots.overlay import Overlay
from corten.spec.mounts import Mount
from corten.store.database import Database
from corten.store.records import Records
from corten.supervisor import views
from corten.tasks.disk_workers import LauncherDisks
from corten.tasks.launcher import Launcher
from corten.tasks.workers import LauncherWorkers
from fakes.guest_storage import FakeGuestDisks, FakeGuestImages
from image_parts import tars
from image_parts.described import described, fill
from image_parts.erofs import mounted
from image_parts.trees import unpack

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounts and owners need root")

ONE, TWO, LAST = "sha256:" + "1" * 64, "sha256:" + "2" * 64, "sha256:" + "3" * 64
SIZE = 64 << 20


class World:
    """A store with an image of two layers, a launcher, and the counted work of that."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.files = ImageFiles(root / "vm" / "layers")
        self.database = Database(root / "db")
        self.trees = Overlay(root / "snapshots", Records(self.database), removed=self.files.remove)
        self.launcher = Launcher(root / "launcher.log")
        self.launcher.start()
        self.workers = LauncherWorkers(self.launcher)
        self.made: list[Mount] = []
        self.images = GuestImages(self.files, self.trees, self.make)
        self.disks = GuestDisks(root / "vm" / "disks", self.workers.make_disk)
        self.container = root / "container"
        self.container.mkdir()
        self.layer(
            ONE, None,
            tars.directory("etc", mode=0o751), tars.file("etc/a", b"1"), tars.file("gone"),
            tars.directory("cleared"), tars.file("cleared/old"), tars.file("tool", b"tool", mode=0o4755),
        )  # fmt: skip
        self.layer(
            TWO, ONE,
            tars.file("etc/b", b"2"), tars.file(".wh.gone", b""),
            tars.file("cleared/.wh..wh..opq", b""), tars.link("alias", "tool"),
        )  # fmt: skip

    async def make(self, view: Mount, out: int, uuid: bytes, label: bytes) -> None:
        self.made.append(view)
        await self.workers.make_image(view, out, uuid, label)

    def layer(self, name: str, parent: str | None, *entries: bytes) -> None:
        draft = self.trees.receive()
        applied = unpack(draft.path, tars.archive(*entries))
        self.trees.commit(draft, name, parent, applied.size, applied.implied, applied.links)

    def left(self) -> list[str]:
        """What is below vm/, but for what waits to be erased."""
        self.files.trash.drain()
        found = (self.root / "vm").rglob("*")
        return sorted(
            str(path.relative_to(self.root / "vm")) for path in found if path.name not in ("layers", "disks", ".trash")
        )

    def close(self) -> None:
        self.trees.tree_store.close()
        self.files.trash.close()
        self.database.close()
        self.launcher.close()
        assert (self.root / "launcher.log").read_text() == ""


def opened(root: Path) -> list[str]:
    """Files below `root` that this process has open."""
    links = (f"/proc/self/fd/{fd}" for fd in os.listdir("/proc/self/fd"))
    return sorted(os.readlink(link) for link in links if os.path.lexists(link) and str(root) in os.readlink(link))


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    found, before = World(tmp_path), opened(tmp_path)
    yield found
    found.trees.tree_store.drain()
    found.files.trash.drain()
    after = opened(tmp_path)
    found.close()
    assert after == before, "a descriptor is left open"


@pytest.fixture(params=["ours", "fake"])
def images(request: pytest.FixtureRequest, world: World) -> contract.GuestImages:
    return world.images if request.param == "ours" else FakeGuestImages(world.root / "fake", world.trees)


@pytest.fixture(params=["ours", "fake"])
def disks(request: pytest.FixtureRequest, world: World) -> contract.GuestDisks:
    if request.param == "fake":
        return FakeGuestDisks()
    if not shutil.which("mke2fs", path="/usr/sbin:/sbin"):
        pytest.skip("mke2fs is missing (Debian package e2fsprogs)")
    return world.disks


def closed(fd: int) -> os.stat_result:
    status = os.fstat(fd)
    os.close(fd)
    return status


# ------------------------------------------------------------------------------------------------------------ images


async def test_an_image_is_for_reading_and_one_file(world: World, images: contract.GuestImages) -> None:
    fd = await images.image(TWO)
    try:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.pwrite(fd, b"x", 0)
        assert os.fstat(fd).st_size % 4096 == 0 < os.fstat(fd).st_size
        again, other = closed(await images.image(TWO)), closed(await images.image(ONE))
        assert again.st_ino == os.fstat(fd).st_ino != other.st_ino
    finally:
        os.close(fd)


async def test_calls_at_the_same_time_share_one(world: World, images: contract.GuestImages) -> None:
    found = [closed(fd) for fd in await asyncio.gather(*(images.image(TWO) for _ in range(5)))]
    assert len({status.st_ino for status in found}) == 1
    assert len(world.made) == isinstance(images, GuestImages)


async def test_what_is_no_layer(world: World, images: contract.GuestImages) -> None:
    world.trees.prepare("container", TWO)
    for name in ("absent", "container"):
        with pytest.raises(NotFound):
            await images.image(name)
    assert world.left() == []


async def test_it_stays_good_when_its_tree_goes(world: World, images: contract.GuestImages) -> None:
    fd = await images.image(TWO)
    content = os.pread(fd, 8192, 0)
    world.trees.remove(TWO)
    assert world.left() == []
    assert os.pread(fd, 8192, 0) == content
    os.close(fd)


async def test_it_is_what_a_container_sees(world: World) -> None:
    fill(world.trees.tree_store.files(world.trees.tree_store.get(ONE)))
    os.close(await world.images.image(TWO))
    os.close(await world.images.image(ONE))
    assert world.left() == [f"layers/{'1' * 64}.erofs", f"layers/{'2' * 64}.erofs"]
    for name, file in ((ONE, "1" * 64), (TWO, "2" * 64)):
        (view,) = world.trees.view(name)
        top = views.of_mount(view.entry())
        try:
            expected = described(top)
        finally:
            os.close(top)
        with mounted(world.files.root / f"{file}.erofs") as root:
            found = described(root)
        for thing in (*found.values(), *expected.values()):
            del thing["same as"]  # numbers of inodes
        assert found == expected
    assert b"gone" not in found and b"cleared/old" not in found
    assert stat.S_IMODE((world.files.root / f"{'2' * 64}.erofs").stat().st_mode) == 0o600


def _flip(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(1024 + 44)
        file.write(b"\x01")


def _cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 4096)


def _of_another(path: Path) -> None:
    shutil.copy(path.with_name("1" * 64 + ".erofs"), path)


@pytest.mark.parametrize("damage", [_flip, _cut, _of_another, lambda path: path.write_bytes(b"")],
                         ids=["flip", "cut", "another", "empty"])  # fmt: skip
async def test_a_damaged_one_is_made_again(world: World, damage: Callable[[Path], None]) -> None:
    os.close(await world.images.image(ONE))
    os.close(await world.images.image(TWO))
    path = world.files.root / ("2" * 64 + ".erofs")
    whole = path.read_bytes()
    damage(path)
    assert await world.images.fault(TWO, deep=False) != ""
    os.close(await world.images.image(TWO))
    assert path.read_bytes() == whole and len(world.made) == 3
    assert await world.images.fault(TWO, deep=False) == ""


async def test_one_of_another_version_is_made_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as older:
        older.setattr("corten.snapshots.guest_images._LABEL", b"corten 0")
        os.close(await world.images.image(ONE))
    assert await world.images.fault(ONE, deep=False) == "another version of the engine made it"
    os.close(await world.images.image(ONE))
    os.close(await world.images.image(ONE))
    assert len(world.made) == 2


async def test_all_of_it_is_compared_on_request(world: World) -> None:
    os.close(await world.images.image(TWO))
    assert await world.images.fault(TWO, deep=True) == ""
    with (world.files.root / ("2" * 64 + ".erofs")).open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"\x55")
    assert await world.images.fault(TWO, deep=False) == ""
    assert await world.images.fault(TWO, deep=True) == "it is not what is made of the layers"
    assert world.left() == [f"layers/{'2' * 64}.erofs"] and world.images.making == set()


async def test_what_a_repair_puts_in_a_layers_place_has_another_image(world: World) -> None:
    os.close(await world.images.image(TWO))
    draft = world.trees.receive()
    unpack(draft.path, tars.archive(tars.file("etc/a", b"another")))
    world.trees.tree_store.replace(ONE, draft, None)
    assert world.left() == []


async def test_nothing_is_left_of_a_failure(world: World) -> None:
    async def failing(view: Mount, out: int, uuid: bytes, label: bytes) -> None:
        os.write(out, b"something")
        raise Failed("no more room")

    broken = GuestImages(world.files, world.trees, failing)
    with pytest.raises(Failed, match="no more room"):
        await broken.image(TWO)
    assert world.left() == [] and broken.making == set()


async def test_a_full_disk(world: World) -> None:
    world.layer("sha256:" + "3" * 64, TWO, tars.file("large", b"x" * (1 << 20)))
    disk = mount.new("tmpfs", ("size=96k",))
    try:
        files = ImageFiles(Path(f"/proc/self/fd/{disk}/layers"))
        with pytest.raises(Failed, match=r"No space left on device: .*3333\.part"):
            await GuestImages(files, world.trees, world.make).image("sha256:" + "3" * 64)
        assert os.listdir(f"/proc/self/fd/{disk}/layers") == []
        disks = GuestDisks(Path(f"/proc/self/fd/{disk}/disks"), world.workers.make_disk)
        with pytest.raises(Failed, match=r"mke2fs: .*No space left on device"):
            await disks.disk(world.container)
        assert os.listdir(f"/proc/self/fd/{disk}/disks") == os.listdir(world.container) == []
    finally:
        os.close(disk)


async def test_nothing_is_left_when_the_call_is_cancelled(world: World) -> None:
    begun = asyncio.Event()

    async def slow(view: Mount, out: int, uuid: bytes, label: bytes) -> None:
        begun.set()
        await asyncio.Event().wait()

    images = GuestImages(world.files, world.trees, slow)
    asking = asyncio.create_task(images.image(TWO))
    await begun.wait()
    assert world.left() == [f"layers/{'2' * 64}.part"] and images.making == {TWO}
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert world.left() == []


async def test_a_tree_that_goes_meanwhile(world: World) -> None:
    async def make(view: Mount, out: int, uuid: bytes, label: bytes) -> None:
        await world.make(view, out, uuid, label)
        world.trees.remove(TWO)

    with pytest.raises(NotFound):
        await GuestImages(world.files, world.trees, make).image(TWO)
    assert world.left() == []


async def test_a_sweep_removes_what_no_tree_has(world: World) -> None:
    os.close(await world.images.image(TWO))
    for name in ("3" * 64 + ".erofs", "2" * 64 + ".part", "strange"):
        (world.files.root / name).write_bytes(b"left")
    world.files.sweep(world.trees.tree_store.keys(committed=True))
    assert world.left() == [f"layers/{'2' * 64}.erofs"]
    ImageFiles(world.root / "absent").sweep([])


async def test_its_size_is_what_it_has_on_the_disk(world: World) -> None:
    assert world.files.size([ONE, TWO]) == 0
    status = closed(await world.images.image(TWO))
    assert world.files.size([ONE, TWO]) == status.st_blocks * 512 > 0


async def test_a_tree_that_the_format_cannot_have(world: World) -> None:
    """The error is the worker's, and names the thing."""
    memory = mount.new("tmpfs", ())
    try:
        os.mkdir("tree", dir_fd=memory)
        path = f"/proc/self/fd/{memory}/tree"
        with open(f"{path}/file", "w") as file:
            try:
                os.setxattr(file.fileno(), "trusted.large", b"v" * 65_536)
            except OSError as error:
                pytest.skip(f"a tmpfs of this kernel has no such attributes: {error}")
        out = os.open(world.root / "out", os.O_RDWR | os.O_CREAT)
        with pytest.raises(Unsupported, match=r"the attribute 'trusted\.large' of 'file' is too large"):
            # a path of this process's own descriptor means nothing to the worker
            await world.workers.make_image(Mount("bind", f"/proc/{os.getpid()}/fd/{memory}/tree", "/", ("rbind", "ro")),
                                           out, bytes(16), b"")  # fmt: skip
        os.close(out)
    finally:
        os.close(memory)


# ------------------------------------------------------------------------------------------------------------- disks


async def test_a_disk_is_to_be_written_and_stays(world: World, disks: contract.GuestDisks) -> None:
    fd = await disks.disk(world.container, SIZE - 5)
    try:
        status = os.fstat(fd)
        assert status.st_size == SIZE and stat.S_IMODE(status.st_mode) == 0o600 and status.st_uid == 0
        os.pwrite(fd, b"written", SIZE // 2)
    finally:
        os.close(fd)
    fd = await disks.disk(world.container, 2 * SIZE)
    assert os.fstat(fd).st_size == SIZE and os.pread(fd, 7, SIZE // 2) == b"written"
    os.close(fd)
    assert os.listdir(world.container) == ["disk.ext4"]


@pytest.mark.parametrize("size", [-1, 0, (16 << 20) - 1, 16 << 40])
async def test_sizes_that_no_disk_has(world: World, disks: contract.GuestDisks, size: int) -> None:
    with pytest.raises(Invalid, match="16 MiB to 16 TiB"):
        await disks.disk(world.container, size)
    assert os.listdir(world.container) == [] and world.left() == []


@pytest.fixture
def mke2fs() -> None:
    if not shutil.which("mke2fs", path="/usr/sbin:/sbin"):
        pytest.skip("mke2fs is missing (Debian package e2fsprogs)")


async def test_disks_of_one_size_are_copies(world: World, mke2fs: None) -> None:
    made = 0

    async def counted(out: int) -> None:
        nonlocal made
        made += 1
        await world.workers.make_disk(out)

    disks, places = GuestDisks(world.root / "vm" / "disks", counted), [world.root / f"c{n}" for n in range(3)]
    for place in places:
        place.mkdir()
    found = [closed(fd) for fd in await asyncio.gather(*(disks.disk(place) for place in places))]
    assert len({status.st_ino for status in found}) == 3 and made == 1
    assert {status.st_size for status in found} == {10 << 30}
    assert all(allocated(place) < 512 << 10 for place in places) and allocated(world.root) == 0
    assert world.left() == ["disks/1-10737418240.ext4"]
    template = (world.root / "vm" / "disks" / "1-10737418240.ext4").stat()
    assert stat.S_IMODE(template.st_mode) == 0o600 and (template.st_uid, template.st_gid) == (0, 0)


@pytest.mark.parametrize("size", [SMALLEST, 1 << 30, 1 << 40])
async def test_it_is_a_file_system(world: World, mke2fs: None, size: int) -> None:
    """fsck finds nothing, and no guest has inode tables to write zeros to."""
    os.close(await world.disks.disk(world.container, size))
    path = str(world.container / "disk.ext4")
    checked = subprocess.run(["/usr/sbin/e2fsck", "-fn", path], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout
    if size <= 1 << 30:
        shown = subprocess.run(["/usr/sbin/dumpe2fs", path], capture_output=True, text=True).stdout
        groups = shown.split("\nGroup ")[1:]
        assert groups and all("ITABLE_ZEROED" in group for group in groups if group[0].isdigit())


async def test_a_template_that_is_none_is_made_again(world: World, mke2fs: None) -> None:
    os.close(await world.disks.disk(world.container, SIZE))
    (template,) = (world.root / "vm" / "disks").iterdir()
    for damage in (b"", bytes(SIZE)):
        template.write_bytes(damage)
        (world.container / "disk.ext4").unlink()
        os.close(await world.disks.disk(world.container, SIZE))
        done = subprocess.run(["/usr/sbin/e2fsck", "-fn", str(world.container / "disk.ext4")], capture_output=True)
        assert done.returncode == 0, done.stdout


async def test_nothing_is_left_of_a_disk_that_cannot_be_made(world: World) -> None:
    async def failing(out: int) -> None:
        raise Unsupported("mke2fs is not installed")

    disks = GuestDisks(world.root / "vm" / "disks", failing)
    with pytest.raises(Unsupported, match="mke2fs is not installed"):
        await disks.disk(world.container)
    assert os.listdir(world.container) == [] and world.left() == [] and disks.making == set()


async def test_a_sweep_keeps_the_usual_size(world: World, mke2fs: None) -> None:
    os.close(await world.disks.disk(world.container))
    other = world.root / "other"
    other.mkdir()
    os.close(await world.disks.disk(other, SIZE))
    (world.root / "vm" / "disks" / f"1-{SIZE}.part").write_bytes(b"left")
    world.disks.sweep()
    assert world.left() == ["disks/1-10737418240.ext4"]


async def test_a_disk_with_what_a_tree_has(world: World, mke2fs: None) -> None:
    """Of a machine: files of all users, and what is no file is not looked into."""
    world.layer(
        LAST, TWO,
        tars.file("etc/secret", b"none of yours", mode=0o600, uid=1234, gid=99), tars.fifo("pipe"),
        tars.block_device("disk", 8, 0), tars.symlink("outside", "/proc/1/root/etc/shadow"),
        tars.directory("own", mode=0o700), tars.file("own/a"), tars.link("own/b", "own/a"),
    )  # fmt: skip
    (tree,) = world.trees.view(LAST)
    path, workers = world.root / "disk", LauncherDisks(world.launcher, lambda: "")
    with path.open("w+b") as file:
        file.truncate(SIZE)
        await workers.fill(tree, file.fileno())
    subprocess.run(["e2fsck", "-fn", path], check=True, capture_output=True)
    expected = {
        "/etc/secret": ("regular", "0600", 1234), "/pipe": ("FIFO", "0644", 0), "/disk": ("block special", "0644", 0),
        "/outside": ("symlink", "0777", 0), "/own/a": ("regular", "0644", 0), "/tool": ("regular", "04755", 0),
    }  # fmt: skip
    for name, (kind, mode, owner) in expected.items():
        said = looked(path, f"stat {name}")
        assert f"Type: {kind} " in said and f"Mode:  {mode} " in said and f"User: {owner:5} " in said, (name, said)
    assert looked(path, "cat /etc/secret") == "none of yours" and "File not found" in looked(path, "stat /gone")
    assert "Links: 2" in looked(path, "stat /own/b") and "/proc/1/root/etc/shadow" in looked(path, "stat /outside")


async def test_a_disk_that_is_too_small_for_a_tree(world: World, mke2fs: None) -> None:
    world.layer(LAST, TWO, tars.file("large", os.urandom(32 << 20)))
    (tree,) = world.trees.view(LAST)
    with (world.root / "disk").open("w+b") as file:
        file.truncate(SMALLEST)
        with pytest.raises(Failed, match="mke2fs"):
            await LauncherDisks(world.launcher, lambda: "").fill(tree, file.fileno())


async def test_a_kernel_is_taken_out_of_a_tree(world: World) -> None:
    kernel = bytes(0x202) + b"HdrS" + os.urandom(1 << 20)
    world.layer(
        LAST, TWO,
        tars.directory("boot"), tars.file("boot/vmlinuz-6.1", kernel), tars.file("boot/initrd.img-6.1", b"files"),
        tars.block_device("boot/disk", 8, 0), tars.symlink("boot/out", "/proc/self/exe"),
    )  # fmt: skip
    (tree,) = world.trees.view(LAST)
    workers = LauncherDisks(world.launcher, lambda: "")
    with (world.root / "kernel").open("w+b") as first, (world.root / "initrd").open("w+b") as second:
        found = await workers.boot_files(tree, "", "", [first.fileno(), second.fileno()])
    assert found == ("/boot/vmlinuz-6.1", "/boot/initrd.img-6.1")
    assert (world.root / "kernel").read_bytes() == kernel and (world.root / "initrd").read_bytes() == b"files"
    assert await workers.boot_files(tree, "/boot/vmlinuz-6.1", "/etc/b") == ("/boot/vmlinuz-6.1", "/etc/b")
    for path, message in (("/boot/disk", "is no regular file"), ("/boot/out", "cannot be read")):
        with pytest.raises(Invalid, match=message):
            await workers.boot_files(tree, path, "")
    (bare,) = world.trees.view(TWO)
    with pytest.raises(Invalid, match="there is no kernel in the image"):
        await workers.boot_files(bare, "", "")


def looked(disk: Path, command: str) -> str:
    done = subprocess.run(["debugfs", "-R", command, disk], capture_output=True, text=True, check=True)
    return done.stdout + done.stderr.partition("\n")[2]
