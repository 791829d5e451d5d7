"""Trees that are deeper than a path can say, and than there are descriptors: every walk goes to their end."""

from __future__ import annotations

import io
import os
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from corten.layers import delta, tree
from corten.layers.apply import apply
from corten.layers.compare import difference
from corten.layers.entries import Limits
from corten.layers.limits import LONGEST_PATH
from corten.layers.measure import Measure, measure
from corten.layers.owners import Owners
from corten.layers.pack import Packer
from corten.layers.source import Source

DEPTH = 5000
FEW = 60  # descriptors


def dig(top: Path, depth: int, leaf: bytes = b"leaf", beside: bool = False) -> None:
    """`depth` directories named d, one in another, below `top`; a file in the last one. `beside`: a second
    directory with a file in each tenth."""
    top.mkdir(exist_ok=True)
    here = os.open(top, os.O_RDONLY)
    for level in range(depth):
        if beside and level % 10 == 0:
            os.mkdir("b", dir_fd=here)
            os.close(os.open("b/f", os.O_CREAT | os.O_WRONLY, 0o600, dir_fd=here))
        os.mkdir("d", 0o755, dir_fd=here)
        below = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    fd = os.open(leaf, os.O_CREAT | os.O_WRONLY, 0o600, dir_fd=here)
    os.write(fd, b"12345")
    os.close(fd)
    os.close(here)


@pytest.fixture
def top() -> Iterator[Path]:
    """In memory: a disk takes seconds for each of these trees."""
    root = tempfile.mkdtemp(dir="/dev/shm")
    yield Path(root) / "top"
    fd = os.open("/dev/shm", os.O_RDONLY)
    tree.remove(fd, os.fsencode(os.path.basename(root)))  # pytest's own removal recurses
    os.close(fd)


@pytest.fixture
def opened(top: Path) -> Iterator[Callable[[Path], int]]:
    fds: list[int] = []

    def open_(path: Path) -> int:
        fds.append(os.open(path, os.O_RDONLY))
        return fds[-1]

    yield open_
    for fd in fds:
        os.close(fd)


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_walk(top: Path, opened: Callable[[Path], int]) -> None:
    dig(top, DEPTH, beside=True)
    before, most, found = descriptors(), 0, 0
    for each in tree.walk(opened(top)):
        found += 1
        assert os.stat(each.name, dir_fd=each.dirfd, follow_symlinks=False).st_ino == each.status.st_ino
        if found % 500 == 0:
            most = max(most, descriptors() - before)
    assert found == DEPTH + 2 * DEPTH // 10 + 1 and most < FEW and descriptors() == before + 1
    deepest = max(len(each.path) for each in tree.walk(opened(top), LONGEST_PATH))
    assert LONGEST_PATH < deepest <= LONGEST_PATH + 4


def test_sizes(top: Path, opened: Callable[[Path], int]) -> None:
    dig(top, DEPTH)
    assert tree.usage(opened(top)) == (5, DEPTH + 1)
    found = Measure()
    measure(opened(top.parent), b"top", found)
    assert found.inodes == DEPTH + 2


def test_removal(top: Path, opened: Callable[[Path], int]) -> None:
    dig(top, DEPTH, beside=True)
    before = descriptors()
    tree.remove(opened(top.parent), b"top")
    assert not top.exists() and descriptors() == before + 1


