"""EROFS images of ours, mounted by this kernel: whole trees are as what they were made of."""

from __future__ import annotations

import os
import shutil
import socket
import stat
import subprocess
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from corten.errors import Failed, Unsupported
from corten.kernel import mount, xattr
from corten.layers import tree, whiteout
from corten.layers.erofs import contents
from corten.layers.erofs.contents import Copied
from corten.layers.erofs.space import Space
from image_parts.described import ACL, CAPABILITY, described, fill, pattern
from image_parts.erofs import check, make, mounted

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounts, owners and devices need root")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source"
    path.mkdir()
    return path


@pytest.fixture
def out(tmp_path: Path) -> Iterator[Path]:
    """The image; where there is fsck.erofs, it has to agree that this is one."""
    path = tmp_path / "image"
    yield path
    if path.exists() and shutil.which("fsck.erofs"):
        done = subprocess.run(["fsck.erofs", "--extract", str(path)], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    "size", [0, 1, 2047, 2048, 2049, 4031, 4032, 4095, 4096, 4097, 6144, 8191, 131_071, 131_072, 135_169, 3_000_001]
)
def test_files_of_every_size(source: Path, out: Path, size: int) -> None:
    (source / "file").write_bytes(pattern(size))
    check(source, out)


def test_something_of_each_kind(source: Path, out: Path) -> None:
    fill(source)
    check(source, out)


def test_what_a_file_system_has(source: Path, out: Path) -> None:
    (source / "file").write_bytes(b"content")
    os.chmod(source / "file", 0o6751)
    os.chown(source / "file", 70_000, 4_000_000_000)
    os.utime(source / "file", ns=(1, 1_700_000_000_123_456_789))
    (source / "before 1970").write_bytes(b"")
    os.utime(source / "before 1970", ns=(0, -1_500_000_001))
    os.symlink("file", source / "link")
    os.symlink("x" * 2000, source / "long link")
    os.symlink("y" * 4095, source / "longest link")
    os.mkfifo(source / "fifo", 0o640)
    os.mknod(source / "character", stat.S_IFCHR | 0o666, os.makedev(4095, 0xFFFFF))
    os.mknod(source / "block", stat.S_IFBLK | 0o600, os.makedev(8, 257))
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(source / "socket"))
    (source / "sticky").mkdir()
    os.chmod(source / "sticky", 0o1777)
    check(source, out)


def test_attributes(source: Path, out: Path) -> None:
    for number in range(6):
        (source / f"file{number}").write_bytes(b"data")
        os.setxattr(source / f"file{number}", "user.same", b"the same value in all of them")
        os.setxattr(source / f"file{number}", "user.own", b"%d" % number)
    os.setxattr(source / "file1", "security.capability", CAPABILITY)
    os.setxattr(source / "file2", "system.posix_acl_access", ACL)
    os.setxattr(source / "file3", "user.empty", b"")
    os.setxattr(source / "file3", "user." + "n" * 250, b"long name")
    os.setxattr(source / "file4", "user.large", b"v" * 3000)
    os.setxattr(source / "file5", "trusted.of-the-engine", b"\0\xff")
    (source / "directory").mkdir()
    os.setxattr(source / "directory", "trusted.overlay.opaque", b"y")
    os.setxattr(source / "directory", "system.posix_acl_default", ACL)
    os.symlink("file0", source / "link")
    os.setxattr(source / "link", "trusted.of-a-link", b"link", follow_symlinks=False)
    os.mkfifo(source / "fifo")
    os.setxattr(source / "fifo", "security.of-a-fifo", b"fifo")
    check(source, out)
    with mounted(out) as root:
        assert xattr.all_at(root, b"file2")[b"system.posix_acl_access"] == ACL


