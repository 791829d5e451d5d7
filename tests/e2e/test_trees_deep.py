"""What a container makes of its own tree stays its own: depth, holes, and things that come and go under way."""

from __future__ import annotations

import io
import json
import os
import subprocess
import tarfile
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from e2e_parts import census
from e2e_parts.clients import Client
from e2e_parts.cortend import IMAGE, Cortend
from e2e_parts.others import archive, layer

pytestmark = pytest.mark.usefixtures("no_images_left")

Json = dict[str, Any]
LONGEST = 4095  # bytes of a path


def dig(top: Path, depth: int) -> None:
    """`depth` directories named d, one in another, and a file in the last, as a program makes them that never says the
    whole path."""
    here = os.open(top, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir("d", 0o755, dir_fd=here)
        below = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(os.open("leaf", os.O_CREAT | os.O_WRONLY, 0o644, dir_fd=here))
    os.close(here)


def own_tree(daemon: Cortend, mark: str) -> Path:
    """The directory of the container that has made a directory of this name."""
    (found,) = [tree / "fs" for tree in (daemon.data / "snapshots").iterdir() if (tree / "fs" / mark).exists()]
    return found


def problems(corten: Client) -> list[Json]:
    done = corten("system", "check", "--format", "json", code=None)
    assert not done.err, done
    found: list[Json] = json.loads(done.out)["Problems"]
    return found


def emptied(*places: Path) -> bool:
    """Waits until nothing is in them, or 20 seconds."""
    deadline = time.monotonic() + 20
    while any(place.is_dir() and os.listdir(place) for place in places) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not any(place.is_dir() and os.listdir(place) for place in places)


@pytest.mark.parametrize("depth", [600, 1500, 5000])
def test_deep_container(daemon: Cortend, docker: Client, depth: int) -> None:
    """dockerd leaves out of tars what no path leads to, and does not list it either: its diff fails. Ours lists the
    rest."""
    log = daemon.log.stat().st_size
    said = min(depth, (LONGEST - len("t")) // 2)  # directories that a path leads to
    docker("run", "--name", "box", IMAGE, "sh", "-c", "mkdir /t; echo x > /t/z")
    dig(own_tree(daemon, "t") / "t", depth)
    docker("run", "--name", "other", IMAGE, "sh", "-c", "echo 12345 > /own")
    sizes = {"box": "2B", "other": "6B"}
    listed = docker.out("ps", "-as", "--format", "{{.Names}} {{.Size}}").splitlines()
    assert {line.split()[0]: line.split()[1] for line in listed} == sizes
    containers = {one["Names"][0][1:]: one["SizeRw"] for one in daemon.get("/system/df")["Containers"]}
    assert containers == {"box": 2, "other": 6}
    assert docker.out("inspect", "-s", "-f", "{{.SizeRw}}", "box") == "2"
    assert len(docker.out("diff", "box").splitlines()) >= said + 1
    for command in (("export", "box"), ("cp", "box:/t", "-")):
        status = subprocess.run([*docker.command, *command], capture_output=True, env=docker.env, timeout=60)
        assert status.returncode == 0, status.stderr
        with tarfile.open(fileobj=io.BytesIO(status.stdout)) as tar:
            names = tar.getnames()
        assert sum(name.endswith("/d") for name in names) == said and "t/z" in names
        assert any(name.endswith("leaf") for name in names) == (said == depth)
    docker("commit", "box", "deep:1")
    count = docker.out("run", "--rm", "--name", "again", "deep:1", "sh", "-c", "cat /t/z; find /t -name d | wc -l")
    assert count.split()[0] == "x" and int(count.split()[1]) >= min(said, 1900)  # busybox's find has a path of its own
    docker("rm", "box", "other")
    assert emptied(daemon.data / "snapshots/.trash")
    assert ("were left out" in daemon.log.read_text()[log:]) == (said < depth)


def test_deep_copy_in(docker: Client) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for level in range(1, 1501):
            info = tarfile.TarInfo("d/" * level)
            info.type, info.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(info)
    docker("run", "-d", "--name", "box", IMAGE, "sleep", "1000")
    docker("exec", "box", "mkdir", "/t")
    docker("cp", "-", "box:/t", input=buffer.getvalue())
    assert docker.out("exec", "box", "sh", "-c", "find /t -name d | wc -l") == "1500"


def test_deep_image_with_a_volume(docker: Client, tmp_path: Path) -> None:
    """A new volume begins with what the image has, however deep that is, holes and all."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for level in range(901):
            info = tarfile.TarInfo("data/" + "d/" * level)
            info.type, info.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(info)
    archive(tmp_path / "i.tar", "volume:1", [layer({}, programs=True), buffer.getvalue()], {"Volumes": {"/data": {}}})
    docker("load", "-i", str(tmp_path / "i.tar"))
    count = "busybox find /data -name d | busybox wc -l"
    assert docker.out("run", "--rm", "volume:1", "/bin/busybox", "sh", "-c", f"PATH=/bin; {count}") == "900"


def test_deep_volume(daemon: Cortend, corten: Client) -> None:
    """It is erased, and so are those that are removed after it."""
    for name in ("deep", "flat"):
        corten("volume", "create", name)
        (daemon.data / f"volumes/{name}/_data/f").write_text("12345")
    dig(daemon.data / "volumes/deep/_data", 5000)
    sizes = {one["Name"]: one["UsageData"]["Size"] for one in daemon.get("/system/df")["Volumes"]}
    assert sizes == {"deep": 5, "flat": 5}
    corten("volume", "rm", "deep")
    corten("volume", "rm", "flat")
    assert emptied(daemon.data / "volumes/.removed")
    assert corten("system", "check").code == 0


def test_what_cannot_be_erased_is_said(daemon: Cortend, corten: Client) -> None:
    corten("volume", "create", "stays")
    corten("volume", "create", "goes")
    data = daemon.data / "volumes/stays/_data"
    (data / "kept").write_text("x")
    (data / "other").write_text("x")
    if subprocess.run(["chattr", "+i", data / "kept"], capture_output=True).returncode:
        pytest.skip("no immutable files on this file system")
    removed = daemon.data / "volumes/.removed"
    try:
        corten("volume", "rm", "stays", "goes")
        deadline = time.monotonic() + 20
        while sum("/_data/" in name for name in census.below(removed)) != 1 or len(os.listdir(removed)) != 1:
            assert time.monotonic() < deadline, census.below(removed)
            time.sleep(0.02)
        (problem,) = problems(corten)
        assert problem["Path"].startswith("volumes/.removed/") and "'kept'" in problem["Message"]
    finally:
        for path in removed.glob("*/_data/kept"):
            subprocess.run(["chattr", "-i", path], check=True)
    corten("system", "check", "--repair")
    assert os.listdir(removed) == [] and corten("system", "check").code == 0


def test_holes(daemon: Cortend, docker: Client) -> None:
    """Terabytes that are not there: in a tar they take no place, and in an image they are not there either."""
    docker("run", "--name", "box", IMAGE, "sh", "-c", "mkdir /t; echo begin > /t/hole; echo z > /t/z")
    os.truncate(own_tree(daemon, "t") / "t/hole", 8 << 40)
    for command in (("export", "box"), ("cp", "box:/t", "-")):
        out = subprocess.run([*docker.command, *command], capture_output=True, env=docker.env, timeout=60).stdout
        with tarfile.open(fileobj=io.BytesIO(out)) as tar:
            assert tar.getmember("t/hole").size == 8 << 40
            (end,) = [tar.extractfile(member) for member in tar if member.name == "t/z"]
            assert end is not None and end.read() == b"z\n"
    docker("commit", "box", "hole:1")
    shown = docker.out("run", "--rm", "hole:1", "sh", "-c", "stat -c '%s %b' /t/hole; head -c 6 /t/hole")
    size, blocks, begin = shown.split()
    assert int(size) == 8 << 40 and int(blocks) < 1000 and begin == "begin"


CHURN = """
while :; do
    mkdir -p /t/a/b/c/d /t/e/f; mv /t/a /t/z; touch /t/z/b/x; ln -s x /t/e/l; rm -rf /t/z /t/e/f; mkdir /t/e/l2
    rm -rf /t/e
done
"""


def test_a_tree_that_changes_all_the_time(daemon: Cortend, docker: Client) -> None:
    docker("run", "-d", "--name", "box", IMAGE, "sh", "-c", CHURN)
    docker("run", "--name", "other", IMAGE, "true")
    for _ in range(60):
        assert isinstance(daemon.get("/containers/box/changes"), list)
        assert len(daemon.get("/containers/json?all=1&size=1")) == 2
        assert len(daemon.get("/system/df")["Containers"]) == 2
    for _ in range(10):
        tar = subprocess.run([*docker.command, "export", "box"], capture_output=True, env=docker.env, timeout=60)
        assert tar.returncode == 0, tar.stderr
        docker("commit", "--pause=false", "box", "churn:1")


def test_what_is_removed_while_all_are_counted(daemon: Cortend, corten: Client) -> None:
    """Containers and volumes that come and go are no errors, and no faults, of what is said about all."""
    stop, failed = threading.Event(), list[str]()

    def come_and_go(number: int) -> None:
        while not stop.is_set():
            name = f"comes{number}"
            for arguments in (("create", "--name", name, "-v", f"{name}:/v", IMAGE), ("rm", "-v", name)):
                done = corten(*arguments, code=None)
                if done.code:
                    failed.append(done.err)
            corten("volume", "rm", name)

    threads = [threading.Thread(target=come_and_go, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(15):
            assert problems(corten) == []
            for path in ("/system/df", "/containers/json?all=1&size=1", "/volumes", "/images/json"):
                daemon.get(path)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert not failed
