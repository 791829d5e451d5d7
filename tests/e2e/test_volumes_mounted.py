"""Volumes that are file systems, and mounts of images."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e_parts.clients import Client
from e2e_parts.cortend import IMAGE

TMPFS = ("--opt", "type=tmpfs", "--opt", "device=tmpfs", "--opt", "o=size=1m,mode=751,nosuid")


def test_a_volume_in_memory_is_shared_while_one_has_it(docker: Client) -> None:
    docker("volume", "create", *TMPFS, "ram")
    docker("run", "-d", "--name", "one", "-v", "ram:/data", IMAGE, "sh", "-c", "echo said > /data/f; exec sleep 1000")
    look = "until cat /data/f; do sleep 0.05; done; stat -c %a /data; grep ' /data ' /proc/mounts"
    said, mode, mount = docker.out("run", "--rm", "-v", "ram:/data:ro", IMAGE, "sh", "-c", look).splitlines()
    assert (said, mode) == ("said", "751")
    assert mount.startswith("tmpfs /data tmpfs ro,nosuid") and "size=1024k" in mount
    docker("exec", "one", "touch", "/data/writable")
    docker("rm", "-f", "one")
    assert docker.out("run", "--rm", "-v", "ram:/data", IMAGE, "ls", "/data") == ""
    assert docker.out("volume", "inspect", "-f", "{{json .Options}}", "ram") == json.dumps(
        {"device": "tmpfs", "o": "size=1m,mode=751,nosuid", "type": "tmpfs"}, separators=(",", ":")
    )


def test_a_copy_with_a_stopped_container(docker: Client, tmp_path: Path) -> None:
    """While no other one has it, a volume in memory is empty, and what is copied into it is gone, as with dockerd; else
    it is that one's."""
    docker("volume", "create", *TMPFS, "ram")
    (tmp_path / "f").write_text("copied")
    docker("create", "--name", "stopped", "-v", "ram:/data", "-v", "/tmp:/data/inner", IMAGE, "cat", "/data/f")
    docker("cp", str(tmp_path / "f"), "stopped:/data/f")
    assert "Could not find the file /data/f" in docker("cp", "stopped:/data/f", "-", code=1).err
    docker("run", "-d", "--name", "one", "-v", "ram:/data", IMAGE, "sh", "-c", "echo said > /data/own; exec sleep 1000")
    while docker("exec", "one", "cat", "/data/own", code=None).out != "said\n":
        pass
    docker("cp", "stopped:/data/own", str(tmp_path / "own"))
    assert (tmp_path / "own").read_text() == "said\n"
    docker("cp", str(tmp_path / "f"), "stopped:/data/f")
    assert docker.out("exec", "one", "cat", "/data/f") == "copied"
    assert docker.out("start", "-a", "stopped") == "copied"
    docker("rm", "-f", "one", "stopped")
    docker("create", "--name", "read-only", "-v", "ram:/data:ro", IMAGE, "true")
    done = docker("cp", str(tmp_path / "f"), "read-only:/data/f", code=1)
    assert "read-only" in done.err, done


def test_containers_that_start_at_once_share_it(docker: Client) -> None:
    docker("volume", "create", *TMPFS, "ram")
    wait = "touch /data/$HOSTNAME; until test $(ls /data | wc -l) = 3; do sleep 0.05; done"
    started = [docker.popen("run", "-h", f"h{n}", "-v", "ram:/data", IMAGE, "sh", "-c", wait) for n in range(3)]
    assert [process.wait(60) for process in started] == [0, 0, 0]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[tuple[str, ...]]:
    """Options of a volume on a device with an empty ext4."""
    mkfs = shutil.which("mkfs.ext4") or "/usr/sbin/mkfs.ext4"
    if not Path(mkfs).exists() or not Path("/dev/loop-control").exists():
        pytest.skip("no mkfs.ext4 (Debian package e2fsprogs), or no loop devices")
    image = tmp_path / "disk"
    with image.open("wb") as file:
        file.truncate(8 << 20)
    subprocess.run([mkfs, "-q", str(image)], check=True)
    device = subprocess.run(["losetup", "-f", "--show", str(image)], capture_output=True, text=True, check=False)
    if device.returncode:
        pytest.skip(f"no loop device: {device.stderr.strip()}")
    yield ("-o", "type=ext4", "-o", f"device={device.stdout.strip()}")
    subprocess.run(["losetup", "-d", device.stdout.strip()], check=True)


