"""system check: every byte is accounted for, every kind of damage is found, and what can be repaired is."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from corten.layers.erofs import image as erofs
from corten.snapshots.guest_images import ImageFiles, uuid_of
from corten.spec.oci_image import chain_ids
from corten.supervisor import views
from e2e_parts.clients import CORTEN, Client, Done, execute
from e2e_parts.cortend import IMAGE, Cortend
from e2e_parts.others import archive, layer, registry

Json = dict[str, Any]
NAME = "check/app:1"
DAYS_AGO = time.time() - 3 * 24 * 3600


class World:
    """A daemon of its own with one loaded image, so that it may be damaged."""

    def __init__(self, root: Path) -> None:
        self.daemon = Cortend(root)
        self.daemon.start()
        self.root = self.daemon.data
        self.corten = Client("corten", CORTEN, self.daemon.address, root)
        self.tar = root / "app.tar"
        layers = [layer({"etc/one": "one\n"}, programs=True), layer({"etc/two": "two\n", "etc/big": "x" * 9000})]
        archive(self.tar, NAME, layers, {"Cmd": ["cat", "/etc/two"]})
        self.load()
        blobs = (self.root / "content/blobs/sha256").iterdir()
        self.blobs = sorted(blobs, key=lambda path: -path.stat().st_size)  # of the image, its first layer first

    def load(self) -> None:
        self.corten("load", "-q", "-i", str(self.tar))

    def check(self, *flags: str, code: int | None = None) -> Json:
        done = self.corten("system", "check", "--format", "json", *flags, code=code)
        report: Json = json.loads(done.out)
        assert done.code == any(not problem["Repair"] for problem in report["Problems"]), done
        return report

    def problems(self, *flags: str) -> list[tuple[str, str]]:
        return [(problem["Kind"], problem["Type"]) for problem in self.check(*flags)["Problems"]]

    def repaired(self, *expected: tuple[str, str], flags: tuple[str, ...] = ()) -> list[Json]:
        """These are the problems; a repair fixes them all, and then there is none."""
        assert self.problems(*flags) == list(expected)
        found: list[Json] = self.check("--repair", *flags, code=0)["Problems"]
        assert [(problem["Kind"], problem["Type"]) for problem in found] == list(expected)
        assert self.problems(*flags) == []
        return found

    def tree(self, path: str = "fs/etc/two") -> Path:
        """Directory of the tree that has this file: the image's second layer's."""
        (found,) = [tree for tree in (self.root / "snapshots").iterdir() if (tree / path).exists()]
        return found

    def run(self) -> str:
        return self.corten.out("run", "--rm", NAME)


@pytest.fixture(scope="module")
def whole() -> Iterator[World]:
    root = Path(tempfile.mkdtemp(prefix="ce-"))
    world = World(root)
    try:
        yield world
    finally:
        world.daemon.stop()
        shutil.rmtree(root, ignore_errors=True)


@pytest.fixture
def world(whole: World) -> Iterator[World]:
    yield whole
    whole.daemon.remove_everything()
    assert whole.problems("--deep") == []
    shutil.rmtree(whole.root / "quarantine", ignore_errors=True)


def on_disk(root: Path) -> tuple[int, int]:
    """Bytes and inodes as `du` counts them."""
    seen = {}
    for directory, below, files in os.walk(root):
        for path in [directory, *(os.path.join(directory, name) for name in below + files)]:
            status = os.lstat(path)
            seen[(status.st_dev, status.st_ino)] = status.st_blocks * 512
    return sum(seen.values()), len(seen)


def test_every_byte_is_attributed(world: World) -> None:
    script = "dd if=/dev/zero of=/x/data bs=1k count=300 2>/dev/null; ln /x/data /x/again; echo said; echo y > /own"
    world.corten("run", "--name", "one", "-v", "stuff:/x", IMAGE, "sh", "-c", script)
    world.corten("run", "-d", "--name", "runs", IMAGE, "sleep", "1000")
    (world.root / "content/ingest/sha256-beef.part").write_bytes(b"z" * 5000)
    (world.root / "234.567").mkdir()
    (world.root / "234.567/file").write_bytes(b"z" * 5000)
    (world.root / "mine").write_bytes(b"z" * 5000)
    try:
        report = world.check("-v")
        assert (report["Bytes"], report["Inodes"]) == on_disk(world.root)
        du = int(execute(["du", "-s", "-B1", str(world.root)]).out.split()[0])
        assert report["Bytes"] == du == sum(item["Bytes"] for item in report["Items"])
        kinds = {entry["Kind"]: entry for entry in report["Usage"]}
        assert sum(entry["Bytes"] for entry in kinds.values()) == du
        assert kinds["volumes"]["Count"] == 1 and kinds["volumes"]["Bytes"] >= 300_000
        assert kinds["containers"]["Count"] == 2 and kinds["logs"]["Count"] == 2
        assert kinds["partial"]["Inodes"] == 1 and kinds["other"]["Inodes"] == 2
        assert kinds["unknown"]["Count"] == 1 and kinds["blobs"]["Count"] == report["BlobsVerified"] == 4 + 3
        assert [problem["Path"] for problem in report["Problems"]] == ["mine"]
        text = world.corten("system", "check", code=1).out
        assert "unknown: mine is nothing that the engine put there" in text and f" {du} " in text
    finally:
        shutil.rmtree(world.root / "234.567")
        (world.root / "mine").unlink()
        (world.root / "content/ingest/sha256-beef.part").unlink()


def test_damaged_blob(world: World) -> None:
    blob = world.blobs[0]
    blob.chmod(0o644)
    with blob.open("r+b") as file:
        file.seek(1000)
        file.write(b"\xff\x00\xff")
    (problem,) = world.check()["Problems"]
    assert (problem["Kind"], problem["Type"]) == ("corrupt", "blob") and f"pull or load {NAME} again" in problem[
        "Remedy"
    ]
    report = world.check("--repair", code=0)
    (repaired,) = report["Problems"]
    assert repaired["Repair"].startswith("moved to quarantine/") and (world.root / repaired["Repair"][9:]).is_file()
    assert (
        next(entry for entry in report["Usage"] if entry["Kind"] == "quarantine")["Bytes"] >= blob.parent.stat().st_size
    )
    assert world.problems() == [("missing", "blob")]
    assert world.run() == "two"  # its trees are whole
    world.load()


@pytest.mark.parametrize("number", [0, 1, -1])
def test_missing_blob(world: World, number: int) -> None:
    world.blobs[number].unlink()
    (problem,) = world.check("--repair", code=1)["Problems"]
    assert (problem["Kind"], problem["Type"], problem["Mendable"]) == ("missing", "blob", False)
    assert problem["Message"].endswith(f"of {NAME} is not there")
    world.load()


def test_missing_blob_of_another_platform(world: World) -> None:
    world.daemon._process.terminate()  # type: ignore[union-attr]
    world.daemon._process.wait(20)  # type: ignore[union-attr]
    with closing(sqlite3.connect(world.root / "corten.db")) as connection, connection:
        (layers,) = connection.execute("SELECT layers FROM images WHERE config LIKE '%/etc/two%'").fetchone()
        stored = json.dumps({**json.loads(layers), "others": [f"sha256:{'c' * 64}"]})
        connection.execute("UPDATE images SET layers=? WHERE layers=?", (stored, layers))
    world.daemon.start()
    (problem,) = world.repaired(("missing", "blob"))
    assert problem["Remedy"] == f"forget what {NAME} is for other platforms" and world.run() == "two"


def test_a_pull_brings_what_is_missing(world: World, tmp_path: Path) -> None:
    with registry(tmp_path / "registry") as host:
        name = f"{host}/check/app:1"
        world.corten("tag", NAME, name)
        world.corten("push", "-q", name)
        for blob in world.blobs[:3]:
            blob.unlink()
        assert world.problems() == [("missing", "blob")] * 3
        world.corten("pull", "-q", name)
        world.corten("rmi", name)


def test_blob_and_part_that_nothing_needs(world: World) -> None:
    data = secrets.token_bytes(4000)
    blob = world.root / "content/blobs/sha256" / hashlib.sha256(data).hexdigest()
    part = world.root / "content/ingest" / f"sha256-{'a' * 64}.part"
    for path in (blob, part):
        path.write_bytes(data)
    assert world.problems() == []  # what is young may be resumed
    for path in (blob, part):
        os.utime(path, (DAYS_AGO, DAYS_AGO))
    world.repaired(("unused", "blob"), ("unused", "part"))
    assert not blob.exists() and not part.exists()
    blob.write_bytes(b"not what its name says")
    world.repaired(("corrupt", "blob"))
    assert not blob.exists()


def test_missing_layer(world: World) -> None:
    world.corten("run", "--name", "stopped", NAME)
    shutil.rmtree(world.tree())
    world.repaired(("missing", "layer"))
    assert world.run() == "two" and world.corten.out("start", "-a", "stopped") == "two"


def test_changed_layer(world: World) -> None:
    tree = world.tree()
    (tree / "fs/etc/two").write_text("TWO\n")
    assert world.problems() == []  # only reading all of it shows that
    (problem,) = world.repaired(("corrupt", "layer"), flags=("--deep",))
    assert "etc/two: has another content" in problem["Message"]
    assert world.run() == "two"


def test_layer_under_a_running_container(world: World) -> None:
    world.corten("run", "-d", "--name", "runs", NAME, "sleep", "1000")
    (world.tree() / "fs/etc/two").write_text("TWO\n")
    (problem,) = world.check("--deep", "--repair", code=1)["Problems"]
    assert "container runs runs on it; stop it first" in problem["Remedy"]
    world.corten("rm", "-f", "runs")
    world.repaired(("corrupt", "layer"), flags=("--deep",))


def guest_image(world: World) -> Path:
    """The image that a guest would have of NAME, written where the daemon keeps it."""
    found = json.loads(world.corten.out("inspect", NAME))[0]
    chain, places = chain_ids(found["RootFS"]["Layers"])[-1], found["GraphDriver"]["Data"]
    options = ["ro", f"lowerdir={places['UpperDir']}:{places['LowerDir']}", "index=off"]
    top = views.of_mount({"type": "overlay", "source": "overlay", "destination": "/", "options": options})
    files = ImageFiles(world.root / "vm" / "layers")
    out = files.begin(chain)
    erofs.write(top, out, uuid_of(chain), b"corten 1")
    os.close(out)
    os.close(top)
    files.finish(chain)
    return files.root / f"{chain.removeprefix('sha256:')}.erofs"


def test_images_for_guests(world: World) -> None:
    image = guest_image(world)
    (world.root / "vm/kernels").mkdir()
    (world.root / "vm/kernels/file").write_bytes(b"z" * 5000)
    report = world.check("--deep", code=0)
    assert report["Problems"] == [] and (report["Bytes"], report["Inodes"]) == on_disk(world.root)
    (guests,) = [entry for entry in report["Usage"] if entry["Kind"] == "guests"]
    assert guests["Count"] == 2 and guests["Bytes"] >= image.stat().st_blocks * 512 + 5000
    size = world.daemon.get("/system/df?type=image")["LayersSize"]
    assert size > image.stat().st_blocks * 512
    with image.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"\x55")
    assert world.problems() == []  # only reading all of it shows that
    (problem,) = world.repaired(("corrupt", "guest"), flags=("--deep",))
    assert "is damaged: it is not what is made of the layers" in problem["Message"] and not image.exists()
    guest_image(world).write_bytes(b"short")
    world.repaired(("corrupt", "guest"))
    for name in ("layers/" + "9" * 64 + ".erofs", "disks/strange"):
        (world.root / "vm" / name).parent.mkdir(exist_ok=True)
        (world.root / "vm" / name).write_bytes(b"of nothing")
    world.repaired(("unused", "guest"), ("unused", "guest"))
    image = guest_image(world)
    world.corten("rmi", NAME)
    assert not image.exists(), "it goes with its image"
    world.load()
    shutil.rmtree(world.root / "vm")


def test_the_disk_of_a_guest(world: World) -> None:
    """It counts with what its container wrote, in blocks that it has, and goes with it."""
    id = world.corten.out("create", "--name", "guest", NAME)
    disk = world.root / "containers" / id / "disk.ext4"
    disk.write_bytes(b"z" * 300_000)
    os.truncate(disk, 10 << 30)
    (found,) = [c for c in world.daemon.get("/system/df?type=container")["Containers"] if c["Id"] == id]
    assert 300_000 <= found["SizeRw"] == disk.stat().st_blocks * 512 < 1 << 20
    report = world.check("-v", code=0)
    assert [item["Kind"] for item in report["Items"] if item["Path"].endswith("/disk.ext4")] == ["containers"]
    world.corten("rm", "guest")
    deadline = time.monotonic() + 20
    while disk.exists():  # behind the answer
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_trees_without_a_record(world: World) -> None:
    (world.root / "snapshots/zzz/fs").mkdir(parents=True)
    (world.root / "snapshots/zzz/fs/file").write_text("x")
    world.repaired(("orphaned", "tree"))
    assert not (world.root / "snapshots/zzz").exists()


def test_container_without_directory_and_tree(world: World) -> None:
    id = world.corten.out("create", "--name", "one", NAME)
    shutil.rmtree(world.root / "containers" / id)
    world.repaired(("missing", "container"))
    assert world.corten.out("start", "-a", "one") == "two"
    shutil.rmtree(world.tree("work"))
    (problem,) = world.check("--repair", code=1)["Problems"]
    assert (problem["Kind"], problem["Type"]) == ("missing", "tree") and "corten rm one" in problem["Remedy"]
    world.corten("rm", "one")


def test_directory_of_no_container(world: World) -> None:
    bundle = world.root / "containers" / ("ab" * 32)
    bundle.mkdir()
    (bundle / f"{bundle.name}-json.log").write_text("precious\n")
    world.repaired(("orphaned", "container"))
    (kept,) = (world.root / "quarantine").iterdir()
    assert (kept / f"{bundle.name}-json.log").read_text() == "precious\n"


def test_volumes(world: World) -> None:
    world.corten("volume", "create", "lost")
    shutil.rmtree(world.root / "volumes/lost")
    stray = world.root / "volumes/stray/_data"
    stray.mkdir(parents=True)
    (stray / "precious").write_text("data")
    world.repaired(("orphaned", "volume"), ("missing", "volume"))
    assert (
        world.corten.out("run", "--rm", "-v", "stray:/x", "-v", "lost:/y", IMAGE, "sh", "-c", "cat /x/*; ls /y")
        == "data"
    )


def test_unknown_files(world: World) -> None:
    places = ["file", "content/file", "content/blobs/sha256/nothex", "snapshots/.odd", "containers/file"]
    for place in places:
        (world.root / place).write_text(place)
    (world.root / "directory/deep").mkdir(parents=True)
    found = world.repaired(*[("unknown", "file")] * (len(places) + 1))
    assert sorted(problem["Path"] for problem in found) == sorted([*places, "directory"])
    assert len(list((world.root / "quarantine").iterdir())) == len(places) + 1


def test_what_is_the_file_system_s(world: World) -> None:
    """A file system that begins at one of our directories has its own place in it for what fsck finds."""
    places = [world.root / place / "lost+found" for place in ("", "snapshots", "volumes", "containers")]
    for place in places:
        place.mkdir(mode=0o700)
        (place / "#12345").write_bytes(b"z" * 5000)
    try:
        report = world.check("--repair")
        assert report["Problems"] == []
        assert {e["Kind"]: e["Inodes"] for e in report["Usage"]}["other"] == 2 * len(places)
        assert (report["Bytes"], report["Inodes"]) == on_disk(world.root)
    finally:
        for place in places:
            shutil.rmtree(place)


def test_words(world: World, tmp_path: Path) -> None:
    assert world.corten("system", "check").out.endswith("blobs verified, nothing is wrong\n")
    assert "table or json" in world.corten("system", "check", "--format", "xml", code=1).err
    (world.root / "mine").write_text("")
    done: Done = world.corten("system", "check", code=1)
    assert done.out.endswith("1 problem; --repair fixes 1 of them\n")
    assert "repaired: moved to quarantine/" in world.corten("system", "check", "--repair").out
