"""What a container changed: an overlay's upper directory, or a whole tree, against the tree below."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import pytest

from corten.layers import delta
from corten.layers.pack import Packer

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="whiteouts and owners need root")


def changes(own: Path, base: Path | None, whole: bool = False) -> list[str]:
    fds = [os.open(path, os.O_RDONLY | os.O_DIRECTORY) for path in (own, base) if path is not None]
    try:
        found = delta.changes(fds[0], fds[1] if base is not None else None, whole)
        return [f"{'CAD'[change.kind]} {change.path.decode()}" for change in found]
    finally:
        for fd in fds:
            os.close(fd)


def tree(root: Path, *paths: str) -> Path:
    """`d/` is a directory, `f` a file with its own path as content."""
    root.mkdir()
    for path in paths:
        place = root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.mkdir() if path.endswith("/") else place.write_text(path)
        os.utime(place, (0, 0))
    return root


def test_overlay(tmp_path: Path) -> None:
    base = tree(tmp_path / "base", "a/x", "a/y", "b/z", "c", "etc/hosts", "o/old/deep", "o/kept")
    own = tree(
        tmp_path / "own", "a/x", "new/n", "b/", "c/now-a-directory", "etc/hosts", "dev/null", "o/kept", "o/old/n"
    )
    os.mknod(own / "a/y", 0o020000, 0)  # a whiteout
    os.mknod(own / "never", 0o020000, 0)  # one of something that was not there
    os.setxattr(own / "o", "trusted.overlay.opaque", b"y")
    assert changes(own, base) == [
        "C a", "C a/x", "D a/y", "C c", "A c/now-a-directory", "A new", "A new/n",
        "C o", "C o/kept", "C o/old", "D o/old/deep", "A o/old/n",
    ]  # fmt: skip


def test_overlay_over_nothing(tmp_path: Path) -> None:
    assert changes(tree(tmp_path / "own", "a/b"), None) == ["A a", "A a/b"]


def test_whole_trees(tmp_path: Path) -> None:
    names = ("a/same", "a/changed", "b/gone", "b/stays")
    base, own = tree(tmp_path / "base", *names), tree(tmp_path / "own", *names, "a/new")
    (own / "b/gone").unlink()
    (own / "a/changed").write_text("else")
    assert changes(own, base, whole=True) == ["C a", "C a/changed", "A a/new", "C b", "D b/gone"]
    assert changes(base, base, whole=True) == []


def test_links_are_looked_at_and_not_followed(tmp_path: Path) -> None:
    base, own = tree(tmp_path / "base", "d/f"), tree(tmp_path / "own")
    (own / "d").symlink_to("/etc")
    assert changes(own, base) == ["C d"]


def test_pack(tmp_path: Path) -> None:
    root = tree(tmp_path / "t", "d/f", "d/large")
    (root / "d/large").write_bytes(os.urandom(300_000))
    os.link(root / "d/f", root / "z")
    (root / "l").symlink_to("d/f")
    os.mkfifo(root / "fifo")
    os.setxattr(root / "d/f", "user.kept", b"1")
    long = "n" * 200
    (root / long).write_text("ü")
    out = tmp_path / "out.tar"
    top = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    target = os.open(out, os.O_WRONLY | os.O_CREAT)
    packer = Packer(target)
    packer.tree(top, b"p/")
    packer.whiteout(b"d/gone")
    packer.end()
    os.close(top)
    os.close(target)
    with tarfile.open(out) as tar:
        members = {member.name: member for member in tar}
        assert set(members) == {"p/d", "p/d/f", "p/d/large", "p/z", "p/l", "p/fifo", f"p/{long}", "d/.wh.gone"}
        assert members["p/z"].islnk() and members["p/z"].linkname == "p/d/f"
        assert members["p/d/f"].pax_headers["SCHILY.xattr.user.kept"] == "1"
        large = tar.extractfile("p/d/large")
        assert isinstance(large, io.BufferedIOBase) and large.read() == (root / "d/large").read_bytes()
