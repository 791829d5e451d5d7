"""What every driver of trees does: overlay and copies. Mounted for real, in a mount namespace of the test's own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from corten.errors import Conflict, NotFound
from corten.layers import header as tar
from corten.layers import write
from corten.snapshots.copying import Copying
from corten.snapshots.overlay import Overlay
from corten.spec.mounts import Mount
from corten.store.database import Database
from corten.store.records import Records
from image_parts import tars
from image_parts.trees import unpack

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounts and owners need root")

_IN_NAMESPACE = r"""
import ctypes, json, os, sys
mounts, at, program = json.loads(sys.argv[1]), sys.argv[2], sys.argv[3]
libc = ctypes.CDLL(None, use_errno=True)
def check(result):
    if result: raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
check(libc.unshare(0x20000))
check(libc.mount(b"none", b"/", None, 0x44000, None))
for kind, source, target, options in mounts:
    where = (at + target).rstrip("/").encode()
    if kind == "bind":
        check(libc.mount(source.encode(), where, None, 0x5000, None))
        if "ro" in options: check(libc.mount(None, where, None, 0x1000 | 0x20 | 1, None))
    else:
        root = os.path.commonpath([o.split("=")[1].split(":")[0] for o in options if "dir=/" in o])
        os.chdir(root)
        data = ",".join(o for o in options if o != "ro").replace(root + "/", "")
        assert len(data) < 4096, len(data)
        check(libc.mount(b"overlay", where, b"overlay", 1 if "ro" in options else 0, data.encode()))
os.chdir(at)
exec(program)
"""


def inside(mounts: Sequence[Mount], at: Path, program: str) -> str:
    """Run Python where the mounts are; its standard output."""
    at.mkdir(exist_ok=True)
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", _IN_NAMESPACE, json.dumps(mounts), str(at), program],
        capture_output=True, text=True, timeout=30,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(params=[Overlay, Copying])
def driver(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    database = Database(tmp_path / "db")
    driver = request.param(tmp_path / "snapshots", Records(database))
    yield driver
    driver.tree_store.close()
    database.close()


def layer(driver: Any, name: str, parent: str | None, *entries: bytes) -> None:
    draft = driver.receive()
    applied = unpack(draft.path, tars.archive(*entries))
    driver.commit(draft, name, parent, applied.size, applied.implied, applied.links)


@pytest.fixture
def image(driver: Any) -> str:
    layer(
        driver, "one", None,
        tars.directory(".", mode=0o751), tars.directory("tmp", mode=0o1777, uid=3),
        tars.file("tmp/a", b"1"), tars.file("gone"), tars.directory("cleared"),
        tars.file("cleared/old"), tars.file("bin/tool", b"tool", mode=0o4755),
    )  # fmt: skip
    layer(
        driver, "two", "one",
        tars.file("tmp/b", b"2"), tars.file(".wh.gone", b""), tars.file("cleared/.wh..wh..opq", b""),
        tars.file("cleared/new"), tars.link("bin/alias", "bin/tool"),
    )  # fmt: skip
    return "two"


def test_layers_make_one_tree(driver: Any, image: str, tmp_path: Path) -> None:
    program = """
