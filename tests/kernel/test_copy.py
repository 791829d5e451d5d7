"""Copying a tree onto another one: what is kept, how deep it may be, and what it costs."""

from __future__ import annotations

import os
import resource
import socket
import stat
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from corten.kernel import descriptors
from corten.layers import copy, inherit, tree
from image_parts.trees import listing

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="owners and devices need root")

PAST = (981_173_106_000_000_007, 1_012_615_322_000_000_009)  # access, modification: nanoseconds
CAPABILITY = struct.pack("<IIIII", 0x02000001, 1 << 10, 0, 0, 0)  # cap_net_bind_service=ep, revision 2
ACL = struct.pack("<I", 2) + b"".join(
    struct.pack("<HHI", *entry)
    for entry in ((1, 6, 0xFFFFFFFF), (2, 4, 7), (4, 4, 0xFFFFFFFF), (16, 4, 0xFFFFFFFF), (32, 0, 0xFFFFFFFF))
)

Copy = Callable[[Path, Path], None]


def _call(function: Callable[[int, int], None], source: Path, target: Path) -> None:
    from_fd, to_fd = (os.open(path, os.O_PATH | os.O_DIRECTORY) for path in (source, target))
    try:
        before = sorted(os.listdir("/proc/self/fd"))
        function(from_fd, to_fd)
        assert sorted(os.listdir("/proc/self/fd")) == before, "a descriptor is left open"
    finally:
        os.close(from_fd)
        os.close(to_fd)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """One of everything."""
    top = tmp_path / "source"
    (top / "below/deep").mkdir(parents=True)
    (top / "program").write_bytes(b"program")
    os.chown(top / "program", 3, 4)
    (top / "program").chmod(0o4755)
    os.setxattr(top / "program", "security.capability", CAPABILITY)
    os.setxattr(top / "program", "user.note", b"kept")
    os.link(top / "program", top / "below/deep/alias")
    os.link(top / "program", top / "another")
    os.symlink("/etc/shadow", top / "link")
    os.chown(top / "link", 5, 6, follow_symlinks=False)
    os.setxattr(top / "link", "trusted.note", b"of a link", follow_symlinks=False)
    os.mkfifo(top / "fifo", 0o640)
    os.setxattr(top / "fifo", "system.posix_acl_access", ACL)
    os.mknod(top / "device", stat.S_IFCHR | 0o600, os.makedev(1, 7))
    os.mknod(top / "disk", stat.S_IFBLK | 0o660, os.makedev(7, 99))
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(top / "socket"))
    (top / os.fsdecode(b"\xff\n name")).write_bytes(b"")
    for name, mode in (("below/deep", 0o2711), ("below", 0o1777), (".", 0o750)):
        os.chown(top / name, 8, 9)
        (top / name).chmod(mode)
        os.setxattr(top / name, "user.note", name.encode())
    for path in [*sorted(top.rglob("*"), reverse=True), top]:
        os.utime(path, ns=PAST, follow_symlinks=False)
    return top


def times(top: Path) -> dict[str, int]:
    return {str(path.relative_to(top)): path.lstat().st_mtime_ns for path in [top, *top.rglob("*")]}


