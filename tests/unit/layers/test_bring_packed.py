"""A directory that is brought and packed at once: tree and tar are those of bringing first, and packing then."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from corten.errors import Invalid
from corten.layers import holes
from corten.layers.bring import Bringing, How
from corten.layers.bring_packed import PackedBringing
from corten.layers.pack import SMALL, Packer
from corten.layers.timeless import Digests, Timeless
from corten.layers.union import Directory
from corten.spec import modes
from corten.spec.dockerfile.ignore import Patterns
from image_parts.trees import tar_of

OWN = How(owner=(os.getuid(), os.getgid()))


def source(place: Path) -> Path:
    top = place / "source"
    for directory in ("a/b", "b", "b-", "empty", "z/y/x"):
        (top / directory).mkdir(parents=True)
    for number, name in enumerate(("a/b/f", "a/b!", "b/1", "b-/2", "é", "z/y/x/w", "zero")):
        (top / name).write_bytes(b"" if name == "zero" else name.encode() * 300 * number)
        os.utime(top / name, ns=(5, 1_600_000_000_123_456_789 + number))
    (top / "a/link").symlink_to("b/f")
    (top / "z/y/x/middle").write_bytes(bytes(range(256)) * 80)
    (top / "middle").write_bytes(bytes(range(256)) * 90)
    os.setxattr(top / "z/y/x", "user.directory", b"1")
    os.mkfifo(top / "fifo")
    os.link(top / "b/1", top / "a/b/first")
    os.link(top / "b/1", top / "z/again")
    (top / "large").write_bytes(bytes(range(256)) * (SMALL // 256) + b"more")
    for name, size in (("hole", 1 << 17), ("small hole", 1 << 15)):
        with (top / name).open("wb") as file:
            file.seek(size)
            file.write(b"behind")
    (top / "z/executable").write_bytes(b"#!/bin/sh\n")
    (top / "z/executable").chmod(0o4750)
    os.setxattr(top / "b/1", "user.one", b"1")
    (top / "z/y").chmod(0o2711)
    os.utime(top / "z/y", ns=(7, 8_000_000_000))
    return top


def packed(
    layer: Path,
    fill: Callable[[Directory, Packer], None],
    below: Path | None = None,
    of: Callable[[int], Packer] = Packer,
) -> bytes:
    layer.mkdir()
    top = Directory(os.open(layer, os.O_RDONLY), os.open(below, os.O_RDONLY) if below is not None else -1)
    out = os.memfd_create("tar")
    try:
        packer = of(out)
        fill(top, packer)
        packer.end()
        return os.pread(out, os.fstat(out).st_size, 0)
    finally:
        os.close(out)


def looks(top: Path) -> list[tuple[object, ...]]:
    found: list[tuple[object, ...]] = []
    for path in sorted(top.rglob("*")):
        status = path.lstat()
        time = status.st_mtime_ns if path.is_relative_to(top / "t/a") else 0  # of others it may be the moment
        content = path.read_bytes() if path.is_file() and not path.is_symlink() else b""
        attributes = os.listxattr(path, follow_symlinks=False)
        found.append((path.relative_to(top), status.st_mode, status.st_nlink, time, content, attributes))
    return found


HOWS = [
    OWN,
    OWN._replace(owner=None),
    OWN._replace(mode=modes.parse("g+w,o=")),
    OWN._replace(mode=modes.parse("0700")),
    OWN._replace(times=1_000_000_000),
    OWN._replace(exclude=Patterns(["z", "!z/y/x/w", "a/b*"])),
    OWN._replace(exclude=Patterns(["*"])),
]


@pytest.mark.parametrize("how", HOWS, ids=["plain", "owners", "modes", "one mode", "times", "exclude", "nothing"])
@pytest.mark.parametrize("target", [b"/t", b"/t/u/v/", b"/"])
def test_it_is_what_two_passes_make(tmp_path: Path, how: How, target: bytes) -> None:
    given, digests = source(tmp_path), os.memfd_create("digests")
    root = os.open(given, os.O_RDONLY)
    plain = {path.stat().st_ino for path in given.rglob("*") if path.is_file() and not os.listxattr(path)}

    def known(status: os.stat_result) -> bytes:
        """Of files that are known to have no attributes."""
        return b"digest".ljust(32) if status.st_ino in plain else b""

    def quickly(top: Directory, packer: Packer) -> None:
        PackedBringing(top, how, packer, False, known, known).one(root, b".", target, False)

    try:
        once, quick, twice = tmp_path / "once", tmp_path / "quick", tmp_path / "twice"
        tar = packed(once, lambda top, packer: PackedBringing(top, how, packer).one(root, b".", target, False))
        same_tar = packed(quick, quickly, of=lambda out: Packer(out, digests=digests))
        packed(twice, lambda top, packer: Bringing(top, how).one(root, b".", target, False))
    finally:
        os.close(root)
        os.close(digests)
    assert tar == tar_of(once) and same_tar == tar_of(quick)
    assert looks(once) == looks(quick) == looks(twice)
    for layer in (once, quick, twice):
        for path in layer.rglob("*hole"):
            with path.open("rb") as file:
                assert holes.next_data(file.fileno(), 0, path.stat().st_size) > 0


@pytest.mark.parametrize("names", [(), ("a/b", "z/y/x"), ("a/b/f", "zero", "b/1", "é")], ids=["bare", "dirs", "files"])
def test_it_is_what_two_passes_make_over_what_is_there(tmp_path: Path, names: tuple[str, ...]) -> None:
    given, below = source(tmp_path), tmp_path / "below"
    for name in names:
        path = below / "t" / name
        if given.joinpath(name).is_dir():
            path.mkdir(parents=True)
            os.setxattr(path, "user.below", b"0")
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("below")
    below.mkdir(exist_ok=True)
    root = os.open(given, os.O_RDONLY)
    try:
        once, twice = tmp_path / "once", tmp_path / "twice"
        tar = packed(once, lambda top, packer: PackedBringing(top, OWN, packer).one(root, b".", b"/t", False), below)
        packed(twice, lambda top, packer: Bringing(top, OWN).one(root, b".", b"/t", False), below)
    finally:
        os.close(root)
    assert tar == tar_of(once)
    assert looks(once) == looks(twice)


@pytest.mark.parametrize("taking", [False, True], ids=["copied", "taken"])
@pytest.mark.parametrize("how", HOWS, ids=["plain", "owners", "modes", "one mode", "times", "exclude", "nothing"])
def test_known_digests_are_those_of_the_contents(tmp_path: Path, how: How, taking: bool) -> None:
    """In the order of the tar; that of a file which is not known, or with holes, is hashed from it."""
    given, digests = source(tmp_path), os.memfd_create("digests")
    known, sparse = dict[int, bytes](), given / "z/sparse"
    with sparse.open("wb") as file:
        file.seek(1 << 27)  # what is sent as a sparse entry
        file.write(b"behind")
    for path in given.rglob("*"):
        if path.is_file() and not path.is_symlink() and path.name not in ("w", "sparse"):
            known[path.stat().st_ino] = hashlib.sha256(path.read_bytes()).digest()
    known[sparse.stat().st_ino] = b"never asked for".ljust(32)

    def of(status: os.stat_result) -> bytes:
        return known.get(status.st_ino, b"")

    root = os.open(given, os.O_RDONLY)
    try:
        tar = packed(
            tmp_path / "layer",
            lambda top, packer: PackedBringing(top, how, packer, taking, of).one(root, b".", b"/t", False),
            of=lambda out: Packer(out, digests=digests),
        )
        found, whole = Timeless(Digests(digests)), Timeless()
        found.update(tar)
        whole.update(tar)
        assert found.digest == whole.digest
        kept = os.pread(digests, 1 << 16, 0)
        wanted = [data for name, data in ((path.name, known.get(path.stat().st_ino)) for path in given.rglob("*"))
                  if data and name == "large"]  # fmt: skip
        assert how.exclude is HOWS[-1].exclude or wanted[0] in [kept[at : at + 32] for at in range(0, len(kept), 32)]
    finally:
        os.close(root)
        os.close(digests)


def test_a_directory_below_is_not_replaced_by_a_file(tmp_path: Path) -> None:
    given, below = source(tmp_path), tmp_path / "below"
    (below / "t/zero").mkdir(parents=True)
    root = os.open(given, os.O_RDONLY)
    try:
        with pytest.raises(Invalid, match="cannot replace to directory '/t/zero' with file"):
            packed(
                tmp_path / "layer",
                lambda top, packer: PackedBringing(top, OWN, packer).one(root, b".", b"/t", False),
                below,
            )
    finally:
        os.close(root)


def test_the_target_stays_as_old_as_it_was_packed(tmp_path: Path) -> None:
    given, layer = source(tmp_path), tmp_path / "layer"
    seen: list[int] = []

    class Watched(Packer):
        def tree(self, *given: Any) -> None:
            super().tree(*given)
            seen.append((layer / "t").stat().st_mtime_ns)

    root = os.open(given, os.O_RDONLY)
    try:
        packed(layer, lambda top, packer: PackedBringing(top, OWN, packer).one(root, b".", b"/t", False), None, Watched)
    finally:
        os.close(root)
    assert seen == [(layer / "t").stat().st_mtime_ns]


# ------------------------------------------------------------------------------------------- files that are taken


def taken(layer: Path, given: Path, how: How = OWN) -> bytes:
    root = os.open(given, os.O_RDONLY)
    try:
        return packed(layer, lambda top, packer: PackedBringing(top, how, packer, True).one(root, b".", b"/t", False))
    finally:
        os.close(root)


def same(given: Path, layer: Path) -> set[str]:
    """The files that are the source's own."""
    return {
        str(path.relative_to(given))
        for path in given.rglob("*")
        if (layer / "t").joinpath(path.relative_to(given)).exists() and path.is_file() and not path.is_symlink()
        and path.samefile(layer / "t" / path.relative_to(given))
    }  # fmt: skip


