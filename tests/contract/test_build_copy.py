"""COPY, ADD and WORKDIR's directory between real trees, as BuildKit does them."""

from __future__ import annotations

import asyncio
import io
import os
import shutil
import socket
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from build_world import BuildWorld
from corten.build import contexts
from corten.build.contract import CopyStep, Layer, Matched, SourceTree
from corten.build.work import layer as layer_of_step
from corten.build.work.worker import StepWorker, Tools
from corten.errors import CortenError, Invalid, NotFound

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="owners and mounts need root")


@pytest.fixture(scope="module", params=["overlay2", "copy"])
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[BuildWorld]:
    world = BuildWorld(tmp_path_factory.mktemp("build"), "--storage-driver", request.param)
    yield world
    world.close()


def context(world: BuildWorld, *names: str) -> SourceTree:
    """Files with their own path as content; names that end with a slash are directories, "a -> b" are links."""
    made = world.context(f"context{len(list(world.root.iterdir()))}")
    for name in names:
        link, arrow, target = name.partition(" -> ")
        path = made.directory / link
        path.parent.mkdir(parents=True, exist_ok=True)
        if arrow:
            path.symlink_to(target)
        elif name.endswith("/"):
            path.mkdir(exist_ok=True)
        else:
            path.write_text(name)
            path.chmod(0o644)
    subprocess.run(["find", made.directory, "-type", "d", "-exec", "chmod", "755", "{}", "+"], check=True)
    return made


def names(world: BuildWorld, layer: Layer) -> list[str]:
    return [" ".join(line.split()[2:]) for line in world.files(layer)]


def copy(world: BuildWorld, tree: SourceTree, *paths: str, target: str, **options: Any) -> list[str]:
    found = names(world, world.copy(Matched(tree, paths), target=target, parent=(), **options))
    assert world.left() == []
    return found


@pytest.mark.parametrize("target", ["/t", "/t/"])
def test_of_a_directory_its_content_is_copied(world: BuildWorld, target: str) -> None:
    tree = context(world, "d/a", "d/s/b", "d/l -> a")
    assert copy(world, tree, "d", target=target) == ["t/", "t/a", "t/l -> a", "t/s/", "t/s/b"]


def test_a_file_is_renamed_or_put_into_a_directory(world: BuildWorld) -> None:
    tree = context(world, "a", "b", "s/c")
    assert copy(world, tree, "a", target="/t") == ["t"]
    assert copy(world, tree, "a", target="/t/") == ["t/", "t/a"]
    assert copy(world, tree, "s/c", target="/x/y/z") == ["x/", "x/y/", "x/y/z"]
    assert copy(world, tree, "a", "b", target="/t") == ["t/", "t/a", "t/b"]
    assert copy(world, tree, "[ab]", target="/t") == ["t/", "t/a", "t/b"]
    there = world.copy(Matched(context(world, "t/"), (".",)), target="/", parent=())
    layer = world.copy(Matched(tree, ("a",)), target="/t", parent=[there.diff_id])
    assert names(world, layer) == ["t/", "t/a"]


def test_patterns(world: BuildWorld) -> None:
    tree = context(world, "x/b.txt", "x/y/c.txt", "arr[0].txt", "d1/f", "d2/f", "d2/g", "a b", "top.txt")
    assert copy(world, tree, "zz*", target="/t/") == []
    assert copy(world, tree, "d*", target="/t/") == ["t/", "t/f", "t/g"]
    assert copy(world, tree, "**/*.txt", target="/t/") == ["t/", "t/b.txt"]
    assert copy(world, tree, "arr[[]0].txt", target="/t/") == ["t/", "t/arr[0].txt"]
    assert copy(world, tree, "a b", target="/t/") == ["t/", "t/a b"]


def test_parents(world: BuildWorld) -> None:
    tree = context(world, "x/b.txt", "x/y/c.txt", "top.txt", "y/z/b", "y/z/c")
    found = copy(world, tree, "**/*.txt", target="/t/", parents=True)
    assert found == ["t/", "t/top.txt", "t/x/", "t/x/b.txt", "t/x/y/", "t/x/y/c.txt"]
    assert copy(world, tree, "y/./z/b", target="/t/", parents=True) == ["t/", "t/z/", "t/z/b"]
    assert copy(world, tree, "x/y", target="/t/", parents=True) == ["t/", "t/x/", "t/x/y/", "t/x/y/c.txt"]
    with pytest.raises(NotFound, match='"/x/nope": not found'):
        copy(world, tree, "x/nope", target="/t/", parents=True)


