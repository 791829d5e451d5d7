"""The same COPY of a directory that a client keeps here: what is as it was is neither written nor hashed again."""

from __future__ import annotations

import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from build_world import BuildWorld
from corten.build.contract import Layer, Matched, SourceTree
from corten.build.work import repeated
from corten.images import chain
from corten.layers import compare, sums
from corten.layers import tree as trees
from corten.storage import verify
from corten.supervisor import views

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="owners and mounts need root")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BuildWorld]:
    world = BuildWorld(tmp_path_factory.mktemp("build"))
    yield world
    world.close()


@pytest.fixture
def top(world: BuildWorld) -> Path:
    """A directory as a client's."""
    top = world.context(f"context-{secrets.token_hex(4)}").directory
    for name in ("a", "b", "d/a", "d/s/b", "d/s/c", "e/f"):
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_text(name * 100)
    (top / "l").symlink_to("a")
    os.link(top / "b", top / "d/again")
    os.setxattr(top / "e/f", "user.x", b"1")
    return top


def settle(top: Path) -> None:
    """Wait until a change of any file would have another time."""
    for path in top.rglob("*"):
        while not sums.settled(path.lstat()):
            time.sleep(0.02)


def copy(
    world: BuildWorld, top: Path, parent: tuple[str, ...] = (), exclude: str = "none", times: int | None = None
) -> Layer:
    """As a build does: the checksum first."""
    settle(top)
    matched = Matched(SourceTree(secrets.token_hex(8), top), (".",))
    world.do(world.worker.checksum(matched, (exclude,)))
    return world.copy(matched, target="/t", parent=parent, exclude=(exclude,), times=times)


def own(world: BuildWorld, layer: Layer) -> list[str]:
    """What the tree itself has, without directories."""
    tree_store = world.work.rooms.trees.tree_store
    place = tree_store.files(tree_store.get(layer.tree))
    return sorted(str(path.relative_to(place)) for path in place.rglob("*") if path.is_symlink() or not path.is_dir())


def difference(world: BuildWorld, top: Path, layer: Layer, at: bytes = b"t") -> str | None:
    """Between a directory and what an image shows of it."""
    (mount,) = world.work.rooms.trees.view(layer.tree)
    view = views.of_mount(mount.entry())
    try:
        model, there = trees.open_directory(os.fsencode(top)), trees.open_directory(at, view)
        try:
            return compare.difference(model, there)
        finally:
            os.close(model)
            os.close(there)
    finally:
        os.close(view)


