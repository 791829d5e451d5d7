from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from corten.kernel import inotify, paths

IN_OPEN = 0x20  # linux/inotify.h


@pytest.fixture
def root(tmp_path: Path) -> Iterator[int]:
    (tmp_path / "root").mkdir()
    fd = os.open(tmp_path / "root", os.O_PATH | os.O_DIRECTORY)
    before = len(os.listdir("/proc/self/fd"))
    yield fd
    assert len(os.listdir("/proc/self/fd")) == before, "a descriptor is left open"
    os.close(fd)
    assert os.listdir(tmp_path) == ["root"], "something was made outside"


@pytest.mark.parametrize(
    ("link", "target", "path", "made"),
    [
        ("a", "b/c", "a/d", "b/c/d"),
        ("a", "/b/c", "a", "b/c"),
        ("a", "../../../../x", "a/y", "x/y"),
        ("a", "/", "a/b", "b"),
        ("a", ".", "a/a/b", "b"),
    ],
)
def test_links_stay_inside(root: int, tmp_path: Path, link: str, target: str, path: str, made: str) -> None:
    os.symlink(target, link, dir_fd=root)
    os.close(paths.make_directories(root, path))
    assert (tmp_path / "root" / made).is_dir() and not (tmp_path / "root" / made).is_symlink()


def test_file_behind_dangling_links(root: int, tmp_path: Path) -> None:
    os.mkdir("etc", dir_fd=root)
    os.symlink("../run/resolve/stub", "etc/resolv.conf", dir_fd=root)
    os.symlink("/var/run", "run", dir_fd=root)
    os.close(paths.make_file(root, "/etc/resolv.conf"))
    assert (tmp_path / "root/var/run/resolve/stub").is_file()


@pytest.mark.parametrize("target", ["loop", "./loop", "/loop", "loop/x"])
def test_loops_end(root: int, target: str) -> None:
    os.symlink(target, "loop", dir_fd=root)
    for make in (paths.make_directories, paths.make_file):
        with pytest.raises(OSError, match="symbolic links"):
            make(root, "loop/a")


def test_what_is_in_the_way(root: int) -> None:
    os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=root))
    with pytest.raises(NotADirectoryError):
        paths.make_directories(root, "file/a")
    with pytest.raises(FileNotFoundError):
        paths.make_directories(root, "not-there/../../x")


@pytest.mark.parametrize("kind", [stat.S_IFIFO, stat.S_IFCHR, stat.S_IFBLK])
def test_what_is_no_file_is_not_even_opened(tmp_path: Path, kind: int) -> None:
    """To open a device may act: a watchdog's reboots the machine."""
    if kind != stat.S_IFIFO and os.geteuid() != 0:
        pytest.skip("devices need root")
    os.mknod(tmp_path / "passwd", kind | 0o666, os.makedev(1, 8))
    root = os.open(tmp_path, os.O_PATH | os.O_DIRECTORY)
    opened = inotify.watch(os.fsencode(tmp_path / "passwd"), IN_OPEN)
    try:
        with pytest.raises(OSError, match="not a regular file"):
            paths.read_small(root, "passwd", 1 << 20)
        with pytest.raises(BlockingIOError):
            os.read(opened, 4096)
        if kind != stat.S_IFBLK:  # no such disk
            os.close(os.open(tmp_path / "passwd", os.O_RDONLY | os.O_NONBLOCK))
            assert os.read(opened, 4096)
    finally:
        os.close(opened)
        os.close(root)


def test_what_appears_meanwhile_is_not_opened(root: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A place to mount on was not there, and is a FIFO by the time that it is made."""
    look = paths._link

    def exchanged(directory: int, name: bytes) -> bytes | None:
        found = look(directory, name)
        os.mkfifo(name, dir_fd=directory)
        return found

    monkeypatch.setattr(paths, "_link", exchanged)
    fd = paths.make_file(root, "place")
    assert stat.S_ISFIFO(os.fstat(fd).st_mode)
    os.close(fd)