def test_what_is_not_there(world: BuildWorld) -> None:
    tree = context(world, "a", "l -> nowhere")
    for path in ("nope", "a/b", "l"):
        with pytest.raises(NotFound, match=f'"/{path}": not found'):
            copy(world, tree, path, target="/t")
    assert world.left() == []


def test_paths_that_lead_out_end_at_the_root(world: BuildWorld) -> None:
    tree = context(world, "a", "d/x")
    assert copy(world, tree, "../a", target="/t") == ["t"]
    assert copy(world, tree, "/d/../../a", target="../../../q/z") == ["q/", "q/z"]


def test_links_are_followed_where_they_were_named_and_inside_the_tree(world: BuildWorld) -> None:
    tree = context(world, "f", "d/x", "l -> f", "ld -> d", "out -> /etc/passwd", "up -> ../../../../../../etc/passwd",
                   "etc/passwd", "in/l -> ../f")  # fmt: skip
    assert copy(world, tree, "l", target="/t/") == ["t/", "t/l"]
    assert copy(world, tree, "ld", target="/t") == ["t/", "t/x"]
    assert copy(world, tree, "in", target="/t") == ["t/", "t/l -> ../f"]
    for name in ("out", "up"):
        layer = world.copy(Matched(tree, (name,)), target="/f")
        assert world.run("cat /f", [*world.base, layer.diff_id])[1] == "etc/passwd"  # the content of its own one


def test_a_target_through_a_link(world: BuildWorld) -> None:
    below, _ = world.run("mkdir -p /real/sub; ln -s real /l; ln -s /real/sub/f /file; ln -s /loop /loop; mkdir /real/a")
    tree = context(world, "f", "a")
    parent = [*world.base, below.diff_id]
    layer = world.copy(Matched(tree, ("f",)), target="/l/sub/", parent=parent)
    assert names(world, layer) == ["real/", "real/sub/", "real/sub/f"]
    assert names(world, world.copy(Matched(tree, ("f",)), target="/file", parent=parent)) == names(world, layer)
    layer = world.copy(Matched(tree, ("f",)), target="/l/sub/", parent=parent, link=True)
    assert names(world, layer) == ["l/", "l/sub/", "l/sub/f"]
    assert world.run("ls -ld /l", [*parent, layer.diff_id])[1].startswith("d")
    with pytest.raises(Invalid, match="symbolic links"):
        world.copy(Matched(tree, ("f",)), target="/loop/x", parent=parent)
    with pytest.raises(Invalid, match="cannot replace to directory"):
        world.copy(Matched(tree, (".",)), target="/real", parent=parent)
    with pytest.raises(Invalid, match="not a directory"):
        world.copy(Matched(tree, ("f",)), target="/bin/sh/x", parent=parent)
    assert world.left() == []


def test_a_directory_over_something_else(world: BuildWorld) -> None:
    below, _ = world.run("mkdir /t /elsewhere; ln -s /elsewhere /t/d; echo x > /t/e")
    tree = context(world, "s/d/f", "z/e/f")
    for path in ("s", "z"):
        with pytest.raises(Invalid, match="cannot copy to non-directory"):
            world.copy(Matched(tree, (path,)), target="/t", parent=[*world.base, below.diff_id])


def test_what_one_source_brings_the_next_one_meets(world: BuildWorld) -> None:
    tree = context(world, "one/l -> /etc", "two/l/x", "a/f", "b/f")
    with pytest.raises(Invalid, match="cannot copy to non-directory"):
        copy(world, tree, "one", "two", target="/t/")
    layer = world.copy(Matched(tree, ("a", "b")), target="/t/")
    assert names(world, layer) == ["t/", "t/f"]
    assert world.run("cat /t/f", [*world.base, layer.diff_id])[1] == "b/f"


def test_owners(world: BuildWorld) -> None:
    below, _ = world.run("echo u1:x:7:8::/:/bin/sh >> /etc/passwd; echo g1:x:9: >> /etc/group")
    parent = [*world.base, below.diff_id]
    tree = context(world, "d/a")
    os.chown(tree.directory / "d/a", 77, 78)
    for text, owner in (("", "0/0"), ("u1", "7/8"), ("u1:g1", "7/9"), ("5", "5/5"), ("5:6", "5/6"), (":g1", "0/9")):
        layer = world.copy(Matched(tree, ("d",)), target="/t/s", parent=parent, owner=text)
        assert [line.split()[1] for line in world.files(layer)] == [owner] * 3, text
    for text in ("unknown:x", "u1:unknown", "4294967296"):
        with pytest.raises(Invalid):
            world.copy(Matched(tree, ("d",)), target="/t", parent=parent, owner=text)
    made, _ = world.run("mkdir /s; echo x > /s/f; chown 5:6 /s/f")
    layer = world.copy(Matched(world.stage(*world.base, made.diff_id), ("/s",)), target="/t")
    assert [line.split()[1] for line in world.files(layer)] == ["0/0", "5/6"]


