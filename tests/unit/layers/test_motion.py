"""A tree that changes while it is compared, packed and unpacked again: every walk comes to its end."""

from __future__ import annotations

import os
import random
import stat
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from corten.layers import delta
from corten.layers.apply import apply
from corten.layers.entries import Limits
from corten.layers.pack import Packer
from corten.layers.source import Source

NAMES = ("a", "b", "c", "d")
WALKS = 150


def place(chance: random.Random) -> str:
    return "/".join(chance.choices(NAMES, k=chance.randint(1, 4)))


def change(top: Path, chance: random.Random) -> None:
    """One of everything that can happen to a name. What is in the way is another change's."""
    path = top / place(chance)
    match chance.randrange(9):
        case 0 | 1:
            path.mkdir(parents=True)
        case 2:
            write(path, chance.choice((0, 10, 200_000)))
        case 3:
            path.symlink_to(place(chance))
        case 4:
            path.hardlink_to(top / place(chance))
        case 5:
            (top / place(chance)).rename(path)
        case 6:
            if path.is_dir() and not path.is_symlink():
                erase(path, top.with_name(f"{top.name}-erased"))
            else:
                path.unlink()
        case 7:
            os.mkfifo(path) if chance.random() < 0.5 else os.mknod(path, stat.S_IFCHR | 0o600, 0)
        case _:
            os.truncate(path, chance.choice((0, 5, 1 << 20)))


def erase(path: Path, aside: Path) -> None:
    """Where nothing else changes it: a pipe in the place of a directory would be opened, and its writer waited for."""
    aside.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=aside) as own:
        path.rename(Path(own) / "tree")


def write(path: Path, size: int) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NONBLOCK)  # of a fifo without a reader as well
    try:
        os.write(fd, b"x" * size)
    finally:
        os.close(fd)


@contextmanager
def in_motion(top: Path) -> Iterator[None]:
    ended = threading.Event()

    def work(seed: int) -> None:
        chance = random.Random(seed)
        while not ended.is_set():
            try:
                change(top, chance)
            except OSError:
                continue

    workers = [threading.Thread(target=work, args=(seed,)) for seed in range(2)]
    for worker in workers:
        worker.start()
    try:
        yield
    finally:
        ended.set()
        for worker in workers:
            worker.join()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: device nodes")
@pytest.mark.parametrize("whole", [False, True])
def test_it_is_compared_and_packed(tmp_path: Path, whole: bool) -> None:
    base, own = tmp_path / "base", tmp_path / "own"
    (base / "a/b/c").mkdir(parents=True)
    (base / "b").write_text("below")
    own.mkdir()
    seen = 0
    with in_motion(own):
        for _ in range(WALKS):
            seen += walk(base, own, tmp_path, whole)
    assert seen > WALKS


def walk(base: Path, own: Path, root: Path, whole: bool) -> int:
    """How many changes there were."""
    fds = own_fd, base_fd = [os.open(path, os.O_RDONLY | os.O_DIRECTORY) for path in (own, base)]
    found = 0
    try:
        with tempfile.TemporaryFile(dir=root) as file:
            packer = Packer(file.fileno())
            for one in delta.changes(own_fd, base_fd, whole):
                found += 1
                if one.status is None:
                    packer.whiteout(one.path)
                else:
                    packer.add(one.dirfd, one.name, one.path, one.status)
            packer.end()
            file.seek(0)
            unpack(file.fileno(), root)
    finally:
        for fd in fds:
            os.close(fd)
    return found


def unpack(tar: int, root: Path) -> None:
    """What was packed is a layer."""
    with tempfile.TemporaryDirectory(dir=root) as directory, open(tar, "rb", closefd=False) as stream:
        fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            apply(fd, Source(stream.readinto), Limits())
        finally:
            os.close(fd)
