"""Binds and volumes of containers in guests, by the docker client: what a plain container has, and nothing left."""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

import foreign
from corten.vm import virtiofs
from e2e_parts import census, clients, guests
from e2e_parts.clients import Client
from e2e_parts.cortend import IMAGE, Cortend, short_root
from e2e_parts.patience import LIMIT, PATIENCE, until
from vm import machines

pytestmark = pytest.mark.timeout(LIMIT)
VM = ("--isolation", "vm", "--network", "none")


@pytest.fixture(scope="module")
def running(run_s_own: Path) -> Iterator[Cortend]:
    """With a guest made before, so that what all guests begin from is there."""
    if lacking := machines.missing():
        pytest.skip(lacking)
    if not os.path.exists(virtiofs.PROGRAM):
        pytest.skip("needs virtiofsd of QEMU 7.2 (Debian package qemu-system-common)")
    with short_root() as root, Cortend(root) as running:
        root.chmod(0o755)
        guests.begin(running, run_s_own)
        running.warm_up()
        yield running


@pytest.fixture(scope="module")
def daemon(running: Cortend) -> Cortend:
    return running


def test_binds_and_the_file_systems_beside_them(docker: Client, tmp_path: Path) -> None:
    """Owners stay, as a database wants; ro is the host's; root, /tmp, /dev/shm and the disk are as was asked."""
    data, fixed = tmp_path / "data", tmp_path / "fixed"
    data.mkdir()
    fixed.mkdir()
    (fixed / "text").write_text("fixed\n")
    script = """
        mkdir -m 700 /data/pg && chown 999:998 /data/pg && echo new > /data/pg/file && chown 999:998 /data/pg/file
        stat -c %u:%g:%a /data/pg; cat /fixed/text; echo x 2>/dev/null > /fixed/text || echo fixed stays
        echo x 2>/dev/null > /file || echo root stays; echo x > /tmp/file && cat /tmp/file
        stat -c %a:%u:%g /; df -m /dev/shm | tail -n 1 | tr -s ' ' | cut -d ' ' -f 2
    """
    flags = ("--rm", "--read-only", "--tmpfs", "/tmp", "--shm-size", "32m",
             "-v", f"{data}:/data", "--mount", f"type=bind,source={fixed},target=/fixed,readonly")  # fmt: skip
    plain = docker.out("run", *flags, "--network", "none", IMAGE, "sh", "-c", script)
    made = (data / "pg/file").stat()
    shutil.rmtree(data / "pg")
    assert docker.out("run", *flags, *VM, IMAGE, "sh", "-c", script) == plain
    again = (data / "pg/file").stat()
    assert (again.st_uid, again.st_gid) == (made.st_uid, made.st_gid) == (999, 998)
    assert plain.splitlines()[:5] == ["999:998:700", "fixed", "fixed stays", "root stays", "x"]
    assert plain.splitlines()[-1] == "32"


@pytest.mark.usefixtures("no_images_left")
def test_files_of_one_whose_image_has_a_single_program(docker: Client, tmp_path: Path) -> None:
    """Looked at in a guest whose program is never started, and is none of the image's."""
    tar, out = tmp_path / "hello.tar", tmp_path / "hello"
    tar.write_bytes(foreign.layer(foreign.HERE))
    docker("import", str(tar), "hello:1")
    assert docker.out("run", "--name", "guest", *VM, "hello:1", "/hello") == foreign.HERE
    assert "A /made" in docker.out("diff", "guest").splitlines()
    docker("cp", "guest:/hello", str(out))
    assert out.read_bytes().startswith(b"\x7fELF")
    docker("rm", "guest")


def test_a_volume_is_shared_with_a_plain_container(docker: Client, tmp_path: Path) -> None:
    docker("run", "-d", "--name", "guest", *VM, "-v", "shared:/data", "-v", "/cache", IMAGE, "sleep", "1000")
    docker("exec", "guest", "sh", "-c", "echo guest > /data/one && chown 999 /data/one")
    plain = ("run", "--rm", "--network", "none", "--volumes-from", "guest", IMAGE, "sh", "-c")
    assert docker.out(*plain, "cat /data/one; stat -c %u /data/one; echo plain > /data/two; ls -d /cache") == (
        "guest\n999\n/cache"
    )
    assert docker.out("exec", "guest", "cat", "/data/two") == "plain"
    (tmp_path / "copied").write_text("copied\n")
    docker("cp", str(tmp_path / "copied"), "guest:/data/three")
    assert docker.out(*plain, "cat /data/three") == "copied"
    docker("cp", "guest:/data/two", str(tmp_path / "back"))
    assert (tmp_path / "back").read_text() == "plain\n"
    assert "volume is in use" in docker("volume", "rm", "shared", code=1).err
    docker("create", "--name", "plain", "-v", "shared:/data", IMAGE, "true")
    assert mounts(docker, "guest")["/data"] == mounts(docker, "plain")["/data"]
    assert mounts(docker, "guest")["/cache"]["Type"] == "volume"
    subpath = ("--mount", "type=volume,source=shared,target=/sub,volume-subpath=below")
    docker("exec", "guest", "sh", "-c", "mkdir /data/below && echo below > /data/below/file")
    script = "cat /sub/file; echo x 2>/dev/null > /data/one || echo read-only"
    said = docker.out("run", "--rm", *VM, *subpath, "--volumes-from", "guest:ro", IMAGE, "sh", "-c", script)
    assert said == "below\nread-only"