@pytest.mark.parametrize("how", HOWS, ids=["plain", "owners", "modes", "one mode", "times", "exclude", "nothing"])
def test_taken_files_are_packed_as_copies_are(tmp_path: Path, how: How) -> None:
    given, once, twice = source(tmp_path), tmp_path / "once", tmp_path / "twice"
    root = os.open(given, os.O_RDONLY)
    try:
        packed(twice, lambda top, packer: Bringing(top, how).one(root, b".", b"/t", False))
    finally:
        os.close(root)
    tar = taken(once, given, how)
    assert tar == tar_of(once)
    shutil.rmtree(given)
    assert looks(once) == looks(twice)  # also how many names they have


def test_what_is_taken(tmp_path: Path) -> None:
    given = source(tmp_path)
    os.setxattr(given / "a/b/f", "user.kept", b"1")
    plain = {"a/b!", "b-/2", "é", "z/y/x/w", "zero", "large", "hole", "small hole", "z/executable",
             "middle", "z/y/x/middle"}  # fmt: skip
    taken(tmp_path / "one", given)
    assert same(given, tmp_path / "one") == plain
    assert os.getxattr(tmp_path / "one/t/a/b/f", "user.kept") == b"1"
    taken(tmp_path / "two", given)  # another step of the same build
    assert same(given, tmp_path / "two") == set()
    assert {(given / name).stat().st_nlink for name in plain} == {2}