print(sorted(os.listdir(".")), sorted(os.listdir("tmp")), os.listdir("cleared"))
s = os.stat("tmp"); print(oct(s.st_mode & 0o7777), s.st_uid)
s = os.stat("bin/alias"); print(oct(s.st_mode & 0o7777), open("bin/alias").read())
print(oct(os.stat(".").st_mode & 0o7777))
"""
    expected = (
        "['bin', 'cleared', 'tmp'] ['a', 'b'] ['new']\n"
        "0o1777 3\n"  # the second layer has no entry for tmp, and the first one's word stands
        "0o4755 tool\n"  # a hard link to a file of the layer below
        "0o751\n"
    )
    assert inside(driver.view(image), tmp_path / "m", program) == expected
    assert inside(driver.prepare("c", image), tmp_path / "m", program) == expected


def test_a_view_is_read_only_and_an_active_tree_is_its_own(driver: Any, image: str, tmp_path: Path) -> None:
    refused = inside(driver.view(image), tmp_path / "m", "try: open('x', 'w')\nexcept OSError as e: print(e.errno)")
    assert refused == "30\n"
    single = inside(driver.view("one"), tmp_path / "m", "try: open('x', 'w')\nexcept OSError as e: print(e.errno)")
    assert single == "30\n"
    mounts = driver.prepare("c1", image)
    driver.prepare("c2", image)
    inside(mounts, tmp_path / "m", "open('x', 'w').write('mine'); os.unlink('tmp/a')")
    assert inside(driver.mounts("c1"), tmp_path / "m", "print(open('x').read(), os.listdir('tmp'))") == "mine ['b']\n"
    seen = inside(driver.mounts("c2"), tmp_path / "m", "print(os.path.exists('x'), os.path.exists('tmp/a'))")
    assert seen == "False True\n"
    assert driver.usage("c1").inodes > driver.usage("c2").inodes or isinstance(driver, Copying)


def test_a_view_of_an_active_tree_shows_it_and_changes_nothing(driver: Any, image: str, tmp_path: Path) -> None:
    inside(driver.prepare("c", image), tmp_path / "m", "open('x', 'w').write('mine'); os.unlink('tmp/a')")
    program = "print(open('x').read(), os.listdir('tmp'))\ntry: open('y', 'w')\nexcept OSError as e: print(e.errno)"
    assert inside(driver.view("c"), tmp_path / "m", program) == "mine ['b']\n30\n"
    inside(driver.prepare("bare", None), tmp_path / "m", "os.mkdir('a')")
    assert inside(driver.view("bare"), tmp_path / "m", "print(os.listdir('.'))") == "['a']\n"


def test_where_trees_lie(driver: Any, image: str, tmp_path: Path) -> None:
    """Only directories that are there, by Docker's names for them."""
    inside(driver.prepare("c", image), tmp_path / "m", "open('x', 'w').write('mine')")
    driver.prepare("bare", None)
    found = {name: driver.places(name) for name in ("one", "two", "c", "bare")}
    assert all(os.path.isdir(path) for places in found.values() for each in places.values() for path in each.split(":"))
    if isinstance(driver, Copying):
        assert [list(places) for places in found.values()] == [["MergedDir"]] * 4
        assert (Path(found["c"]["MergedDir"]) / "x").read_text() == "mine"
        assert (Path(found["c"]["MergedDir"]) / "tmp/b").read_text() == "2"
    else:
        below, above = found["one"]["UpperDir"], found["two"]["UpperDir"]
        assert found["one"] == {"UpperDir": below}
        assert found["two"] == {"UpperDir": above, "LowerDir": below}
        assert found["c"]["LowerDir"] == f"{above}:{below}"
        assert sorted(found["c"]) == ["LowerDir", "UpperDir", "WorkDir"]
        assert sorted(found["bare"]) == ["UpperDir", "WorkDir"]
        assert (Path(found["c"]["UpperDir"]) / "x").read_text() == "mine"
    with pytest.raises(NotFound):
        driver.places("nosuch")


def test_a_tree_over_nothing(driver: Any, tmp_path: Path) -> None:
    inside(driver.prepare("c", None), tmp_path / "m", "os.mkdir('a')")
    assert inside(driver.mounts("c"), tmp_path / "m", "print(os.listdir('.'))") == "['a']\n"