def replaced(path: Path, text: str = "") -> None:
    """As a transfer exchanges a file or a directory: for a file, or for a directory."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
    if text:
        path.write_text(text)
    else:
        path.mkdir()


def written(path: Path, text: str, modified: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    os.utime(path, ns=(modified, modified))


def emptied(directory: Path) -> None:
    for path in directory.iterdir():
        path.unlink()


_ALWAYS = ["b", "d/again", "e/f", "l"]  # links, files of two names or with attributes
CHANGES: dict[str, tuple[Callable[[Path], object], list[str]]] = {
    "nothing": (lambda top: (top / "new").write_text("new"), ["new"]),
    "a content": (lambda top: (top / "d/s/b").write_text("changed"), ["d/s/b"]),
    "the same length and time": (lambda top: written(top / "a", "A" * 100, (top / "a").stat().st_mtime_ns), ["a"]),
    "a mode": (lambda top: (top / "a").chmod(0o4711), ["a"]),
    "a file that is gone": (lambda top: (top / "d/a").unlink(), ["d/a"]),
    "a name": (lambda top: (top / "d/a").rename(top / "d/z"), ["d/a", "d/z"]),
    "a directory that is gone": (lambda top: shutil.rmtree(top / "d/s"), ["d/s"]),
    "all that is in it gone": (lambda top: emptied(top / "d/s"), ["d/s/b", "d/s/c"]),
    "a file for a directory": (lambda top: replaced(top / "d/s", "file"), ["d/s"]),
    "a directory for a file": (lambda top: replaced(top / "a"), []),
    "a new directory": (lambda top: written(top / "n/m/o", "o", 1), ["n/m/o"]),
    "an attribute": (lambda top: os.setxattr(top / "a", "user.y", b"2"), ["a"]),
    "a link for a file": (lambda top: os.rename(top / "l", top / "a"), ["a"]),
}  # fmt: skip


@pytest.mark.parametrize("what", CHANGES)
def test_only_what_was_changed_is_written(world: BuildWorld, top: Path, what: str) -> None:
    first = copy(world, top)
    change, written = CHANGES[what]
    change(top)
    again = copy(world, top)
    assert own(world, again) == sorted(f"t/{name}" for name in {*written, *_ALWAYS})
    assert difference(world, top, again) is None
    tree = world.work.rooms.trees.tree_store.get(again.tree)
    assert (tree.parent, tree.earlier) == (first.tree, True)
    whole = copy(world, top, exclude="another")
    assert (whole.content, whole.size) == (again.content, again.size)
    assert world.left() == []


def test_the_layer_is_that_of_a_whole_copy(world: BuildWorld, top: Path) -> None:
    copy(world, top, times=1_600_000_000)
    (top / "d/a").write_text("changed")
    again = copy(world, top, times=1_600_000_000)
    assert world.work.rooms.trees.tree_store.get(again.tree).earlier
    whole = copy(world, top, exclude="another", times=1_600_000_000)
    assert (whole.diff_id, whole.blob) == (again.diff_id, again.blob)


@pytest.mark.parametrize("times", [None, 1_600_000_000])
def test_what_is_all_as_it_was_is_the_first_layer(world: BuildWorld, top: Path, times: int | None) -> None:
    """As long as its tree and its blob are there: nothing is packed, and the target is not made anew."""
    for name in ("d/again", "e/f"):  # a file of two names, and one with attributes, come anew each time
        (top / name).unlink()
    first = copy(world, top, times=times)
    assert copy(world, top, times=times) == first
    assert first.blob is not None
    world.store.blobs.remove(first.blob.digest)
    again = copy(world, top, times=times)
    assert again.blob is not None and world.store.blobs.has(again.blob.digest)
    assert again.content == first.content
    assert world.left() == []


def linked_elsewhere(link: Path) -> None:
    link.unlink()
    link.symlink_to("b")


def gone_unseen(path: Path) -> None:
    """Its directory has the time that it had."""
    modified = path.parent.stat().st_mtime_ns
    path.unlink()
    os.utime(path.parent, ns=(modified, modified))


ANYTHING: dict[str, Callable[[Path], object]] = {
    **{what: change for what, (change, _) in CHANGES.items()},
    "where a link leads": lambda top: linked_elsewhere(top / "l"),
    "a link that is gone": lambda top: (top / "l").unlink(),
    "the mode of a directory": lambda top: (top / "d").chmod(0o700),
    "the time of a directory": lambda top: os.utime(top / "d", (1, 1)),
    "an attribute of a directory": lambda top: os.setxattr(top / "d", "user.y", b"2"),
    "a file that is gone, and the time": lambda top: gone_unseen(top / "d/s/c"),
}  # fmt: skip


@pytest.mark.parametrize("what", ANYTHING)
def test_with_any_change_it_is_another_layer(world: BuildWorld, top: Path, what: str) -> None:
    for name in ("d/again", "e/f"):
        (top / name).unlink()
    (top / "e/f").write_text("f")
    first = copy(world, top, times=1_600_000_000)
    ANYTHING[what](top)
    again = copy(world, top, times=1_600_000_000)
    assert again.tree != first.tree or what == "the time of a directory"
    assert difference(world, top, again) is None or what == "the time of a directory"
    whole = copy(world, top, exclude="another", times=1_600_000_000)
    assert (whole.diff_id, whole.blob) == (again.diff_id, again.blob)


def test_all_are_over_the_first(world: BuildWorld, top: Path) -> None:
    first = copy(world, top)
    for number in range(3):
        (top / f"n{number}").write_text(f"{number}")
        again = copy(world, top)
        assert world.work.rooms.trees.tree_store.get(again.tree).parent == first.tree
        assert difference(world, top, again) is None


def test_into_a_directory_of_the_image(world: BuildWorld, top: Path) -> None:
    """An empty one, as WORKDIR makes it: with anything in it, what is gone could be something of the image."""
    for name, laid in (("", True), ("t/kept", False)):
        model = world.context(f"model-{secrets.token_hex(4)}")
        (model.directory / "t").mkdir()
        if name:
            (model.directory / name).write_text("kept")
        below = world.copy(Matched(model, (".",)), target="/", parent=())
        copy(world, top, parent=(below.diff_id,))
        (top / "d/a").write_text(secrets.token_hex(8))
        again = copy(world, top, parent=(below.diff_id,))
        assert world.work.rooms.trees.tree_store.get(again.tree).earlier is laid
        if laid:
            assert difference(world, top, again) is None


def test_from_a_stage_that_was_done_again(world: BuildWorld, top: Path) -> None:
    """What comes of layers that are as they were is not written again, whatever was done above them."""
    tree_store = world.work.rooms.trees.tree_store
    below = copy(world, top)
    layers = []
    for number in range(2):
        place = world.context(f"above-{secrets.token_hex(4)}").directory
        for changed in (place, top):
            written(changed / "a", f"changed {number}", 1_600_000_000 + number)
        above = copy(world, place, parent=(below.diff_id,))
        for layer in (below, above):
            settle(tree_store.files(tree_store.get(layer.tree)))
        stage = Matched(world.stage(below.diff_id, above.diff_id), ("/t",))
        world.do(world.worker.checksum(stage))
        layers.append(world.copy(stage, target="/u", parent=()))
    assert {"u/d/s/b", "u/d/a"} < set(own(world, layers[0]))
    assert own(world, layers[1]) == sorted(f"u/{name}" for name in ("a", *_ALWAYS))
    assert tree_store.get(layers[1].tree).earlier
    assert difference(world, top, layers[1], b"u") is None


def test_a_good_part_that_changed_is_written_whole_the_next_time(
    world: BuildWorld, top: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repeated, "_ALWAYS", 0)
    laid = []
    for number in range(4):
        (top / "large").write_text(f"{number}" * 10_000)
        layer = copy(world, top)
        laid.append(world.work.rooms.trees.tree_store.get(layer.tree).earlier)
    assert laid == [False, True, False, True]


def test_a_run_on_it_sees_and_changes_it(world: BuildWorld, top: Path) -> None:
    copy(world, top, parent=world.base)
    (top / "d/a").unlink()
    (top / "a").write_text("changed")
    again = copy(world, top, parent=world.base)
    parent = (*world.base, again.diff_id)
    layer, said = world.run("cat /t/a; echo; ls /t/d; rm -r /t/d; echo x > /t/e/f", parent)
    assert said.split() == ["changed", "again", "s"]
    assert [line.split()[-1] for line in world.files(layer)] == ["t/", "t/.wh.d", "t/e/", "t/e/f"]


def test_with_the_driver_copy_every_tree_is_whole(tmp_path: Path) -> None:
    world = BuildWorld(tmp_path, "--storage-driver", "copy")
    try:
        source = world.context("files").directory
        (source / "a").write_text("a")
        copy(world, source)
        (source / "b").write_text("b")
        again = copy(world, source)
        assert own(world, again) == ["t/a", "t/b"]
    finally:
        world.close()


def test_it_is_kept_as_long_as_it_is_needed_and_compared_and_repaired(world: BuildWorld, top: Path) -> None:
    first = copy(world, top)
    (top / "d/a").unlink()
    (top / "a").write_text("changed")
    again = copy(world, top)
    store = world.store
    tree_store = store.trees.tree_store
    assert first.tree in tree_store.ancestors_in_use()
    assert not tree_store.remove_if_childless(first.tree)
    assert tree_store.whole(again.tree)

    assert again.blob is not None
    layer = chain.Layer(again.blob, again.diff_id, again.tree, None)
    whole = world.do(verify.unpack_again(store, layer))
    assert verify._difference(store, layer, whole) is None
    (tree_store.files(tree_store.get(first.tree)) / "t/d/s/b").write_text("damaged")
    assert verify._difference(store, layer, whole) == "t/d/s/b: measures 7 bytes instead of 500"

    tree_store.replace(again.tree, whole, None)
    assert difference(world, top, again) is None
    assert not tree_store.get(again.tree).earlier and first.tree not in tree_store.ancestors_in_use()
    assert tree_store.remove_if_childless(first.tree)