def test_what_would_look_otherwise_is_copied(tmp_path: Path) -> None:
    given = source(tmp_path)
    for number, how in enumerate((OWN._replace(times=1), OWN._replace(mode=modes.parse("0701")))):
        taken(tmp_path / f"{number}", given, how)
        assert same(given, tmp_path / f"{number}") == set()
    if os.geteuid() == 0:
        taken(tmp_path / "owner", given, OWN._replace(owner=(3, 4)))
        assert same(given, tmp_path / "owner") == set()


def test_two_steps_never_take_the_same_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another one takes it between the look and the link."""
    given = source(tmp_path)
    link, others = os.link, list[Path]()

    def raced(name: bytes, new: bytes, **given: Any) -> None:
        link(name, new, **given)
        others.append(tmp_path / f"other{len(others)}")
        link(name, others[-1], src_dir_fd=given["src_dir_fd"], follow_symlinks=False)

    monkeypatch.setattr(os, "link", raced)
    tar = taken(tmp_path / "layer", given)
    monkeypatch.undo()
    assert others and same(given, tmp_path / "layer") == set() and tar == tar_of(tmp_path / "layer")


def test_without_links_between_the_two_files_are_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given, asked = source(tmp_path), list[bytes]()

    def refused(name: bytes, new: bytes, **_: Any) -> None:
        asked.append(name)
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))

    (given / "b/1").unlink()
    (given / "a/b/first").unlink()  # what has several names is linked within the layer
    monkeypatch.setattr(os, "link", refused)
    tar = taken(tmp_path / "layer", given)
    assert len(asked) == 1 and same(given, tmp_path / "layer") == set() and tar == tar_of(tmp_path / "layer")


def test_the_size_is_that_of_the_files(tmp_path: Path) -> None:
    given = tmp_path / "source"
    given.mkdir()
    (given / "a").write_bytes(b"1" * 10)
    (given / "b").write_bytes(b"2" * (SMALL + 1))
    root = os.open(given, os.O_RDONLY)
    sizes: list[int] = []

    def fill(top: Directory, packer: Packer) -> None:
        bringing = PackedBringing(top, OWN, packer)
        bringing.one(root, b".", b"/t", False)
        sizes.append(bringing.size)

    try:
        packed(tmp_path / "layer", fill)
    finally:
        os.close(root)
    assert sizes == [SMALL + 11]
