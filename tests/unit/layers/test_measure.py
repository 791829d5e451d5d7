"""Counting and comparing trees."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from corten.layers import tree
from corten.layers.compare import difference
from corten.layers.measure import Measure, measure


def counted(top: Path, found: Measure | None = None) -> Measure:
    found = found or Measure()
    fd = os.open(top.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        measure(fd, os.fsencode(top.name), found)
    finally:
        os.close(fd)
    return found


def walked(top: Path) -> tuple[int, int]:
    """What os.walk sees, each inode once."""
    seen = {(s := os.lstat(top)).st_ino: s.st_blocks * 512}
    for directory, below, files in os.walk(top):
        for name in below + files:
            status = os.lstat(os.path.join(directory, name))
            seen[status.st_ino] = status.st_blocks * 512
    return sum(seen.values()), len(seen)


def test_every_inode_once(tmp_path: Path) -> None:
    top = tmp_path / "t"
    (top / "a/b").mkdir(parents=True)
    (top / "a/file").write_bytes(b"x" * 10_000)
    os.link(top / "a/file", top / "a/b/again")
    (top / "sparse").touch()
    os.truncate(top / "sparse", 1 << 30)
    (top / "out").symlink_to("/")
    os.mkfifo(top / "fifo")
    found = counted(top)
    assert (found.bytes, found.inodes) == walked(top)
    other = tmp_path / "u"
    other.mkdir()
    os.link(top / "a/file", other / "third")
    assert counted(other, Measure(seen=found.fresh)).inodes == 1
    assert counted(tmp_path / "nosuch").inodes == 0


def test_deeper_than_paths_can_say(tmp_path: Path) -> None:
    fd = os.open(tmp_path, os.O_RDONLY)
    os.mkdir("top", dir_fd=fd)
    depth = 3000
    for _ in range(depth):
        below = os.open("top", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
        os.mkdir("top", dir_fd=fd)
    os.close(fd)
    assert counted(tmp_path / "top").inodes == depth + 1
    fd = os.open(tmp_path, os.O_RDONLY)
    tree.remove(fd, b"top")  # pytest's own removal recurses
    os.close(fd)


def differ(one: Path, two: Path) -> str | None:
    fds = [os.open(path, os.O_RDONLY | os.O_DIRECTORY) for path in (one, two)]
    try:
        return difference(*fds)
    finally:
        for fd in fds:
            os.close(fd)


def point_elsewhere(top: Path) -> None:
    (top / "link").unlink()
    (top / "link").symlink_to("x")


def make_a_directory(top: Path) -> None:
    (top / "link").unlink()
    (top / "link").mkdir()


CHANGES: list[tuple[str, Callable[[Path], object]]] = [
    ("d/file: has another content", lambda top: (top / "d/file").write_text("DATA")),
    ("d/file: measures 2 bytes instead of 4", lambda top: (top / "d/file").write_text("xx")),
    ("d/file is missing", lambda top: (top / "d/file").unlink()),
    ("d/file: has another mode or owner", lambda top: (top / "d/file").chmod(0o600)),
    ("link: is a link to elsewhere", point_elsewhere),
    ("link: is of another kind", make_a_directory),
    ("new does not belong to it", lambda top: (top / "new").write_text("")),
]


@pytest.mark.parametrize(("said", "change"), CHANGES, ids=[said for said, _ in CHANGES])
def test_first_difference(tmp_path: Path, said: str, change: Callable[[Path], object]) -> None:
    for name in ("one", "two"):
        (tmp_path / name / "d").mkdir(parents=True)
        (tmp_path / name / "d/file").write_text("data")
        (tmp_path / name / "link").symlink_to("d/file")
    assert differ(tmp_path / "one", tmp_path / "two") is None
    change(tmp_path / "two")
    assert differ(tmp_path / "one", tmp_path / "two") == said