def test_modes(world: BuildWorld) -> None:
    tree = context(world, "d/a", "d/s/b")
    layer = world.copy(Matched(tree, ("d",)), target="/t", parent=(), mode="741")
    modes = [line.split()[0] for line in world.files(layer)]
    assert modes == ["drwxr----x", "-rwxr----x", "drwxr----x", "-rwxr----x"]
    layer = world.copy(Matched(tree, ("d",)), target="/t", parent=(), mode="a+x,go-r")
    assert [line.split()[0] for line in world.files(layer)] == ["drwxr-xr-x", "-rwx--x--x", "drwx--x--x", "-rwx--x--x"]
    with pytest.raises(Invalid, match="invalid chmod"):
        world.copy(Matched(tree, ("d",)), target="/t", parent=(), mode="u+z")


def test_times_and_attributes_are_kept(world: BuildWorld) -> None:
    tree = context(world, "d/a", "d/cap")
    os.utime(tree.directory / "d/a", ns=(10**18, 10**18))
    os.utime(tree.directory / "d", ns=(2 * 10**18, 2 * 10**18))
    capability = bytes.fromhex("0100000200200000000000000000000000000000")
    os.setxattr(tree.directory / "d/cap", "security.capability", capability)
    os.setxattr(tree.directory / "d/cap", "user.own", b"1")
    os.setxattr(tree.directory / "d/cap", "trusted.overlay.opaque", b"y")
    layer = world.copy(Matched(tree, (".",)), target="/t")
    _, said = world.run("stat -c %Y /t/d /t/d/a", [*world.base, layer.diff_id])
    assert said == "2000000000\n1000000000\n"
    (top,) = [tree.directory for name, tree in world.store.trees.tree_store.all().items() if name == layer.tree]
    path = world.store.trees.tree_store.root / top / "fs/t/d/cap"
    assert os.getxattr(path, "security.capability") == capability
    assert sorted(os.listxattr(path)) == ["security.capability", "user.own"]
    epoch = world.copy(Matched(tree, ("d",)), target="/t/s", times=5)
    _, said = world.run("stat -c %Y /t /t/s /t/s/a", [*world.base, epoch.diff_id])
    assert said == "5\n5\n5\n"
    assert world.copy(Matched(tree, ("d",)), target="/t/s", times=5).diff_id == epoch.diff_id


def test_exclude(world: BuildWorld) -> None:
    tree = context(world, "d/a.md", "d/k/e.md", "d/s/x", "d/t", "one.md")
    found = copy(world, tree, "d", target="/t", exclude=("*.md", "s"))
    assert found == ["t/", "t/k/", "t/k/e.md", "t/t"]
    assert copy(world, tree, "d", target="/t", exclude=("**/*.md",)) == ["t/", "t/k/", "t/s/", "t/s/x", "t/t"]
    found = copy(world, tree, "d", target="/t", exclude=("*", "!k/e.md"))
    assert found == ["t/", "t/k/", "t/k/e.md"]
    assert copy(world, tree, "*", target="/t", exclude=("*.md",)) == ["t/", "t/k/", "t/k/e.md", "t/s/", "t/s/x", "t/t"]


def test_hard_links_and_holes(world: BuildWorld) -> None:
    tree = context(world, "d/a")
    os.link(tree.directory / "d/a", tree.directory / "d/b")
    with (tree.directory / "d/hole").open("wb") as file:
        file.truncate(1 << 30)
        file.seek(1 << 29)
        file.write(b"x")
    layer = world.copy(Matched(tree, ("d",)), target="/t", parent=())
    assert "t/b link to t/a" in names(world, layer)
    path = world.store.trees.tree_store.files(world.store.trees.tree_store.get(layer.tree)) / "t"
    assert (path / "a").stat().st_ino == (path / "b").stat().st_ino
    assert (path / "hole").stat().st_blocks < 1000
    assert (path / "a").stat().st_ino != (tree.directory / "d/a").stat().st_ino


def test_things_that_are_no_files(world: BuildWorld) -> None:
    tree = context(world, "d/a")
    os.mkfifo(tree.directory / "d/fifo")
    os.mknod(tree.directory / "d/null", 0o20666, os.makedev(1, 3))
    os.mknod(tree.directory / "d/whiteout", 0o20000, 0)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tree.directory / "d/socket"))
    found = copy(world, tree, "d", target="/t")
    assert found == ["t/", "t/a", "t/fifo", "t/null"]


