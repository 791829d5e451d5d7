"""Hostile layers (IMG-01, DOS-01), each with the odd but legitimate ones that look alike.

The oracle: a directory of secrets beside the tree, which no layer may read or change, however it ends.
"""

from __future__ import annotations

import itertools
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from corten.errors import CortenError, Exhausted, Invalid
from corten.layers import header as tar
from corten.layers import write
from corten.layers.entries import Limits
from corten.layers.tree import remove
from image_parts import tars
from image_parts.disks import small_disk
from image_parts.trees import listing, unpack

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="owners and devices need root")
OPAQUE = "trusted.overlay.opaque"


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Path]:
    canary = tmp_path / "canary"
    canary.mkdir()
    (canary / "secret").write_text("token")
    (canary / "setuid").write_text("x")
    os.chmod(canary / "setuid", 0o755)
    os.mkfifo(canary / "fifo")
    before = listing(canary)
    beside = set(os.listdir(tmp_path)) | {"tree"}
    yield tmp_path / "tree"
    top = os.open(tmp_path, os.O_RDONLY)
    remove(top, b"tree")  # pytest's own removal does not survive the depth of some
    os.close(top)
    assert listing(canary) == before
    assert set(os.listdir(tmp_path)) <= beside


TARGETS = ["..", "../canary", "../../../../canary", "/", "/canary", ".", "", "self", "../tree", "a/../../canary",
           "x" * 255, "x" * 256, "y/" * 2040, "y/" * 2100,
           "/proc/self/root", "/proc/self/cwd/..", "dangling/no", "canary\udc80"]  # fmt: skip
NAMES = ["a", "a/b", "a/b/secret", "self", "../canary/secret", "/../canary/new",
         "a/../../canary/new", "./a", "a/", "a//b",
         ".", "..", "/", ".wh.a", ".wh..wh..opq", ".wh..", ".wh...", ".wh.", "a/.wh..wh.x", "a/.wh.b", "a/.wh.b/c",
         "a/.wh..", "x" * 255, "x" * 256, "n\udc80n", "z/" * 1030 + "f", "z/" * 2050 + "f"]  # fmt: skip


def kinds(target: str) -> dict[str, Callable[[bytes], bytes]]:
    link = target.encode("utf-8", "surrogateescape")
    return {
        "symlink": lambda name: write.header(name, tar.SYMLINK, link=link),
        "hardlink": lambda name: write.header(name, tar.LINK, link=link),
        "file": lambda name: tars.file(name, b"new", mode=0o4777),
        "directory": lambda name: write.header(name, tar.DIRECTORY, mode=0o777, uid=7),
        "fifo": lambda name: write.header(name, tar.FIFO, mode=0o666),
        "device": lambda name: write.header(name, tar.CHAR, mode=0o666, major=1, minor=3),
    }


@pytest.mark.parametrize("target", TARGETS)
def test_every_pair_of_entries_stays_inside(tree: Path, target: str) -> None:
    """A first entry that points out, then a second one through it: in every combination of kinds."""
    count = 0
    for first, second in itertools.product(("symlink", "hardlink", "directory"), kinds("").keys()):
        for second_name in ("a/b", "a", "a/secret", "a/../a/x"):
            place = tree.with_name("tree") if count == 0 else tree / str(count)
            place.mkdir(exist_ok=True)
            data = kinds(target)[first](b"a") + kinds(target)[second](second_name.encode()) + tars.file("after")
            try:
                unpack(place / "t", data)
            except CortenError:
                pass
            count += 1


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", list(kinds("")))
def test_every_name_stays_inside(tree: Path, name: str, kind: str) -> None:
    raw = name.encode("utf-8", "surrogateescape")
    try:
        unpack(tree, tars.directory("a") + kinds("../canary/secret")[kind](raw))
    except CortenError:
        pass


@pytest.mark.parametrize(
    "name", ["../x", "a/../../x", "/../x", "..", ".wh..", ".wh...", ".wh.", "a/.wh..", ".wh.b/c", "x" * 256]
)
def test_names_that_are_refused(tree: Path, name: str) -> None:
    with pytest.raises(Invalid):
        unpack(tree, tars.directory("a") + tars.file(name))


def test_chains_of_links(tree: Path) -> None:
    """What broke tarfile's filters (CVE-2025-4517): a path that is only harmless until it gets too long."""
    component = "d" * 247
    entries = []
    path = ""
    for step in "abcdefghijklmnop":
        entries += [tars.directory(path + component), tars.symlink(path + step, component)]
        path += component + "/"
    entries.append(tars.symlink("a/b/c/d/e/f/g/h/i/j/k/l/m/n/o/p/" + "l" * 254, "../" * 16))
    entries.append(tars.symlink("escape", "a/b/c/d/e/f/g/h/i/j/k/l/m/n/o/p/" + "l" * 254 + "/../../canary"))
    entries.append(tars.file("escape/secret", b"overwritten"))
    try:
        unpack(tree, b"".join(entries))
    except CortenError:
        pass


