"""Tars that a guest's agent sends: those of trees come through, and no others."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from corten.errors import Corrupt
from corten.layers import write
from corten.layers.checked import Checked, base_of
from corten.layers.header import CHAR, DIRECTORY, LINK, REGULAR, SYMLINK
from corten.layers.pack import Packer

File = tuple[bytes, bytes, bytes]  # name, kind, where it leads


def _passed(data: bytes, base: bytes = b"", pieces: int = 700) -> bytes:
    archive = Checked(base)
    out = b"".join(archive.feed(data[at : at + pieces]) for at in range(0, len(data), pieces))
    archive.end()
    return out


def _archive(*files: File) -> bytes:
    found = b""
    for name, kind, link in files:
        content = b"content" if kind == REGULAR else b""
        found += write.header(name, kind, link=link, size=len(content)) + content + write.padding(len(content))
    return found + write.END


def _tree(top: Path) -> None:
    deep = top / "a/deep" / ("long" * 40)
    deep.mkdir(parents=True)
    (deep / "file").write_bytes(os.urandom(3000))
    (top / "a.txt").write_bytes(b"")
    (top / "b\udcff\n").write_bytes(b"odd")
    (top / "link").symlink_to("/etc/passwd")
    os.link(top / "a.txt", top / "z")
    os.mkfifo(top / "pipe")
    os.setxattr(top / "a.txt", "user.word", b"value")
    os.utime(top / "z", ns=(10**9 + 7, 10**9 + 7))
    with (top / "hole").open("wb") as file:
        file.truncate(1 << 20)
        os.pwrite(file.fileno(), b"end", (1 << 20) - 3)


@pytest.mark.parametrize("pieces", [100, 512, 1 << 20])
@pytest.mark.parametrize("base", [b"", b"top"])
def test_a_tree_comes_through_as_it_is(tmp_path: Path, base: bytes, pieces: int) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    _tree(tree)
    with (tmp_path / "tar").open("w+b") as file:
        packer, top = Packer(file.fileno()), os.open(tree, os.O_RDONLY)
        if base:
            packer.add(top, b".", base + b"/", os.fstat(top))
        packer.tree(top, base and base + b"/")
        packer.end()
        os.close(top)
        file.seek(0)
        data = file.read()
    assert _passed(data, base, pieces) == data


D, F, S, H = DIRECTORY, REGULAR, SYMLINK, LINK
LIES: dict[str, tuple[bytes, Sequence[File]]] = {
    "above": (b"", [(b"../x", F, b"")]),
    "above, in between": (b"", [(b"a/", D, b""), (b"a/../../x", F, b"")]),
    "beside what was asked for": (b"etc", [(b".bashrc", F, b"")]),
    "behind what was asked for": (b"hosts", [(b"hosts", F, b""), (b"x", F, b"")]),
    "an absolute name": (b"etc", [(b"/etc/x", F, b"")]),
    "below a link": (b"etc", [(b"etc/", D, b""), (b"etc/l", S, b"/root"), (b"etc/l/x", F, b"")]),
    "below what was asked for, a link": (b"etc", [(b"etc", S, b"/root"), (b"etc/x", F, b"")]),
    "a directory after the link": (b"etc", [(b"etc", S, b"/root"), (b"etc/", D, b""), (b"etc/x", F, b"")]),
    "the same name twice": (b"", [(b"l", S, b"/root/x"), (b"l", F, b"")]),
    "the same name twice, spelled otherwise": (b"", [(b"l", S, b"/root/x"), (b"./l", F, b"")]),
    "a directory that is not there": (b"", [(b"a/b", F, b"")]),
    "a directory that was left": (b"", [(b"a/", D, b""), (b"b/", D, b""), (b"a/x", F, b"")]),
    "not in order": (b"", [(b"b", F, b""), (b"a", F, b"")]),
    "a hard link above": (b"", [(b"h", H, b"../../etc/passwd")]),
    "a hard link beside": (b"etc", [(b"etc/", D, b""), (b"etc/h", H, b"/etc/passwd")]),
    "a hard link through a link": (b"", [(b"a", S, b"/etc"), (b"h", H, b"a/passwd")]),
    "the root as a link": (b"", [(b".", S, b"/root")]),
    "the root later": (b"", [(b"a", F, b""), (b"./", D, b"")]),
    "a kind that no tree has": (b"", [(b"a", b"S", b"")]),
}


@pytest.mark.parametrize("name", LIES)
def test_what_no_tree_is_sent_as(name: str) -> None:
    base, files = LIES[name]
    with pytest.raises(Corrupt, match="the guest sends"):
        _passed(_archive(*files), base)


def test_broken_ones() -> None:
    whole = _archive((b"a", F, b""), (b"c", CHAR, b""))
    assert _passed(whole) == whole
    for data in (b"", whole[:100], whole[:600], whole[:1100], b"\xff" * 2000, whole + b"more".ljust(512, b"\0")):
        with pytest.raises(Corrupt):
            _passed(data)
    with pytest.raises(Corrupt, match="half an entry"):
        _passed(write.header(b"x" * 200)[:-512] + write.END)
    with pytest.raises(Corrupt, match="too much about it"):
        _passed(_member(b"x", 1 << 21) + bytes(1 << 21))


@pytest.mark.parametrize("kind", [tarfile.GNUTYPE_LONGNAME, tarfile.XGLTYPE, tarfile.AREGTYPE])
def test_each_reader_sees_the_same(kind: bytes) -> None:
    """None knows another name for an entry than the one that was looked at."""
    with pytest.raises(Corrupt, match="in no tree"):
        _passed(_member(kind, 4) + b"evil".ljust(512, b"\0") + _archive((b"a", F, b"")))


def _member(kind: bytes, size: int) -> bytes:
    member = tarfile.TarInfo("name")
    member.type, member.size = kind, size
    return member.tobuf(tarfile.USTAR_FORMAT)


@pytest.mark.parametrize(
    ("path", "base"),
    [
        ("/etc", b"etc"),
        ("etc/", b"etc"),
        ("/etc/.", b"."),
        ("/", b""),
        (".", b"."),
        ("/a/../b", b"b"),
        ("/a/b/..", b"a"),
        ("a/..", b""),
    ],
)
def test_what_it_is_called(path: str, base: bytes) -> None:
    assert base_of(path) == base