def test_files_of_a_context_that_goes_with_its_build_are_taken(world: BuildWorld) -> None:
    held = context(world, "files/d/a", "files/d/s/b", "files/d/l -> a", "files/e")
    tree = replace(held, directory=held.directory / "files", holder=held.directory)
    first = world.copy(Matched(tree, ("d",)), target="/t/", parent=())
    assert names(world, first) == ["t/", "t/a", "t/l -> a", "t/s/", "t/s/b"]
    store = world.work.rooms.trees.tree_store
    layers = {layer: store.files(store.get(layer.tree)) for layer in (
        first,
        world.copy(Matched(tree, ("d",)), target="/t/", parent=[first.diff_id]),
        world.copy(Matched(tree, ("d",)), target="/t/", parent=(), owner="7"),
    )}  # fmt: skip
    with pytest.raises(Invalid, match="not a directory"):
        world.copy(Matched(tree, ("d",)), target="/t/a/x", parent=[first.diff_id])
    assert os.listdir(held.directory) == ["files"] and world.left() == []
    files = [path / name for path in layers.values() for name in ("t/a", "t/s/b")]
    assert len({path.stat().st_ino for path in files}) == len(files)  # no layer has another one's
    shutil.rmtree(held.directory)
    assert {path.stat().st_nlink for path in files} == {1}
    assert [path.read_text() for path in files] == ["files/d/a", "files/d/s/b"] * 3


def test_heredocs(world: BuildWorld) -> None:
    source = Matched(None, ("a.txt", "b*.txt"), {"a.txt": b"one\n", "b*.txt": b"two\n"})
    layer = world.copy(source, target="/t/", parent=())
    assert world.files(layer) == ["drwxr-xr-x 0/0 t/", "-rw-r--r-- 0/0 t/a.txt", "-rw-r--r-- 0/0 t/b*.txt"]


@pytest.mark.parametrize("kind", ["", "z", "j", "J", "--zstd"])
def test_archives(world: BuildWorld, kind: str) -> None:
    tree = context(world, "in/a", "in/s/b", "plain")
    os.chown(tree.directory / "in/a", 5, 6)
    flags = [kind] if kind.startswith("--") else [f"-{kind}"] if kind else []
    subprocess.run(["tar", *flags, "-cf", tree.directory / "x", "-C", tree.directory / "in", "."], check=True)
    layer = world.copy(Matched(tree, ("x", "plain")), target="/t/", parent=(), unpack=True, owner="9")
    assert [" ".join(line.split()[1:]) for line in world.files(layer)] == [
        "9/9 t/", "5/6 t/a", "9/9 t/plain", "0/0 t/s/", "0/0 t/s/b",
    ]  # fmt: skip
    assert copy(world, tree, "x", target="/t/") == ["t/", "t/x"]
    assert world.left() == []


def test_what_only_looks_like_an_archive(world: BuildWorld) -> None:
    tree = context(world, "f")
    subprocess.run(["gzip", tree.directory / "f"], check=True)
    assert copy(world, tree, "f.gz", target="/t/", unpack=True) == ["t/", "t/f.gz"]
    (tree.directory / "cut").write_bytes(b"\x1f\x8b\x08\x00")
    assert copy(world, tree, "cut", target="/t/", unpack=True) == ["t/", "t/cut"]


def test_more_steps_at_a_time_than_layers_are_packed(world: BuildWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layer_of_step, "_AT_A_TIME", 1)

    async def all() -> list[Layer]:
        worker = StepWorker(Tools(world.work.rooms, world.work.caches), world.worker.lease, ())
        steps = [CopyStep((), f"/d{number}/") for number in range(8)]
        return await asyncio.gather(*(worker.copy(world.base, step) for step in steps))

    assert len({layer.diff_id for layer in world.do(all())}) == 8


def test_an_archive_that_is_a_bomb(world: BuildWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contexts, "ALWAYS", 1 << 20)
    tree = world.context("bomb")
    with tarfile.open(tree.directory / "x", "w:gz") as archive:
        info = tarfile.TarInfo("zeros")
        info.size = 4 << 20
        archive.addfile(info, io.BytesIO(bytes(info.size)))
    with pytest.raises(Invalid, match=r"the archive unpacks to more than .* zip bomb"):
        world.copy(Matched(tree, ("x",)), target="/t/", unpack=True)
    assert world.left() == []