def test_a_refusal_names_the_entry_and_no_kernel_call(tree: Path) -> None:
    circle = tars.symlink("a", "b") + tars.symlink("b", "a")
    with pytest.raises(Invalid, match=r"^cannot unpack 'a/file': Too many levels of symbolic links$"):
        unpack(tree, circle + tars.file("a/file"))


def test_a_hard_link_through_a_link_cannot_take_a_file_of_the_host(tree: Path) -> None:
    data = tars.symlink("out", "../../canary") + tars.link("mine", "out/secret")
    applied = unpack(tree, data)
    assert applied.links == ((b"mine", b"out/secret"),)  # not found inside, so it is left to the layers below
    assert not (tree / "mine").exists()


def test_overlay_attributes_are_not_an_images_to_set(tree: Path) -> None:
    attributes = {
        b"trusted.overlay.redirect": b"/../canary",
        b"trusted.overlay.metacopy": b"",
        b"user.overlay.opaque": b"y",
        b"security.selinux": b"system_u:object_r:shadow_t:s0\0",
        b"user.fine": b"1",
    }
    unpack(tree, tars.file("f", xattrs=attributes) + tars.directory("d", xattrs=attributes))
    assert os.listxattr(tree / "f") == ["user.fine"]
    assert os.listxattr(tree / "d") == ["user.fine"]


@pytest.mark.parametrize(
    ("data", "limits"),
    [
        (tars.file("f", b"x" * 100_000), Limits(bytes=50_000)),
        (b"".join(tars.file(str(n), b"") for n in range(50)), Limits(inodes=20)),
        (tars.file("a/" * 30 + "f"), Limits(inodes=20)),
        (tars.file("a/" * 30 + "f"), Limits(path=20)),
        (
            write._pax(b"a", {b"GNU.sparse.map": b"", b"GNU.sparse.size": b"%d" % (1 << 61)}) + tars.file("s", b""),
            Limits(),
        ),
        (write.header(b"f", size=(1 << 62) - 1), Limits()),
    ],
)
def test_bombs(tree: Path, data: bytes, limits: Limits) -> None:
    with pytest.raises(CortenError):
        unpack(tree, data, limits)


def test_a_full_disk_says_so(tree: Path) -> None:
    with small_disk(tree, 1), pytest.raises(Exhausted, match="no space left"):
        unpack(tree, tars.file("big", bytes(3_000_000)))


# ------------------------------------------------------------------------------- odd, and to be kept working


def test_links_inside_the_layer_are_followed_as_in_a_chroot(tree: Path) -> None:
    unpack(
        tree,
        tars.directory("run")
        + tars.directory("usr/lib")
        + tars.symlink("lib", "usr/lib")
        + tars.symlink("var/run", "/run")
        + tars.symlink("up", "../../..")
        + tars.file("lib/a", b"1")
        + tars.file("var/run/b", b"2")
        + tars.file("up/c", b"3"),
    )
    assert (tree / "usr/lib/a").read_bytes() == b"1"
    assert (tree / "run/b").read_bytes() == b"2"
    assert (tree / "c").read_bytes() == b"3"
    assert os.readlink(tree / "lib") == "usr/lib"


def test_hard_links_by_way_of_a_link(tree: Path) -> None:
    """To a file of the layer, in it, and both; a later entry replaces what is meant, whatever it was called."""
    applied = unpack(
        tree,
        tars.symlink("lib", "usr/lib") + tars.file("usr/lib/a", b"1")
        + tars.link("one", "lib/a") + tars.link("lib/two", "usr/lib/a") + tars.link("lib/three", "lib/a")
        + tars.link("lib/low", "bin/low") + tars.link("lib/gone", "bin/low") + tars.file("usr/lib/gone", b"2"),
    )  # fmt: skip
    assert {os.stat(tree / name).st_ino for name in ("one", "usr/lib/two", "usr/lib/three")} == {
        os.stat(tree / "usr/lib/a").st_ino
    }
    assert applied.links == ((b"usr/lib/low", b"bin/low"),)
    assert applied.implied == (b"", b"usr", b"usr/lib")
    assert (tree / "usr/lib/gone").read_bytes() == b"2" and not (tree / "usr/lib/low").exists()


def test_a_link_to_what_only_a_lower_layer_has(tree: Path) -> None:
    applied = unpack(tree, tars.symlink("lib", "usr/lib") + tars.file("lib/x/a", b"1"))
    assert (tree / "usr/lib/x/a").read_bytes() == b"1"
    assert set(applied.implied) >= {b"usr", b"usr/lib", b"lib/x"} or b"usr/lib" in applied.implied


