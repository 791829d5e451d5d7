"""Walks of trees that others rearrange meanwhile, and removals of trees in which something else is mounted."""

from __future__ import annotations

import io
import os
import shutil
import sys
import tarfile
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from corten.layers import delta
from corten.layers import tree as trees
from corten.layers.measure import Measure, measure
from corten.layers.pack import Packer
from image_parts.disks import small_disk

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
ROUNDS = 40


@pytest.fixture
def tree() -> Iterator[Path]:
    """A tree beside a directory that no walk of it may show."""
    root = Path(tempfile.mkdtemp(dir="/dev/shm"))
    (root / "outside").mkdir()
    (root / "outside/secret").write_text("token")
    (root / "tree").mkdir()
    yield root / "tree"
    assert (root / "outside/secret").read_text() == "token"
    fd = os.open("/dev/shm", os.O_RDONLY)
    trees.remove(fd, os.fsencode(root.name))
    os.close(fd)


class Restless(threading.Thread):
    """`rounds` is how often all of it was done."""

    def __init__(self, top: Path) -> None:
        super().__init__()
        self.top = top
        self.rounds = 0
        self.stop = threading.Event()

    def run(self) -> None:
        while not self.stop.is_set():
            rearrange(self.top, self.rounds)
            self.rounds += 1


def rearrange(top: Path, round_: int) -> None:
    """Deep directories that are made, moved within the tree and out of it, exchanged for files and links, removed."""
    outside = top.parent / "outside"
    with suppress(OSError):  # a removal was quicker
        deep = top / "a" / "/".join(["d"] * 90)
        deep.mkdir(parents=True)
        (deep / "leaf").write_text("x" * 100)
        (top / "b").mkdir(exist_ok=True)
        os.rename(top / "a/d/d", top / f"b/{round_ % 3}")
        os.rename(top / f"b/{round_ % 3}" / "/".join(["d"] * 40), outside / "taken")
        (top / "a/d/d").symlink_to(outside)
        shutil.rmtree(outside / "taken")
        shutil.rmtree(top / "a")
        (top / "a").write_text("now a file")
        (top / "a").unlink()
        shutil.rmtree(top / f"b/{round_ % 3}")
    shutil.rmtree(top / "a", ignore_errors=True)
    shutil.rmtree(outside / "taken", ignore_errors=True)


@pytest.fixture
def restless(tree: Path) -> Iterator[Restless]:
    before, interval = len(os.listdir("/proc/self/fd")), sys.getswitchinterval()
    sys.setswitchinterval(1e-5)  # in the middle of everything
    thread = Restless(tree)
    thread.start()
    yield thread
    thread.stop.set()
    thread.join()
    sys.setswitchinterval(interval)
    assert len(os.listdir("/proc/self/fd")) == before


def walked(top: int) -> list[bytes]:
    return [found.path for found in trees.walk(top)]


def changed(top: int) -> list[bytes]:
    return [change.path for change in delta.changes(top, None)]


def compared(top: int) -> list[bytes]:
    """With itself, as a whole tree."""
    return [change.path for change in delta.changes(top, top, whole=True)]


def packed(top: int) -> list[bytes]:
    out = os.memfd_create("tar")
    packer = Packer(out)
    packer.tree(top)
    packer.end()
    with os.fdopen(out, "rb") as file:
        file.seek(0)
        with tarfile.open(fileobj=io.BytesIO(file.read())) as tar:
            return [os.fsencode(name) for name in tar.getnames()]


def counted(top: int) -> list[bytes]:
    trees.usage(top)
    measure(top, b".", Measure())
    return []


@pytest.mark.parametrize("look", [walked, changed, compared, packed, counted])
def test_a_tree_that_is_rearranged(restless: Restless, look: Callable[[int], list[bytes]]) -> None:
    fd = os.open(restless.top, os.O_RDONLY)
    while restless.rounds < ROUNDS:
        assert restless.is_alive()
        assert not any(b"secret" in path or b"outside" in path for path in look(fd))
    os.close(fd)


def test_removal_of_a_tree_that_is_rearranged(restless: Restless) -> None:
    """It may fail because there is always something new; it never reaches beyond the tree."""
    fd = os.open(restless.top, os.O_RDONLY)
    while restless.rounds < ROUNDS:
        assert restless.is_alive()
        for name in os.listdir(restless.top):
            with suppress(OSError):
                trees.remove(fd, os.fsencode(name))
    os.close(fd)


def test_what_is_mounted_in_a_removed_tree_is_not_entered(tree: Path) -> None:
    """A disk of the host's that is mounted in a volume; everything beside it goes."""
    (tree / "v/d/mounted").mkdir(parents=True)
    (tree / "v/d/file").touch()
    (tree / "v/e").mkdir()
    fd = os.open(tree, os.O_RDONLY)
    with small_disk(tree / "v/d/mounted", 1) as disk:
        (disk / "kept").write_text("kept")
        with pytest.raises(OSError, match="mounted"):
            trees.remove(fd, b"v")
        assert (disk / "kept").read_text() == "kept" and os.listdir(tree / "v") == ["d"]
        assert os.listdir(tree / "v/d") == ["mounted"]
    trees.remove(fd, b"v")
    assert not (tree / "v").exists()
    os.close(fd)
