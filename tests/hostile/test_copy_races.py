"""What copies into and out of trees, while another process exchanges files and directories of them for links.

One process works, another one exchanges, as fast as both can; what the links lead to must never change, nor be read.
"""

from __future__ import annotations

import ctypes
import os
import signal
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from corten.kernel import syscall as sys
from corten.layers import copy, header, tree, write
from corten.layers.entries import Limits
from corten.layers.pack import Packer
from corten.layers.place import Placing
from corten.layers.source import Source
from image_parts import tars
from image_parts.trees import listing

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="owners and devices need root")

TRIES = 10_000
_PATIENCE = 30.0
EXCHANGE = 2
NAMES = ("file", "dir", "fifo", "link", "other")


class Outside:
    """What is outside, and must stay as it is. It has the names that are looked for behind an exchanged directory."""

    def __init__(self, path: Path) -> None:
        path.mkdir(0o700)
        (path / "dir").mkdir(0o700)
        for name in ("file", "dir/inner", "dir/alias", "dir/fifo"):
            (path / name).write_text("secret")
            (path / name).chmod(0o600)
        self.path = path
        self._before = self._look()

    def _look(self) -> object:
        found = {str(path): path.stat() for path in [self.path, *self.path.rglob("*")]}
        looks = {name: (s.st_mode, s.st_uid, s.st_nlink, s.st_ctime_ns) for name, s in found.items()}
        return looks, listing(self.path)

    def check(self) -> None:
        assert self._look() == self._before

    def leads_to(self, name: str) -> Path:
        return self.path / ("dir" if name in ("dir", "other") else "file")


@pytest.fixture
def place() -> Iterator[Path]:
    """In memory: a file system with a journal makes tens of thousands of exchanges take minutes."""
    with tempfile.TemporaryDirectory(dir="/dev/shm", prefix="corten-test-races-") as path:
        yield Path(path)


@pytest.fixture
def outside(place: Path) -> Outside:
    return Outside(place / "outside")


@contextmanager
def exchanging(top: Path) -> Iterator[None]:
    """A process that exchanges NAME and evil-NAME in `top`, again and again."""
    pid = os.fork()
    if pid == 0:
        call = ctypes.CDLL(None).syscall
        where = os.open(top, os.O_PATH)
        pairs = [(name.encode(), b"evil-" + name.encode()) for name in NAMES]
        while True:
            for name, evil in pairs:
                call(sys.SYS_renameat2, where, name, where, evil, EXCHANGE)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def lay(top: Path, outside: Outside) -> None:
    """Links to be exchanged with what is about to be made."""
    for name in NAMES:
        os.symlink(outside.leads_to(name), top / f"evil-{name}")


def content(top: Path) -> None:
    """One of everything under the names that are exchanged, with all permissions."""
    for name in ("dir", "other"):
        (top / name).mkdir()
    for name in ("file", "dir/inner"):
        (top / name).write_text("own")
        (top / name).chmod(0o4777)
        os.setxattr(top / name, "trusted.note", b"own")
    os.link(top / "dir/inner", top / "other/alias")
    os.symlink("nowhere", top / "link")
    for name in ("fifo", "dir/fifo"):
        os.mkfifo(top / name)
        (top / name).chmod(0o777)
    for name in ("dir", "other"):
        (top / name).chmod(0o777)


def empty(directory: int) -> None:
    for name in os.listdir(directory):
        try:
            tree.remove(directory, os.fsencode(name))
        except NotADirectoryError:  # exchanged, and gone at the next try
            continue


def lost(top: Path) -> bool:
    """Was something exchanged in this try?"""
    return os.path.islink(top / "file") or os.path.islink(top / "dir")


def attempts(most: int) -> Iterator[int]:
    """1, 2 and so on to `most`, or to what a slow machine does in `_PATIENCE` seconds."""
    end = time.monotonic() + _PATIENCE
    for number in range(1, most + 1):
        yield number
        if time.monotonic() > end:
            return


def race(top: Path, outside: Outside, work: Callable[[int], None], tries: int = TRIES) -> None:
    """`work` on `top`, over and over."""
    top.mkdir()
    directory = os.open(top, os.O_RDONLY | os.O_DIRECTORY)
    made = exchanged = 0
    try:
        with exchanging(top):
            for _ in attempts(tries):
                made += 1
                empty(directory)
                try:
                    lay(top, outside)
                except FileExistsError:
                    continue
                work(directory)
                exchanged += lost(top)
    finally:
        os.close(directory)
    outside.check()
    assert exchanged > made / 100, "hardly anything was exchanged"


def test_filling_a_tree_that_others_have(outside: Outside, place: Path) -> None:
    """A volume that is filled from an image while another container has it."""
    (place / "source").mkdir()
    content(place / "source")
    source = os.open(place / "source", os.O_RDONLY)
    try:
        race(place / "target", outside, lambda target: copy.fill(source, target))
    finally:
        os.close(source)


def test_placing_an_archive_in_a_tree_in_use(outside: Outside, place: Path) -> None:
    """What `cp` does in a running container."""
    member: tars.Fields = {"mode": 0o4777, "uid": 7, "gid": 7}
    archive = tars.archive(
        write.header(b"fifo", header.FIFO, **member),
        tars.file("file", b"own", **member),
        write.header(b"dir/", header.DIRECTORY, **member),
        write.header(b"dir/fifo", header.FIFO, **member),
        tars.symlink("link", "nowhere"),
        tars.link("other", "file"),
    )

    def put(target: int) -> None:
        reader, writer = os.pipe()
        os.write(writer, archive)  # less than a pipe holds
        os.close(writer)
        try:
            Placing(target, b"", Limits(), False).run(Source(reader))
        except Exception as error:
            assert "cannot write" in str(error)
        finally:
            os.close(reader)

    race(place / "target", outside, put, TRIES // 4)


# ----------------------------------------------------------------------------------------------------------- reading


def read_race(top: Path, outside: Outside, work: Callable[[int], None]) -> None:
    top.mkdir()
    content(top)
    lay(top, outside)
    directory = os.open(top, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with exchanging(top):
            for _ in attempts(TRIES // 4):
                work(directory)
    finally:
        os.close(directory)
    outside.check()


def test_copying_a_tree_that_others_change(outside: Outside, place: Path) -> None:
    """`tmpcopyup` of a directory in a volume: nothing from outside is copied."""
    (place / "target").mkdir()
    target = os.open(place / "target", os.O_RDONLY)
    kinds = set()

    def work(source: int) -> None:
        empty(target)
        copy.fill(source, target)
        for path in (place / "target").rglob("*"):
            status = path.lstat()
            kinds.add(stat.S_IFMT(status.st_mode))
            assert not stat.S_ISREG(status.st_mode) or path.read_text() == "own"

    try:
        read_race(place / "source", outside, work)
    finally:
        os.close(target)
    assert {stat.S_IFREG, stat.S_IFLNK, stat.S_IFDIR} <= kinds


def test_packing_a_tree_that_others_change(outside: Outside, place: Path) -> None:
    """What `cp`, `export` and `commit` read from a running container."""
    with (place / "tar").open("w+b") as out:

        def work(source: int) -> None:
            out.seek(0)
            out.truncate()
            Packer(out.fileno()).tree(source)
            out.seek(0)
            assert b"secret" not in out.read()

        read_race(place / "source", outside, work)