def test_attributes_of_64_kib(source: Path, out: Path, tmp_path: Path) -> None:
    """ext4 has no room for them; a file system in memory does."""
    memory = mount.new("tmpfs", ("size=8m",))
    try:
        top = Path(f"/proc/self/fd/{memory}/tree")
        top.mkdir()
        (top / "file").write_bytes(b"x" * 5000)
        try:
            os.setxattr(top / "file", "trusted.large", b"v" * 65_535)
        except OSError as error:
            pytest.skip(f"a tmpfs of this kernel has no such attributes: {error}")
        os.setxattr(top / "file", "trusted.other", b"w" * 60_000)
        (top / "directory").mkdir()
        os.setxattr(top / "directory", "trusted.large", b"d" * 65_535)
        check(top, out)
        os.setxattr(top / "file", "trusted.large", b"v" * 65_536)
        with pytest.raises(Unsupported, match=r"the attribute 'trusted.large' of 'file' is too large"):
            make(top, tmp_path / "refused")
    finally:
        os.close(memory)


def test_links_count_the_names_that_are_there(source: Path, out: Path, tmp_path: Path) -> None:
    (source / "a").write_bytes(b"linked")
    (source / "b").mkdir()
    os.link(source / "a", source / "b" / "c")
    os.link(source / "a", source / "b" / "d")
    os.symlink("x", source / "s")
    os.link(source / "s", source / "t", follow_symlinks=False)
    os.mknod(source / "n", stat.S_IFCHR, os.makedev(1, 3))
    os.link(source / "n", source / "m")
    (tmp_path / "elsewhere").hardlink_to(source / "a")  # a name outside of the tree
    check(source, out)


def test_whiteouts_are_as_overlayfs_has_them(source: Path, out: Path, tmp_path: Path) -> None:
    """A layer by itself, mounted over another one."""
    below = tmp_path / "below"
    (below / "opaque").mkdir(parents=True)
    for name in ("gone", "stays", "opaque/hidden"):
        (below / name).write_bytes(b"below")
    (source / "opaque").mkdir()
    top = tree.open_directory(os.fsencode(source))
    whiteout.make(top, b"gone")
    opaque = tree.open_directory(b"opaque", top)
    whiteout.make_opaque(opaque)
    os.close(opaque)
    os.close(top)
    (source / "opaque" / "own").write_bytes(b"own")
    check(source, out)
    with mounted(out) as root:
        lower = (f"lowerdir=/proc/self/fd/{root}:{below}",)
        merged = mount.new("overlay", lower, mount.MOUNT_ATTR_RDONLY, "overlay")
        try:
            assert sorted(described(merged)) == [b"", b"opaque", b"opaque/own", b"stays"]
        finally:
            os.close(merged)


def test_holes(source: Path, out: Path) -> None:
    with (source / "small").open("wb") as file:
        file.truncate(1 << 20)
        file.seek(300_000)
        file.write(pattern(10_000))
        file.seek(900_001)
        file.write(b"end")
    with (source / "huge").open("wb") as file:
        file.truncate(5 << 40)  # in chunks of 128 MiB
        for at in (0, 4096 * 3, (1 << 40) + 5, (5 << 40) - 1):
            file.seek(at)
            file.write(b"data")
    (source / "nothing").touch()
    os.truncate(source / "nothing", 10_000_000)
    made = check(source, out)
    assert out.stat().st_blocks * 512 < 1 << 20, "what is a hole is none in the image's file"
    assert made.size > 100 << 20


