"""Looking into the trees of results, as clients of BuildKit's gateway do."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from build_world import BuildWorld
from corten.build.contract import Looks, SourceTree, StageTree
from corten.errors import Invalid, NotFound

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@pytest.fixture
def tree(tmp_path: Path) -> SourceTree:
    top = tmp_path / "tree"
    (top / "sub/empty").mkdir(parents=True)
    (top / "sub/f").write_bytes(b"0123456789")
    os.chown(top / "sub/f", 3, 4)
    (top / "sub/f").chmod(0o4750)
    os.utime(top / "sub/f", ns=(5, 6_000_000_007))
    for name, target in (
        ("inside", "/sub"),
        ("out", "/etc/passwd"),
        ("up", "../../../../etc/passwd"),
        ("loop", "loop"),
    ):
        (top / name).symlink_to(target)
    os.mkfifo(top / "pipe")
    return SourceTree("t", top)


@pytest.fixture(scope="module")
def build_world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BuildWorld]:
    found = BuildWorld(tmp_path_factory.mktemp("world"))
    yield found
    found.close()


@pytest.fixture
def looks(build_world: BuildWorld) -> Looks:
    return build_world.work.looks()


def test_entries(build_world: BuildWorld, looks: Looks, tree: SourceTree) -> None:
    found = build_world.do(looks.stat(tree, "/inside/f"))
    assert (found.name, found.uid, found.gid, found.size, found.modified) == ("f", 3, 4, 10, 6_000_000_007)
    assert found.mode == 1 << 23 | 0o750  # Go's bit for setuid
    entries = {entry.name: entry for entry in build_world.do(looks.entries(tree, ""))}
    assert sorted(entries) == ["inside", "loop", "out", "pipe", "sub", "up"]
    assert entries["inside"].mode & 1 << 27 and entries["inside"].link == "/sub"
    assert entries["sub"].mode == 1 << 31 | 0o755 and entries["sub"].size == 0
    assert [entry.name for entry in build_world.do(looks.entries(tree, "inside"))] == ["empty", "f"]


def test_content(build_world: BuildWorld, looks: Looks, tree: SourceTree) -> None:
    assert build_world.do(looks.content(tree, "sub/f", 0, 1 << 20)) == b"0123456789"
    assert build_world.do(looks.content(tree, "../../inside/f", 3, 4)) == b"3456"
    assert build_world.do(looks.content(tree, "sub/f", 100, 4)) == b""
    assert build_world.do(looks.content(tree, "sub/f", 0, 0)) == b""


@pytest.mark.parametrize("path", ["out", "up", "sub/../up", "nope", "sub/f/x", "/etc/passwd"])
def test_links_lead_nowhere_outside(build_world: BuildWorld, looks: Looks, tree: SourceTree, path: str) -> None:
    for look in (looks.stat(tree, path), looks.entries(tree, path), looks.content(tree, path, 0, 9)):
        with pytest.raises(NotFound, match=r"no such file or directory|not a directory"):
            build_world.do(look)


@pytest.mark.parametrize("path", ["pipe", "sub", "loop"])
def test_what_is_no_file_is_not_read(build_world: BuildWorld, looks: Looks, tree: SourceTree, path: str) -> None:
    with pytest.raises(Invalid):
        build_world.do(looks.content(tree, path, 0, 9))


def test_the_tree_of_an_image(build_world: BuildWorld, looks: Looks) -> None:
    top = StageTree(build_world.image.chain[-1])
    assert stat.S_IMODE(build_world.do(looks.stat(top, "/bin/busybox")).mode) & 0o111
    assert build_world.do(looks.content(top, "bin/busybox", 1, 3)) == b"ELF"
    with pytest.raises(NotFound):
        build_world.do(looks.stat(StageTree(None), "x"))