def test_removal_in_pieces(top: Path, opened: Callable[[Path], int]) -> None:
    dig(top, DEPTH, beside=True)
    directory, before, calls, removed = opened(top.parent), descriptors(), 0, 0

    def enough() -> bool:
        nonlocal removed
        removed += 1
        return removed % 1000 == 0

    while not tree.remove(directory, b"top", enough):
        calls += 1
        assert top.exists() and descriptors() == before
    entries = DEPTH + 2 * DEPTH // 10 + 1
    assert (removed, calls) == (entries, entries // 1000) and not top.exists()


def test_changes(top: Path, opened: Callable[[Path], int]) -> None:
    """What is deep in both: all directories above a change are changes, each with its own place."""
    base = top.parent / "base"
    dig(top, 1500, leaf=b"new")
    dig(base, 1500, leaf=b"old")
    inodes = {each.path: each.status.st_ino for each in tree.walk(opened(top))}
    before, found = descriptors(), 0
    for change in delta.changes(opened(top), opened(base)):
        found += 1
        assert change.kind == (delta.ADDED if change.name == b"new" else delta.MODIFIED)
        status = os.stat(change.name, dir_fd=change.dirfd, follow_symlinks=False)
        assert status.st_ino == inodes[change.path]
        if found % 100 == 0:
            assert descriptors() - before < 2 * FEW
    assert found == 1501


def packed(top: int) -> tuple[bytes, int]:
    out = os.memfd_create("tar")
    try:
        packer = Packer(out)
        packer.tree(top)
        packer.end()
        return os.pread(out, os.fstat(out).st_size, 0), packer.left_out
    finally:
        os.close(out)


@pytest.mark.parametrize(("depth", "left_out"), [(600, 0), (1500, 0), (2000, 0), (DEPTH, 1)])
def test_tar(top: Path, opened: Callable[[Path], int], depth: int, left_out: int) -> None:
    """All that a path leads to, as dockerd has it, and nothing else; it unpacks to the same."""
    dig(top, depth)
    (top / "z").write_text("after it")
    tar, left = packed(opened(top))
    with tarfile.open(fileobj=io.BytesIO(tar)) as archive:
        names = archive.getnames()
    assert left == left_out and names[-1] == "z"
    assert len(names) == min(depth, (LONGEST_PATH + 1) // 2) + (2 if not left_out else 1)
    if os.geteuid() or left_out:
        return
    again = top.parent / "again"
    again.mkdir()
    reader = io.BytesIO(tar)
    apply(opened(again), Source(reader.readinto), Limits())
    assert difference(opened(top), opened(again)) is None


class Meanwhile(Owners):
    """Something happens while the owners of a directory are looked at: between its lstat and its open."""

    def __init__(self, then: Callable[[], None]) -> None:
        super().__init__()
        self._then = then

    def inside(self, uid: int, gid: int) -> tuple[int, int]:
        then, self._then = self._then, lambda: None
        then()
        return super().inside(uid, gid)


@pytest.mark.parametrize("becomes", ["nothing", "file"])
def test_a_directory_that_goes_while_it_is_looked_at(top: Path, opened: Callable[[Path], int], becomes: str) -> None:
    base = top.parent / "base"
    for root in (top, base):
        (root / "a").mkdir(parents=True)
        (root / "b").mkdir()
    (top / "b/new").touch()

    def then() -> None:
        (top / "a").rmdir()
        if becomes == "file":
            (top / "a").touch()

    found = delta.changes(opened(top), opened(base), owners=Meanwhile(then))
    assert [change.path for change in found] == [b"b", b"b/new"]


def test_moved_above_a_walk(top: Path, opened: Callable[[Path], int]) -> None:
    """What is moved away from above the walk is not there any more; the walk goes on where the path is still valid."""
    dig(top, 200)
    (top / "x").mkdir()
    (top / "x/f").touch()
    found = []
    for each in tree.walk(opened(top)):
        found.append(each.path)
        if each.name == b"leaf" and not (top / "x/moved").exists():
            os.rename(top / ("d/" * 100), top / "x/moved")
            os.mkdir(top / ("d/" * 100))  # another one of that name, with something in it
            (top / ("d/" * 100) / "e").touch()
    assert found[200] == b"d/" * 200 + b"leaf" and found[201:] == [b"x", b"x/f", b"x/moved"] + [
        b"x/moved" + b"/d" * n for n in range(1, 101)
    ] + [b"x/moved" + b"/d" * 100 + b"/leaf"]


def test_what_was_exchanged_is_left_out_of_a_tar(top: Path, opened: Callable[[Path], int]) -> None:
    """Each thing is described as it was a moment ago."""
    top.mkdir()
    (top / "one").write_text("x")
    os.link(top / "one", top / "two")
    (top / "link").symlink_to("x")
    (top / "file").write_text("y")
    status = {name: os.lstat(top / name) for name in os.listdir(top)}
    (top / "one").unlink()
    for name in ("link", "file"):
        (top / name).unlink()
    (top / "link").touch()
    (top / "file").symlink_to("/etc/passwd")
    out, fd = os.memfd_create("tar"), opened(top)
    packer = Packer(out)
    for name in ("one", "two", "link", "file"):
        packer.add(fd, name.encode(), name.encode(), status[name])
    packer.end()
    with os.fdopen(out, "rb") as file:
        file.seek(0)
        archive = io.BytesIO(file.read())
    with tarfile.open(fileobj=archive) as tar:
        (member,) = tar.getmembers()
        assert member.name == "two" and member.isreg()


def test_attribute_that_goes_while_it_is_read(top: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from corten.kernel import xattr

    top.mkdir()
    (top / "f").touch()
    os.setxattr(top / "f", "user.kept", b"1")
    listed = os.listxattr(top / "f")
    monkeypatch.setattr(os, "listxattr", lambda path, follow_symlinks=True: [*listed, "user.gone"])
    fd = os.open(top, os.O_RDONLY)
    assert xattr.all_at(fd, b"f") == {b"user.kept": b"1"}
    os.close(fd)


def test_a_tree_that_grows_under_way_ends(
    top: Path, opened: Callable[[Path], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each directory that is entered has got another one by then."""
    top.mkdir()
    (top / "d").mkdir()

    class Few:
        f_files, f_ffree = 1000, 900

    monkeypatch.setattr(os, "fstatvfs", lambda fd: Few)
    scan, made = os.scandir, [0]

    def growing(fd: int) -> object:
        os.mkdir(f"d{made[0]}", dir_fd=fd)
        made[0] += 1
        assert made[0] < 1000
        return scan(fd)

    monkeypatch.setattr(os, "scandir", growing)
    tree.usage(opened(top))
    monkeypatch.undo()
    assert made[0] == 100