@pytest.mark.parametrize("target", ["/bin/tool", "bin/tool", "./bin/../bin/tool"])
def test_absolute_and_odd_hard_links(tree: Path, target: str) -> None:
    applied = unpack(
        tree, tars.file("bin/tool", b"x") + tars.link("bin/other", target) + tars.link("bin/tool", "bin/tool")
    )
    assert applied.links == ()
    assert os.stat(tree / "bin/other").st_ino == os.stat(tree / "bin/tool").st_ino


def test_later_entries_replace_earlier_ones(tree: Path) -> None:
    unpack(
        tree,
        tars.file("a", b"1") + tars.file("a", b"22")
        + tars.directory("d") + tars.file("d/x") + tars.file("d", b"file")
        + tars.file("e", b"file") + tars.file("e/x", b"in")
        + tars.symlink("s", "/nowhere") + tars.directory("s")
        + tars.file("t") + tars.link("u", "t") + tars.file("u", b"own"),
    )  # fmt: skip
    assert (tree / "a").read_bytes() == b"22"
    assert (tree / "d").read_bytes() == b"file"
    assert (tree / "e/x").read_bytes() == b"in"
    assert stat.S_ISDIR((tree / "s").lstat().st_mode)
    assert (tree / "t").read_bytes() == b"x"
    assert (tree / "u").read_bytes() == b"own"


def test_setuid_capabilities_owners_times_and_devices(tree: Path) -> None:
    capability = b"\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
    unpack(
        tree,
        tars.directory("d", mode=0o2775, uid=5, gid=6, mtime=10**18)
        + tars.file(
            "d/su",
            mode=0o6755,
            uid=1000,
            gid=4_000_000_000,
            mtime=10**18 + 5,
            xattrs={b"security.capability": capability},
        )
        + write.header(b"d/null", tar.CHAR, mode=0o666, major=1, minor=3)
        + write.header(b"d/sda", tar.BLOCK_DEVICE, mode=0o660, major=8, minor=0)
        + write.header(b"d/pipe", tar.FIFO, mode=0o1222),
    )
    status = os.stat(tree / "d/su")
    assert (stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid) == (0o6755, 1000, 4_000_000_000)
    assert status.st_mtime_ns == 10**18 + 5
    assert os.getxattr(tree / "d/su", "security.capability") == capability
    assert os.stat(tree / "d").st_mtime_ns == 10**18
    assert stat.S_IMODE(os.stat(tree / "d").st_mode) == 0o2775
    assert os.lstat(tree / "d/null").st_rdev == os.makedev(1, 3)
    assert stat.S_ISBLK(os.lstat(tree / "d/sda").st_mode)
    assert stat.S_IMODE(os.lstat(tree / "d/pipe").st_mode) == 0o1222


def test_whiteouts(tree: Path) -> None:
    unpack(
        tree,
        tars.file("gone/.wh.lower", b"") + tars.file("cleared/.wh..wh..opq", b"") + tars.file("cleared/kept")
        + tars.file(".wh..wh.plnk", b"") + tars.file("here") + tars.file(".wh.here", b"")
        + tars.directory("dir") + tars.file("dir/in") + tars.file(".wh.dir", b"")
        + tars.file(".wh.again", b"") + tars.directory("again") + tars.file(".wh.file", b"")
        + tars.file("file", b"new"),
    )  # fmt: skip
    assert os.lstat(tree / "gone/lower").st_rdev == 0
    assert stat.S_ISCHR(os.lstat(tree / "gone/lower").st_mode)
    assert os.getxattr(tree / "cleared", OPAQUE) == b"y"
    assert (tree / "cleared/kept").exists()
    assert (tree / "here").read_bytes() == b"x"  # a whiteout is about the layers below
    assert os.getxattr(tree / "dir", OPAQUE) == b"y"
    assert (tree / "dir/in").exists()
    assert os.getxattr(tree / "again", OPAQUE) == b"y"
    assert (tree / "file").read_bytes() == b"new"
    assert not (tree / ".wh..wh.plnk").exists()


def test_names_that_are_only_strange(tree: Path) -> None:
    names = [
        b"./with/./dots",
        b"/absolute",
        b"new\nline",
        b"\xff\xfe",
        b"-rf",
        b"...",
        b"a/b/../c",
        b"x" * 255,
        "日本".encode(),
    ]
    unpack(tree, b"".join(tars.file(name, name[:5]) for name in names))
    raw = os.fsencode(tree)
    for name in (b"with/dots", b"absolute", b"new\nline", b"\xff\xfe", b"-rf", b"...", b"a/c", b"x" * 255):
        assert os.path.lexists(raw + b"/" + name), name


def test_a_deep_tree(tree: Path) -> None:
    unpack(tree, tars.file("d/" * 900 + "f", b"deep"))
    top = os.open(tree, os.O_RDONLY)
    try:
        remove(top, b"d")
        assert os.listdir(tree) == []
    finally:
        os.close(top)