def test_a_large_archive_behind_what_is_refused(world: BuildWorld) -> None:
    tree = world.context("refused")
    with tarfile.open(tree.directory / "x", "w") as archive:
        for name, size in (("../escapes", 0), ("large", 8 << 20)):
            info = tarfile.TarInfo(name)
            info.size = size
            archive.addfile(info, io.BytesIO(bytes(size)))

    async def limited() -> None:
        async with asyncio.timeout(30):
            await world.worker.copy(world.base, CopyStep((Matched(tree, ("x",)),), "/t/", unpack=True))

    with pytest.raises(Invalid, match="escapes"):
        world.do(limited())
    assert world.left() == []


def test_a_damaged_archive(world: BuildWorld) -> None:
    tree = context(world, "d/f")
    (tree.directory / "d/f").write_bytes(os.urandom(1 << 20))
    subprocess.run(["tar", "-czf", tree.directory / "x", "-C", tree.directory / "d", "."], check=True)
    with (tree.directory / "x").open("r+b") as file:
        file.truncate(500_000)
    before = len(list((world.data / "snapshots").iterdir()))
    with pytest.raises(CortenError):
        world.copy(Matched(tree, ("x",)), target="/t/", parent=(), unpack=True)
    world.work.rooms.trees.tree_store.drain()
    assert len(list((world.data / "snapshots").iterdir())) == before


def test_a_directory_of_workdir(world: BuildWorld) -> None:
    layer = world.copy(target="/a/b", parent=(), owner="7")
    assert world.files(layer) == ["drwxr-xr-x 7/7 a/", "drwxr-xr-x 7/7 a/b/"]
    assert world.copy(target="/a/b", parent=[layer.diff_id]).blob is None
    assert world.copy(target="/", parent=[layer.diff_id]).blob is None


def test_a_deep_tree(world: BuildWorld) -> None:
    """As deep as a path can be, and deeper: refused, with nothing left."""
    tree = context(world, "d/")
    here = os.open(tree.directory / "d", os.O_RDONLY)
    for _ in range(1900):
        os.mkdir("x", dir_fd=here)
        below = os.open("x", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    assert len(copy(world, tree, "d", target="/")) == 1900
    for _ in range(500):
        os.mkdir("x", dir_fd=here)
        below = os.open("x", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    with pytest.raises(Invalid, match="too long"):
        copy(world, tree, "d", target="/")
    assert world.left() == []


def test_content_is_the_same_on_another_day(world: BuildWorld) -> None:
    one, two = context(world, "d/a"), context(world, "d/a")
    os.utime(one.directory / "d/a", (1, 1))
    layers = [world.copy(Matched(tree, ("d",)), target="/t", parent=()) for tree in (one, two)]
    assert layers[0].content == layers[1].content
    assert layers[0].diff_id != layers[1].diff_id
    (two.directory / "d/a").chmod(0o600)
    assert world.copy(Matched(two, ("d",)), target="/t", parent=()).content != layers[0].content


# ------------------------------------------------------------------------------------------------------------ digests


def checksum(world: BuildWorld, tree: SourceTree, *paths: str, **options: Any) -> str:
    fresh = SourceTree(os.urandom(8).hex(), tree.directory)
    return world.do(world.worker.checksum(Matched(fresh, paths), **options))


def test_checksums(world: BuildWorld) -> None:
    tree = context(world, "d/a", "d/s/b", "d/l -> a", "other")
    top: Path = tree.directory
    first = checksum(world, tree, "d")
    os.utime(top / "d/a", (1, 1))
    os.chown(top / "d/a", 5, 5)  # a client's owners do not count
    (top / "other").write_text("changed")
    assert checksum(world, tree, "d") == first
    changes: dict[str, Callable[[], object]] = {
        "content": lambda: (top / "d/s/b").write_text("D/s/b"),
        "mode": lambda: (top / "d/a").chmod(0o600),
        "name": lambda: (top / "d/s/b").rename(top / "d/s/c"),
        "link": lambda: os.replace(top / "other", top / "d/l"),
        "attribute": lambda: os.setxattr(top / "d/a", "user.x", b"1"),
        "empty directory": lambda: (top / "d/e").mkdir(),
    }
    seen = [first]
    for what, change in changes.items():
        change()
        seen.append(checksum(world, tree, "d"))
        assert seen[-1] != seen[-2], what
    with pytest.raises(NotFound, match=r'failed to calculate checksum of ref .*: "/nope": not found'):
        checksum(world, tree, "nope")
    assert checksum(world, tree, "zz*") == checksum(world, tree, "yy*")
    assert checksum(world, tree, "d", exclude=["a"]) != checksum(world, tree, "d")
    assert checksum(world, tree, "d/a") != checksum(world, tree, "d/s/c")