def test_more_holes_than_chunks(source: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hole that shares its chunk with data is none in the image's file either: an image cannot fill
    the disk with zeros."""
    monkeypatch.setattr(contents, "_CHUNKS", 16)
    with (source / "file").open("wb") as file:
        for number in range(100):
            file.seek(number * 10_000_000 + number)
            file.write(b"data")
    check(source, out)
    assert out.stat().st_blocks * 512 < 2 << 20


def test_a_file_of_more_than_4_gib(source: Path, out: Path) -> None:
    """Its data lies on both sides of 4 GiB, in one piece as far as EROFS is concerned."""
    with (source / "file").open("wb") as file:
        file.truncate((4 << 30) + 12_345)
        for at in (4096, (4 << 30) - 3, (4 << 30) + 12_000):
            file.seek(at)
            file.write(b"datadata")
    os.utime(source / "file", ns=(0, 5))
    check(source, out)


def test_large_directories_and_strange_names(source: Path, out: Path) -> None:
    for number in range(3000):
        (source / f"{number:o}").touch()
    for name in (b"\xff\xfe", b"new\nline", b"n" * 255, b"!", b"-", b"...", "ü".encode(), b"\x01"):
        os.close(os.open(os.fsencode(source) + b"/" + name, os.O_CREAT | os.O_WRONLY))
    (source / "long").mkdir()
    for number in range(40):
        (source / "long" / f"{number:0>255}").touch()
    check(source, out)


def test_100_000_names(source: Path, out: Path) -> None:
    model = source / "model"
    model.write_bytes(b"")
    (source / "d").mkdir()
    top = os.open(source / "d", os.O_RDONLY)
    for number in range(100_000):
        os.mknod(f"name-{number}", 0o600, dir_fd=top)
    expected = set(os.listdir(top))
    os.close(top)
    make(source, out)
    with mounted(out) as root:
        below = os.open("d", os.O_RDONLY, dir_fd=root)
        try:
            assert set(os.listdir(below)) == expected
            for number in range(0, 100_000, 997):  # by binary search in the kernel
                assert stat.S_ISREG(os.stat(f"name-{number}", dir_fd=below).st_mode)
            with pytest.raises(FileNotFoundError):
                os.stat("name-100000", dir_fd=below)
        finally:
            os.close(below)


def test_a_tree_deeper_than_any_path(source: Path, out: Path, request: pytest.FixtureRequest) -> None:
    here = os.open(source, os.O_RDONLY)
    for number in range(3000):
        name = "d" * 100 if number % 10 == 0 else "d"
        os.mkdir(name, dir_fd=here)
        below = os.open(name, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(os.open("bottom", os.O_CREAT | os.O_WRONLY, dir_fd=here))
    os.close(here)
    request.addfinalizer(lambda: tree.erase(source))
    top = tree.open_directory(os.fsencode(source))
    made_at = out.with_name("deep")  # fsck.erofs has a path for each thing
    make(source, made_at)
    with mounted(made_at) as root:
        inside = os.open(".", os.O_RDONLY, dir_fd=root)
        names = [[each.name for each in tree.walk(fd)] for fd in (top, inside)]
        os.close(inside)
    os.close(top)
    assert names[0] == names[1] and len(names[0]) == 3001


def test_the_same_tree_is_the_same_bytes(source: Path, out: Path, tmp_path: Path) -> None:
    """Whatever order, inode numbers and times of access it has: made forwards and backwards."""
    (tmp_path / "other").mkdir()
    for top, order in ((source, range(50)), (tmp_path / "other", reversed(range(50)))):
        for number in order:
            (top / f"f{number}").write_bytes(pattern(number * 997))
            os.setxattr(top / f"f{number}", "user.same", b"shared")
        os.symlink("f0", top / "link")
        os.link(top / "f1", top / "f0again")
        os.truncate(top / "f3", 1 << 20)
        for path in (*top.iterdir(), top):
            os.utime(path, ns=(0, 1_700_000_000_000_000_001), follow_symlinks=False)
    make(source, out, b"u" * 16, b"label")
    make(tmp_path / "other", tmp_path / "again", b"u" * 16, b"label")
    assert out.read_bytes() == (tmp_path / "again").read_bytes()


def test_nothing_is_followed_and_no_device_is_opened(source: Path, out: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"secret of the machine")
    os.symlink(tmp_path / "secret", source / "link")
    os.symlink(tmp_path, source / "directory")
    check(source, out)
    assert b"secret of the machine" not in out.read_bytes()


# ------------------------------------------------------------------------------------------------------ random trees

_Thing = tuple[str, Any, dict[str, bytes]]  # kind, content, attributes
_NAMES = st.binary(min_size=1, max_size=30).filter(
    lambda name: not {0, ord("/")} & set(name) and name not in (b".", b"..")
)
_ATTRIBUTES = st.dictionaries(
    st.sampled_from(["user.a", "user.b", "security.c", "trusted.d"]), st.binary(max_size=400), max_size=3
)
_LEAVES: st.SearchStrategy[_Thing] = st.one_of(
    st.tuples(st.just("file"), st.integers(0, 20_000), _ATTRIBUTES),
    st.tuples(st.just("sparse"), st.lists(st.integers(0, 400_000), max_size=4), _ATTRIBUTES),
    st.tuples(st.just("link"), st.binary(min_size=1, max_size=300).filter(lambda target: 0 not in target), st.just({})),
    st.tuples(st.just("again"), st.integers(0, 5), st.just({})),
    st.tuples(st.just("device"), st.integers(0, 300), st.just({})),
)
_TREES: st.SearchStrategy[dict[bytes, _Thing]] = st.recursive(
    st.dictionaries(_NAMES, _LEAVES, max_size=6),
    lambda below: st.dictionaries(_NAMES, _LEAVES | st.tuples(st.just("tree"), below, _ATTRIBUTES), max_size=6),
    max_leaves=8,
)  # fmt: skip


def _build(top: Path, things: dict[bytes, _Thing]) -> None:
    waiting, files = [(os.fsencode(top), things)], list[bytes]()
    while waiting:
        above, below = waiting.pop()
        for name, (kind, content, attributes) in below.items():
            path = above + b"/" + name
            match kind, content:
                case "file", int(size):
                    with open(path, "wb") as file:
                        file.write(pattern(size))
                    files.append(path)
                case "sparse", list(places):
                    with open(path, "wb") as file:
                        for place in places:
                            file.seek(place)
                            file.write(b"data")
                case "link", bytes(target):
                    os.symlink(target, path)
                case "again", int(number) if files:
                    os.link(files[number % len(files)], path)
                case "device", int(number):
                    os.mknod(path, stat.S_IFBLK, os.makedev(number, number * 3))
                case "tree", dict(more):
                    os.mkdir(path)
                    waiting.append((path, more))
                case _:
                    continue
            for key, value in attributes.items():
                os.setxattr(path, key, value)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(things=_TREES)
def test_random_trees(things: dict[bytes, _Thing]) -> None:
    with TemporaryDirectory(prefix="corten-erofs-") as name:
        source = Path(name) / "source"
        source.mkdir()
        _build(source, things)
        check(source, Path(name) / "image")
        make(source, Path(name) / "again")
        assert (Path(name) / "image").read_bytes() == (Path(name) / "again").read_bytes()


@pytest.mark.parametrize("size", [5_000, 500_000])
def test_a_file_that_becomes_shorter_is_an_error(source: Path, size: int) -> None:
    """As little as a tree of an image changes: what is not whole must not look so."""
    (source / "file").write_bytes(b"x" * 100)
    shorter = pytest.raises(Failed, match="'file' became shorter while it was read")
    with (source / "file").open("rb") as file, (source / "out").open("wb") as out, shorter:
        Copied(Space(out.fileno())).place(file.fileno(), size, True, 2000, b"file")


def test_memory_does_not_grow_with_the_tree(source: Path, tmp_path: Path) -> None:
    """Three times as many directories cost nothing; what is inline fills the largest segment in each case."""

    def peak(directories: int) -> int:
        for number in range(directories):
            (source / f"{number}").mkdir(exist_ok=True)
            for file in range(500):
                (source / f"{number}" / f"name-{file}").write_bytes(b"x" * 2000)
        tracemalloc.start()
        try:
            make(source, tmp_path / f"image{directories}")
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    some = peak(2)
    assert peak(6) < some + 50_000