def test_a_volume_on_a_device(docker: Client, tmp_path: Path, disk: tuple[str, ...]) -> None:
    docker("volume", "create", *disk, "disk")
    docker("run", "--rm", "-v", "disk:/d", IMAGE, "sh", "-c", "mkdir /d/sub; echo kept > /d/sub/f")
    assert docker.out("run", "--rm", "-v", "disk:/d", IMAGE, "cat", "/d/sub/f") == "kept"
    inside = "type=volume,src=disk,dst=/d,volume-subpath=sub"
    assert docker.out("run", "--rm", "--mount", inside, IMAGE, "ls", "/d") == "f"
    (tmp_path / "file").write_text("copied")
    for flags, place in ((("-v", "disk:/d"), "/d/sub"), (("--mount", inside), "/d")):
        id = docker.out("create", *flags, IMAGE, "cat", f"{place}/file")  # dockerd mounts it for a copy, too
        docker("cp", str(tmp_path / "file"), f"{id}:{place}/file")
        docker("cp", f"{id}:{place}/f", str(tmp_path / "f"))
        assert (tmp_path / "f").read_text() == "kept\n"
        assert docker.out("start", "-a", id) == "copied"
        docker("rm", id)
    done = docker("run", "--rm", "--mount", f"{inside}x", IMAGE, "true", code=125)
    assert "there is no 'subx' to mount" in done.err


@pytest.fixture
def full(docker: Client) -> Iterator[str]:
    """An image with something at /full."""
    program = "mkdir /full; echo image > /full/f; chown -R 5:6 /full; chmod 751 /full"
    docker("run", "--name", "made", IMAGE, "sh", "-c", program)
    docker("commit", "made", "e2e/full")
    docker("rm", "made")
    yield "e2e/full"
    docker("rmi", "e2e/full")


def test_an_empty_one_is_filled_from_the_image(docker: Client, full: str, disk: tuple[str, ...]) -> None:
    look = ("stat", "-c", "%a %u %n", "/full", "/full/f")
    docker("volume", "create", *disk, "disk")
    assert docker.out("run", "--rm", "-v", "disk:/full", full, "ls", "/full") == "lost+found"
    docker("run", "--rm", "-v", "disk:/d", full, "rmdir", "/d/lost+found")
    assert docker.out("run", "--rm", "-v", "disk:/full:nocopy", full, "ls", "/full") == ""
    assert docker.out("run", "--rm", "-v", "disk:/elsewhere", full, "ls", "/elsewhere") == ""
    expected = ["751 5 /full", "644 5 /full/f"]
    assert docker.out("run", "--rm", "-v", "disk:/full:ro", full, *look).splitlines() == expected
    assert docker.out("run", "--rm", "-v", "disk:/tmp", IMAGE, "ls", "/tmp") == "f"


def test_one_in_memory_is_filled_while_another_container_has_it(docker: Client, full: str) -> None:
    """That of a container alone begins empty, as with dockerd, whose copy is gone when that unmounts it."""
    docker("volume", "create", *TMPFS, "ram")
    assert docker.out("run", "--rm", "-v", "ram:/full", full, "ls", "/full") == ""
    docker("run", "-d", "--name", "one", "-v", "ram:/data", IMAGE, "sleep", "1000")
    assert docker.out("run", "--rm", "-v", "ram:/full", full, "cat", "/full/f") == "image"
    assert docker.out("exec", "one", "stat", "-c", "%a %u", "/data", "/data/f").split() == ["751", "5", "644", "5"]