def test_names(driver: Any, image: str) -> None:
    driver.prepare("c", image)
    with pytest.raises(Conflict):
        driver.prepare("c", image)
    with pytest.raises(NotFound):
        driver.prepare("d", "absent")
    with pytest.raises(Conflict):
        driver.prepare("d", "c")  # a writable tree is no tree's parent
    with pytest.raises(NotFound):
        driver.mounts("absent")
    with pytest.raises(Conflict):
        driver.remove(image)  # c stands on it
    driver.remove("c")
    driver.remove("c")
    with pytest.raises(NotFound):
        driver.mounts("c")
    driver.remove("two")
    driver.remove("one")
    driver.tree_store.close()
    assert os.listdir(driver.tree_store.root) == [".trash"]
    assert os.listdir(driver.tree_store.root / ".trash") == []


def test_after_a_crash(driver: Any, image: str, tmp_path: Path) -> None:
    driver.prepare("c", image)
    driver.receive()  # interrupted while unpacking
    table = Records(Database(tmp_path / "db"))
    again = type(driver)(tmp_path / "snapshots", table)
    again.tree_store.sweep()
    again.tree_store.close()
    table._database.close()
    count = 3
    assert len([name for name in os.listdir(tmp_path / "snapshots") if name != ".trash"]) == count
    assert again.mounts("c") == driver.mounts("c")
    assert again.tree_store.ancestors_in_use() == {"one", "two"}


def test_127_layers_fit(tmp_path: Path) -> None:
    database = Database(tmp_path / "db")
    overlay = Overlay(tmp_path / "snapshots", Records(database))
    parent = None
    for number in range(127):
        layer(overlay, str(number), parent, tars.file(f"f{number}"))
        parent = str(number)
    mounts = overlay.prepare("c", parent)
    assert inside(mounts, tmp_path / "m", "print(len(os.listdir('.')))") == "127\n"
    overlay.tree_store.close()
    database.close()


def test_a_hard_link_to_nothing_is_refused(driver: Any, image: str) -> None:
    from corten.errors import CortenError

    before = driver.tree_store.keys(True)
    with pytest.raises(CortenError):
        layer(driver, "three", image, tars.link("x", "gone"))  # deleted by the second layer
    with pytest.raises(CortenError):
        layer(driver, "four", None, tars.link("x", "nothing"))
    assert driver.tree_store.keys(True) == before


# -------------------------------------------------------------------------------------- an active tree becomes a layer


def test_an_active_tree_is_kept(driver: Any, image: str, tmp_path: Path) -> None:
    change = "open('x', 'w').write('mine'); os.unlink('tmp/a'); os.rmdir('tmp/d') if os.path.exists('tmp/d') else None"
    replace = "import shutil; shutil.rmtree('cleared'); os.mkdir('cleared'); open('cleared/own', 'w').write('1')"
    inside(driver.prepare("c", image), tmp_path / "m", f"{change}; {replace}")
    driver.keep("c", "three", 5)
    look = "print(open('x').read(), os.listdir('tmp'), os.listdir('cleared'), os.path.exists('gone'))"
    seen = "mine ['b'] ['own'] False\n"
    assert inside(driver.view("three"), tmp_path / "m", look) == seen
    assert inside(driver.prepare("d", "three"), tmp_path / "m", f"{look}; open('x', 'w').write('other')") == seen
    assert inside(driver.view("three"), tmp_path / "m", look) == seen
    assert driver.tree_store.size("three") == 5
    assert driver.tree_store.get("three")[1:3] == ("two", True)
    with pytest.raises(NotFound):
        driver.mounts("c")
    with pytest.raises(Conflict):
        driver.remove(image)  # it stands on it
    assert not (driver.tree_store.files(driver.tree_store.get("three")).parent / "work").exists()


def test_what_cannot_be_kept(driver: Any, image: str, tmp_path: Path) -> None:
    inside(driver.prepare("c", image), tmp_path / "m", "open('x', 'w').write('mine')")
    with pytest.raises(Conflict):
        driver.keep("c", "one", 1)
    with pytest.raises(Conflict):
        driver.keep("one", "other", 1)
    with pytest.raises(NotFound):
        driver.keep("absent", "other", 1)
    assert inside(driver.mounts("c"), tmp_path / "m", "print(open('x').read())") == "mine\n"  # as it was


