"""A tar applied to what an earlier one has left: the tree is what the tar alone makes, and what is as it was stays."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from corten.errors import Invalid
from corten.layers import compare, tree
from corten.layers.again import ApplyingAgain
from corten.layers.apply import Applied, Applying, apply
from corten.layers.entries import Limits
from corten.layers.source import Source
from corten.layers.sums import Written

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: everything in a context belongs to root")

Member = tuple[str, bytes, bytes, str, int, int]  # name, type, content, link, mode, mtime


def file(name: str, data: bytes = b"x", mode: int = 0o644, mtime: int = 5) -> Member:
    return name, tarfile.REGTYPE, data, "", mode, mtime


def directory(name: str, mode: int = 0o755, mtime: int = 6) -> Member:
    return name, tarfile.DIRTYPE, b"", "", mode, mtime


def link(name: str, to: str, kind: bytes = tarfile.SYMTYPE, mtime: int = 7) -> Member:
    return name, kind, b"", to, 0o777, mtime


def tar(members: Sequence[Member]) -> bytes:
    out = b""
    for name, kind, data, to, mode, mtime in members:
        info = tarfile.TarInfo(name)
        info.type, info.linkname, info.mode, info.mtime, info.size = kind, to, mode, mtime, len(data)
        if name.endswith("x"):
            info.pax_headers = {"SCHILY.xattr.user.k": "v"}
        out += info.tobuf(tarfile.PAX_FORMAT) + data + bytes(-len(data) % 512)
    return out + bytes(1024)


def applied(place: Path, members: Sequence[Member], kind: type[Applying] = ApplyingAgain) -> Applied:
    place.mkdir(exist_ok=True)
    data = memoryview(tar(members))
    at = 0

    def fill(view: memoryview) -> int:
        nonlocal at
        piece = data[at : at + len(view)]
        view[: len(piece)] = piece
        at += len(piece)
        return len(piece)

    root = tree.open_directory(os.fsencode(place))
    try:
        return apply(root, Source(fill), Limits(), umask=0, layer=False, written=Written(1 << 20), kind=kind)
    finally:
        os.close(root)


def seen(place: Path) -> dict[str, tuple[int, int]]:
    found = {str(path.relative_to(place)): path.lstat() for path in place.rglob("*")}
    return {name: (status.st_ino, status.st_ctime_ns) for name, status in found.items()}


def difference(one: Path, other: Path) -> str | None:
    fds = [tree.open_directory(os.fsencode(place)) for place in (one, other)]
    try:
        return compare.difference(*fds)
    finally:
        for fd in fds:
            os.close(fd)


LARGE = bytes(range(256)) * 2000
BEFORE = [
    directory("."), file("a"), directory("d"), file("d/b", b"b" * 1000), file("d/large", LARGE), link("d/l", "b"),
    directory("d/s"), file("d/s/c", mode=0o4755), file("e"), link("h", "e", tarfile.LNKTYPE), file("kx"), file("z"),
]  # fmt: skip


def test_all_that_is_as_it_was_stays(tmp_path: Path) -> None:
    first = applied(tmp_path / "t", BEFORE)
    before = seen(tmp_path / "t")
    again = applied(tmp_path / "t", BEFORE)
    after = seen(tmp_path / "t")
    anew = {"e", "h", "kx"}  # a file of two names, and one with attributes
    assert {name for name in before if before[name] != after[name]} == anew
    assert (again.size, again.inodes) == (first.size, first.inodes)


def without(*names: str) -> list[Member]:
    return [member for member in BEFORE if member[0] not in names]


def exchanged(*members: Member) -> list[Member]:
    new = {member[0]: member for member in members}
    return [new.get(member[0], member) for member in BEFORE]


CASES: dict[str, list[Member]] = {
    "nothing": BEFORE,
    "a content of the same length": exchanged(file("a", b"y")),
    "the last byte of many": exchanged(file("d/large", LARGE[:-1] + b"!")),
    "the first byte of many": exchanged(file("d/large", b"!" + LARGE[1:])),
    "a byte in the middle": exchanged(file("d/large", LARGE[:300_000] + b"!" + LARGE[300_001:])),
    "a length": exchanged(file("d/b", b"b" * 999)),
    "a mode": exchanged(file("d/s/c", mode=0o755)),
    "a time": exchanged(file("a", mtime=50)),
    "a directory's mode": exchanged(directory("d", 0o700)),
    "a directory's time": exchanged(directory("d", mtime=60)),
    "where a link leads": exchanged(link("d/l", "large")),
    "a file that is gone": without("a"),
    "a directory that is gone": without("d/s", "d/s/c"),
    "all": [],
    "a file for a directory": [*without("d/s", "d/s/c"), file("d/s")],
    "a directory for a file": exchanged(directory("z")),
    "a link for a file": exchanged(link("a", "d")),
    "a file for a link": exchanged(file("d/l")),
    "a file of one name that had two": exchanged(file("h")),
    "other names of a file": exchanged(link("h", "a", tarfile.LNKTYPE)),
    "no attributes": [file("kx") if member[0] == "kx" else member for member in without("kx")] + [file("k")],
    "the top is not said": without("."),
    "a directory that is not said": [file("n/o"), *BEFORE],
    "a known directory that is not said": [file("a"), file("d/b", b"b" * 1000)],
    "a directory that is said behind what is in it": [file("d/s/c"), directory("d"), directory("d/s"), file("a")],
    "through a link": [link("d", "q"), directory("q"), file("d/b", b"b" * 1000), file("q/c")],
    "a name twice": [*BEFORE, file("a", b"again")],
    "a directory twice": [*BEFORE, directory("d/s", 0o700)],
    "a file, then a directory": [*BEFORE, directory("z"), file("z/y")],
    "holes": [directory("."), file("a", bytes(1 << 20))],
}  # fmt: skip


@pytest.mark.parametrize("what", CASES)
def test_the_tree_is_what_the_tar_alone_makes(tmp_path: Path, what: str) -> None:
    open_before = len(os.listdir("/proc/self/fd"))
    applied(tmp_path / "t", BEFORE)
    again = applied(tmp_path / "t", CASES[what])
    alone = applied(tmp_path / "alone", CASES[what], Applying)
    assert difference(tmp_path / "alone", tmp_path / "t") is None
    assert again == alone
    assert len(os.listdir("/proc/self/fd")) == open_before


@pytest.mark.parametrize("to", ["z", "d/s/c", "nothing"])
def test_a_link_to_what_only_the_earlier_one_had_is_refused(tmp_path: Path, to: str) -> None:
    applied(tmp_path / "t", BEFORE)
    with pytest.raises(Invalid, match="hard link to a file that does not exist"):
        applied(tmp_path / "t", [directory("."), directory("d"), link("h", to, tarfile.LNKTYPE)])


def test_an_earlier_link_leads_nowhere(tmp_path: Path) -> None:
    """A name that the tar does not say is not followed."""
    (tmp_path / "out").mkdir()
    applied(tmp_path / "t", [directory("."), link("d", str(tmp_path / "out")), link("r", "/")])
    applied(tmp_path / "t", [file("d/a"), file("r/b")])
    assert (tmp_path / "t/d").is_dir() and not (tmp_path / "t/d").is_symlink()
    assert (tmp_path / "t/r/b").read_bytes() == b"x" and not any((tmp_path / "out").iterdir())


def test_attributes_of_the_top_are_those_of_the_tar(tmp_path: Path) -> None:
    applied(tmp_path / "t", BEFORE)
    os.setxattr(tmp_path / "t", "user.old", b"1")
    applied(tmp_path / "t", BEFORE)
    assert os.listxattr(tmp_path / "t") == []