@pytest.mark.parametrize("function", [copy.fill, copy.merge])
def test_everything_is_kept(function: Callable[[int, int], None], source: Path, tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.mkdir()
    expected = listing(source)
    _call(function, source, target)
    assert listing(target) == expected
    assert set(times(target).values()) == {PAST[1]} and times(target).keys() == times(source).keys()
    assert stat.S_ISSOCK((target / "socket").lstat().st_mode)
    top = target.stat()
    assert (stat.S_IMODE(top.st_mode), top.st_uid, top.st_gid) == (0o750, 8, 9)
    assert os.getxattr(target, "user.note") == b"."
    names = [target / name for name in ("program", "another", "below/deep/alias")]
    assert len({path.stat().st_ino for path in names}) == 1 and names[0].stat().st_nlink == 3


def test_owners_are_mapped(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.mkdir()
    _call(lambda one, two: copy.fill(one, two, lambda uid, gid: (uid + 100_000, gid + 200_000)), source, target)
    for path in [source, *source.rglob("*")]:
        ours, theirs = path.lstat(), (target / path.relative_to(source)).lstat()
        assert (theirs.st_uid, theirs.st_gid) == (ours.st_uid + 100_000, ours.st_gid + 200_000)
        assert theirs.st_mode == ours.st_mode, path  # chown takes setuid away
    assert os.getxattr(target / "program", "security.capability") == CAPABILITY  # and capabilities


def test_what_is_private_to_this_machine_is_not_copied(tmp_path: Path) -> None:
    (tmp_path / "source/dir").mkdir(parents=True)
    (tmp_path / "target").mkdir()
    os.setxattr(tmp_path / "source/dir", "trusted.overlay.opaque", b"y")
    _call(copy.fill, tmp_path / "source", tmp_path / "target")
    assert os.listxattr(tmp_path / "target/dir") == []


def test_other_file_systems(source: Path, tmp_path: Path) -> None:
    """From one kind to another: no copy_file_range(2), and attributes that the target has not are left out."""
    target = Path("/dev/shm") / f"corten-test-copy-{os.getpid()}"
    if os.stat("/dev/shm").st_dev == os.stat(tmp_path).st_dev:
        pytest.skip("one file system only")
    target.mkdir()
    try:
        (source / "large").write_bytes(os.urandom(3 << 20))
        _call(copy.fill, source, target)
        assert (target / "large").read_bytes() == (source / "large").read_bytes()
        assert os.getxattr(target / "program", "security.capability") == CAPABILITY
    finally:
        _remove(target)


# -------------------------------------------------------------------------------------------------------------- depth


@pytest.fixture
def narrow() -> Iterator[None]:
    """As many descriptors as a supervisor may have, and none for each level."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(256, hard), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("function", [copy.fill, copy.merge])
def test_depth(function: Callable[[int, int], None], tmp_path: Path, narrow: None) -> None:
    """1,500 levels with a file in each, the last a hard link to the first; names longer than any path."""
    name, depth = "d" * 40, 1500
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    target.mkdir()
    (source / "first").write_text("first")
    here = os.open(source, os.O_RDONLY)
    for level in range(depth):
        os.mkdir(name, 0o751, dir_fd=here)
        below = tree.open_directory(name, here)
        os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=below))
        if level == depth - 1:
            os.link(source / "first", "last", dst_dir_fd=below)
        os.close(here)
        here = below
    os.close(here)
    os.utime(source, ns=PAST)
    try:
        _call(function, source, target)
        here, levels = os.open(target, os.O_RDONLY), 0
        while name in os.listdir(here):
            below = tree.open_directory(name, here)
            os.close(here)
            here, levels = below, levels + 1
            assert "file" in os.listdir(here) and stat.S_IMODE(os.fstat(here).st_mode) == 0o751
        assert levels == depth
        assert os.stat("last", dir_fd=here).st_ino == (target / "first").stat().st_ino
        os.close(here)
        assert target.stat().st_mtime_ns == PAST[1]
    finally:
        for path in (source, target):
            _remove(path)


def _remove(path: Path) -> None:
    parent = os.open(path.parent, os.O_RDONLY)
    try:
        tree.remove(parent, os.fsencode(path.name))
    finally:
        os.close(parent)


# -------------------------------------------------------------------------------------------------------------- holes

TERABYTES = 4 << 40


def _sparse(path: Path) -> None:
    with path.open("wb") as file:
        for at in (0, 1 << 40, TERABYTES - 4096):
            file.seek(at)
            file.write(b"data" * 1024)


def test_holes_stay_holes(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    target.mkdir()
    _sparse(source / "sparse")
    with (source / "empty").open("wb") as file:
        file.truncate(TERABYTES)
    _call(copy.fill, source, target)
    copied = (target / "sparse").stat()
    assert copied.st_size == TERABYTES and copied.st_blocks * 512 < 1 << 20
    assert (target / "empty").stat().st_size == TERABYTES and (target / "empty").stat().st_blocks * 512 < 1 << 16
    with (target / "sparse").open("rb") as file:
        for at in (0, 1 << 40, TERABYTES - 4096):
            file.seek(at)
            assert file.read(4096) == b"data" * 1024


def test_holes_stay_holes_where_a_layer_links_to_one_below(tmp_path: Path) -> None:
    layer, below = tmp_path / "layer", tmp_path / "below"
    layer.mkdir()
    below.mkdir()
    _sparse(below / "sparse")
    fds = [os.open(path, os.O_RDONLY | os.O_DIRECTORY) for path in (layer, below)]
    try:
        inherit.settle(fds[0], fds[1:], (), [(b"alias", b"sparse")])
    finally:
        for fd in fds:
            os.close(fd)
    made = (layer / "alias").stat()
    assert made.st_size == TERABYTES and made.st_blocks * 512 < 1 << 20


# ---------------------------------------------------------------------------------------------- what is there already


def test_merge_follows_overlay_s_form(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    (source / "cleared").mkdir(parents=True)
    (source / "kept").mkdir()
    (source / "now-a-directory").mkdir()
    (source / "now-a-file").write_text("new")
    os.mknod(source / "gone", stat.S_IFCHR, 0)
    os.setxattr(source / "cleared", "trusted.overlay.opaque", b"y")
    for name in ("cleared/old", "kept/old", "gone/old", "now-a-file/old"):
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        (target / name).write_text("old")
    os.symlink("/etc", target / "now-a-directory")
    _call(copy.merge, source, target)
    assert sorted(listing(target)) == ["cleared", "kept", "kept/old", "now-a-directory", "now-a-file"]
    assert (target / "now-a-directory").lstat().st_mode & 0o170000 == stat.S_IFDIR


def test_fill_leaves_what_others_have_made(tmp_path: Path) -> None:
    source, target, elsewhere = (tmp_path / name for name in ("source", "target", "elsewhere"))
    for name in ("taken", "linked", "shared"):
        (source / name).mkdir(parents=True)
        (source / name / "new").write_text("new")
    for name in ("file", "link"):
        (source / name).write_text("new")
        (source / name).chmod(0o4777)
    elsewhere.mkdir()
    elsewhere.chmod(0o700)
    (target / "shared").mkdir(parents=True)
    for name in ("taken", "file", "shared/own"):
        (target / name).write_text("theirs")
    os.symlink(elsewhere, target / "linked")
    os.symlink(elsewhere, target / "link")
    _call(copy.fill, source, target)
    assert (target / "taken").read_text() == (target / "file").read_text() == (target / "shared/own").read_text()
    assert (target / "shared/new").read_text() == "new"
    assert os.listdir(elsewhere) == [] and stat.S_IMODE(elsewhere.stat().st_mode) == 0o700
    assert os.readlink(target / "link") == os.readlink(target / "linked") == str(elsewhere)


def test_without_a_proc_of_its_own(source: Path, tmp_path: Path) -> None:
    """As a container's first process does it, which has left the host's tree."""
    target = tmp_path / "target"
    target.mkdir()
    here, own = os.getcwd(), descriptors.hold()
    try:
        with descriptors.through(own):
            assert descriptors.path(own) == b"./%d" % own
            _call(copy.fill, source, target)
    finally:
        os.close(own)
    assert os.getcwd() == here and listing(target) == listing(source)