def test_what_was_kept_is_there_after_a_crash(driver: Any, image: str, tmp_path: Path) -> None:
    inside(driver.prepare("c", image), tmp_path / "m", "open('x', 'w').write('mine')")
    driver.keep("c", "three", 4)
    table = Records(Database(tmp_path / "db"))
    again = type(driver)(tmp_path / "snapshots", table)
    again.tree_store.sweep()
    again.tree_store.close()
    assert sorted(again.tree_store.keys(True)) == ["one", "three", "two"]
    assert again.tree_store.keys(False) == []
    assert inside(again.view("three"), tmp_path / "m", "print(open('x').read())") == "mine\n"
    table._database.close()


# ----------------------------------------------------------------------------------- the order of entries in a layer

KINDS = {
    "implied": lambda at: tars.file(f"{at}/foo/.wh.bar", b""),
    "directory": lambda at: tars.directory(f"{at}/foo"),
    "file": lambda at: tars.file(f"{at}/foo", b"new"),
    "symlink": lambda at: tars.symlink(f"{at}/foo", "baz"),
    "dangling": lambda at: tars.symlink(f"{at}/foo", "nothing"),
    "link here": lambda at: tars.link(f"{at}/foo", f"{at}/own"),
    "link below": lambda at: tars.link(f"{at}/foo", f"{at}/low"),
    "fifo": lambda at: write.header(f"{at}/foo".encode(), tar.FIFO, mode=0o644),
    "device": lambda at: write.header(f"{at}/foo".encode(), tar.CHAR, mode=0o644, major=1, minor=3),
    "deleted": lambda at: tars.file(f"{at}/.wh.foo", b""),
}
SEEN = {"file": "new", "symlink": "-> baz", "dangling": "-> nothing", "link here": "own", "link below": "low",
        "fifo": "0o10000", "device": "0o20000"}  # fmt: skip
LOOK = """
import json, stat
def seen(path):
    try: status = os.lstat(path)
    except FileNotFoundError: return "absent"
    if stat.S_ISLNK(status.st_mode): return "-> " + os.readlink(path)
    if stat.S_ISREG(status.st_mode): return open(path).read()
    return ",".join(os.listdir(path)) + "/" if stat.S_ISDIR(status.st_mode) else oct(stat.S_IFMT(status.st_mode))
print(json.dumps({at: [seen(at + "/foo"), seen(at + "/baz"), seen(at + "/low"), seen(at + "/nothing")]
                  for at in os.listdir(".")}))
"""


def outcome(first: str, second: str) -> str:
    """The later entry stands in the place of the earlier one, but for what is about the layers below only."""
    if second == "implied":  # a whiteout in foo
        return {"directory": "/", "implied": "/", "deleted": "absent"}.get(first) or SEEN[first]
    if second == "deleted":
        return {"directory": "/", "implied": "/", "deleted": "absent"}.get(first) or SEEN[first]
    if second == "directory":
        return "/" if first in ("implied", "deleted") else "bar/"
    return SEEN[second]


def test_each_kind_of_entry_in_the_place_of_each(driver: Any, tmp_path: Path) -> None:
    """In one layer. What a link leads to keeps everything, and what it does not lead to is not made."""
    pairs = {f"{a} {b}".replace(" ", "_"): (a, b) for a in KINDS for b in KINDS}
    lower = [
        tars.directory(f"{at}/foo")
        + tars.file(f"{at}/foo/bar")
        + tars.file(f"{at}/baz/bar")
        + tars.file(f"{at}/low", b"low")
        for at in pairs
    ]
    layer(driver, "lower", None, *lower)
    upper = [tars.file(f"{at}/own", b"own") + KINDS[a](at) + KINDS[b](at) for at, (a, b) in pairs.items()]
    layer(driver, "upper", "lower", *upper)
    found = json.loads(inside(driver.view("upper"), tmp_path / "m", LOOK))
    expected = {at: [outcome(a, b), "bar/", "low", "absent"] for at, (a, b) in pairs.items()}
    assert found == expected