def mounts(docker: Client, name: str) -> dict[str, dict[str, Any]]:
    return {mount["Destination"]: mount for mount in json.loads(docker.out("inspect", name))[0]["Mounts"]}


def test_an_anonymous_volume_begins_with_what_the_image_has(docker: Client, daemon: Cortend) -> None:
    script = "mkdir -m 750 /store && echo first > /store/file && chown -R 999:998 /store"
    docker("run", "--name", "made", "--network", "none", IMAGE, "sh", "-c", script)
    docker("commit", "--change", "VOLUME /store", "made", "with-volume")
    try:
        look = "stat -c %u:%g:%a /store; cat /store/file; df -m / | tail -n 1 | tr -s ' ' | cut -d ' ' -f 2"
        *lines, size = docker.out(
            "run", "--rm", *VM, "--storage-opt", "size=256m", "with-volume", "sh", "-c", look
        ).splitlines()
        assert lines == ["999:998:750", "first"]
        assert 180 < int(size) <= 256
        assert docker.out("volume", "ls", "-q") == ""
        events = {(event["Type"], event["Action"]) for event in daemon.events(0) if event["Type"] == "volume"}
        assert {("volume", action) for action in ("create", "mount", "unmount", "destroy")} <= events
    finally:
        docker("rm", "made")
        docker("rmi", "with-volume")


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("-v", "/tmp:/x:rshared"), "isolation vm and the propagation rshared of /x"),
        (("--storage-opt", "size=1m"), "a guest's disk has 16 MiB to 16 TiB, not 1m"),
        (("--storage-opt", "other=1"), "unknown storage option for a guest: other"),
    ],
)
def test_refused_at_its_creation(docker: Client, flags: tuple[str, str], words: str) -> None:
    assert words in docker("create", *VM, *flags, IMAGE, "true", code=1).err


def test_a_socket_is_refused_at_the_start(docker: Client, daemon: Cortend) -> None:
    refused = docker("run", *VM, "-v", f"{daemon.socket}:/socket", IMAGE, "true", code=None)
    assert refused.code in (125, 126, 127)
    assert "a socket of the host cannot be reached from a guest" in refused.err


def test_the_end_of_virtiofsd_is_the_end_of_the_guest(docker: Client) -> None:
    docker("run", "-d", "--name", "guest", *VM, "-v", "shared:/data", IMAGE, "sh", "-c",
           "while echo x > /data/file; do :; done")  # fmt: skip
    os.kill(serving(docker, "guest")[-1], signal.SIGKILL)
    assert docker.out("wait", "guest") == "137"
    assert "virtiofsd, which serves its binds and volumes, has ended" in docker.out(
        "inspect", "-f", "{{.State.Error}}", "guest"
    )
    docker("start", "guest")
    assert serving(docker, "guest")


def test_nothing_is_left_when_its_supervisor_is_killed(docker: Client) -> None:
    docker("run", "-d", "--name", "guest", *VM, "-v", "shared:/data", IMAGE, "sleep", "1000")
    servers = serving(docker, "guest")
    with ends(servers):
        os.kill(parent(servers[0]), signal.SIGKILL)
    assert docker.out("wait", "guest") == "137"


def test_a_daemon_that_is_killed_finds_it_again(running: Cortend) -> None:
    """Not by the machine's census, which knows a daemon by its processes."""
    docker = Client("docker", clients.available()["docker"], running.address, running.root)
    docker("run", "-d", "--name", "guest", *VM, "-v", "/data", IMAGE, "sleep", "1000")
    servers = serving(docker, "guest")
    running.restart_killed()
    assert serving(docker, "guest") == servers
    docker("exec", "guest", "touch", "/data/file")
    id = docker.out("inspect", "-f", "{{.Id}}", "guest")
    with ends([*servers, parent(servers[0]), int(docker.out("inspect", "-f", "{{.State.Pid}}", "guest"))]):
        docker("rm", "-f", "-v", "guest")
    assert docker.out("volume", "ls", "-q") == ""
    # The removal goes on behind the answer.
    until(lambda: not [name for root in (running.exec, running.data) for name in census.below(root) if id in name])


@contextmanager
def ends(processes: list[int]) -> Iterator[None]:
    """All of them end, by what is done in it."""
    with ExitStack() as held:
        opened = [os.pidfd_open(pid) for pid in processes]
        for end in opened:
            held.callback(os.close, end)
        yield
        for end in opened:
            assert select.select([end], [], [], PATIENCE)[0]


def serving(docker: Client, name: str) -> list[int]:
    """Processes of virtiofsd, the first one first."""
    id = docker.out("inspect", "-f", "{{.Id}}", name)
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if id in Path(f"/proc/{pid}/cgroup").read_text() and Path(f"/proc/{pid}/comm").read_text() == "virtiofsd\n":
                found.append(int(pid))
        except (FileNotFoundError, ProcessLookupError):
            continue
    return sorted(found)


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