def test_what_cannot_be_filled_is_not_created(docker: Client, full: str) -> None:
    docker("volume", "create", "-o", "type=nosuchfs", "-o", "device=x", "vol")
    assert "this machine has no file system 'nosuchfs'" in docker("create", "-v", "vol:/full", full, code=1).err
    assert docker.out("ps", "-aq") == ""


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("type=nosuchfs", "device=x"), "this machine has no file system 'nosuchfs'"),
        (("type=tmpfs", "device=tmpfs", "o=size=wrong,password=secret"), "cannot mount 'tmpfs' of type 'tmpfs'"),
        (("type=nfs", "device=:/x", "o=addr=name.invalid"), "error resolving passed in network volume address"),
    ],
)
def test_what_cannot_be_mounted_fails_the_start(docker: Client, options: tuple[str, ...], words: str) -> None:
    docker("volume", "create", *(word for option in options for word in ("-o", option)), "vol")
    done = docker("run", "--rm", "-v", "vol:/v", IMAGE, "true", code=125)
    assert words in done.err and "secret" not in done.err
    assert docker.out("ps", "-aq") == ""


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("type=tmpfs",), 'missing required option: "device"'),
        (("device=tmpfs",), 'missing required option: "type"'),
        (("type=none", "device=/x"), "needs the option o=bind"),
        (("size=1g",), "quota size requested but no quota support"),
        (("nope=1",), 'invalid option: "nope"'),
    ],
)
def test_options_that_are_refused(docker: Client, options: tuple[str, ...], words: str) -> None:
    done = docker("volume", "create", *(word for option in options for word in ("-o", option)), "vol", code=1)
    assert words in done.err
    assert docker.out("volume", "ls", "-q") == ""


def test_an_image_is_mounted_read_only(cli: Client) -> None:
    mount = f"type=image,src={IMAGE},dst=/other"
    look = "ls /other/bin/busybox; touch /other/x || echo refused"
    assert cli.out("run", "--rm", "--mount", mount, IMAGE, "sh", "-c", look).splitlines() == [
        "/other/bin/busybox", "refused",
    ]  # fmt: skip
    assert "busybox" in cli.out("run", "--rm", "--mount", f"{mount},image-subpath=bin", IMAGE, "ls", "/other")
    done = cli("run", "--rm", "--mount", f"{mount},image-subpath=nope", IMAGE, "true", code=None)
    assert done.code in (125, 127) and "has no 'nope' to mount" in done.err
    done = cli("create", "--mount", "type=image,src=nosuch:1,dst=/other", IMAGE, "true", code=1)
    assert "nosuch:1" in done.err


def test_an_image_of_several_layers_and_its_use(cli: Client) -> None:
    cli("run", "--name", "made", IMAGE, "sh", "-c", "mkdir /more; echo text > /more/f")
    cli("commit", "made", "e2e/layered")
    try:
        mount = "type=image,src=e2e/layered,dst=/m"
        assert cli.out("run", "--rm", "--mount", mount, IMAGE, "cat", "/m/more/f") == "text"
        assert cli.out("run", "--rm", "--mount", f"{mount},image-subpath=more", IMAGE, "ls", "/m") == "f"
        id = cli.out("create", "--mount", mount, IMAGE, "true")
        shown = json.loads(cli.out("inspect", "-f", "{{json .Mounts}}", id))
        assert [(each["Type"], each["Name"], each["Destination"], each["RW"]) for each in shown] == [
            ("image", "e2e/layered", "/m", False)
        ]
        done = cli("rmi", "e2e/layered", code=1)
        assert "using" in done.err
        cli("rm", "-f", id, "made")
    finally:
        cli("rmi", "-f", "e2e/layered")