def test_hard_links_to_the_layers_below(driver: Any, tmp_path: Path) -> None:
    layer(driver, "lower", None, tars.file("low", b"low"), tars.file("other", b"other"), tars.file("e/a", b"e"))
    layer(
        driver, "upper", "lower",
        tars.directory("d", mtime=10**18), tars.link("d/a", "low"), tars.link("d/b", "d/a"), tars.link("d/c", "low"),
        tars.link("x", "low"), tars.link("x", "other"),
        tars.directory("gone"), tars.link("gone/a", "low"), tars.symlink("gone", "e"),
        tars.file(".wh.low", b""), tars.link("moved", "low"),
    )  # fmt: skip
    program = """
names = ["d/a", "d/b", "d/c"]
print([open(name).read() for name in [*names, "x", "moved"]], len({os.stat(name).st_ino for name in names}))
print(int(os.stat("d").st_mtime), os.stat("d/a").st_nlink, open("gone/a").read(), os.path.exists("low"))
"""
    expected = "['low', 'low', 'low', 'other', 'low'] 1\n1000000000 4 e False\n"
    assert inside(driver.view("upper"), tmp_path / "m", program) == expected


def test_directories_that_are_implied_by_way_of_a_link(driver: Any, tmp_path: Path) -> None:
    """Their looks are those of the directory that they are, whatever it is called below."""
    layer(
        driver, "lower", None,
        tars.directory("usr/lib/x", mode=0o710), tars.directory("lib/x", mode=0o700),
        tars.directory("usr/lib/y", mode=0o710),
    )  # fmt: skip
    layer(
        driver, "upper", "lower",
        tars.symlink("lib", "usr/lib"), tars.file("lib/x/a"),
        tars.file("usr/lib/y/a"), tars.directory("lib/y", mode=0o777),
        tars.directory("e", mtime=10**18), tars.directory("d", mtime=2 * 10**18), tars.symlink("d", "e"),
    )  # fmt: skip
    program = """
print(os.readlink("lib"), [oct(os.stat("usr/lib/" + name).st_mode & 0o7777) for name in "xy"], os.listdir("lib/x"))
print(int(os.stat("e").st_mtime))
"""
    expected = "usr/lib ['0o710', '0o777'] ['a']\n1000000000\n"
    assert inside(driver.view("upper"), tmp_path / "m", program) == expected


def test_what_aufs_left_in_layers(driver: Any, tmp_path: Path) -> None:
    """Its book-keeping is left out; what hard links lead to there is a file of the layer."""
    layer(
        driver, "one", None,
        tars.directory(".wh..wh.plnk"), tars.file(".wh..wh.plnk/1.2", b"linked"), tars.link("a", ".wh..wh.plnk/1.2"),
        tars.directory(".wh..wh.orph"), tars.file(".wh..wh.orph/x"), tars.file(".wh..wh.aufs", b""),
        tars.file("d/.wh..wh.plnk/x"),
    )  # fmt: skip
    program = "print(sorted(os.listdir('.')), open('a').read(), os.stat('a').st_nlink)"
    assert inside(driver.view("one"), tmp_path / "m", program) == "['a'] linked 1\n"
    layer(
        driver, "two", "one",
        tars.file(".wh..wh.plnk/below/x"), tars.link(".wh..wh.plnk/3.4", "a"), tars.link("b", ".wh..wh.plnk/3.4"),
    )  # fmt: skip
    program = "print(sorted(os.listdir('.')), open('b').read(), os.stat('b').st_nlink)"
    assert inside(driver.view("two"), tmp_path / "m", program) == "['a', 'b'] linked 1\n"
