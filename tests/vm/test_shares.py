"""Directories of the host in real machines: what is written there, who may do what, and what is left at the end."""

from __future__ import annotations

import json
import os
import signal
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from corten.instance.contract import Created, Instance
from corten.tasks.leftovers import remove_cgroup
from corten.vm import virtiofs
from corten.vm.template import Template
from instance_parts.world import ended, killed, remove_group, run_case
from vm.test_instances import InMachine

Json = dict[str, Any]

pytestmark = pytest.mark.skipif(not os.path.exists(virtiofs.PROGRAM), reason="needs virtiofsd of QEMU 7.2")


class Sharing(InMachine):
    """`mounts` are added to the specification: (source, destination, options)."""

    def with_mounts(self, *mounts: tuple[Path, str, list[str]]) -> None:
        self._mounts = mounts

    def instance(self, *command: str, terminal: bool = False, host: bool = False) -> Instance:
        made = super().instance(*command, terminal=terminal, host=host)
        file = self.bundle / "config.json"
        spec: Json = json.loads(file.read_text())
        for kept in spec["process"]["capabilities"].values():
            kept += ["CAP_CHOWN", "CAP_FOWNER", "CAP_MKNOD", "CAP_DAC_OVERRIDE", "CAP_FSETID"]
        for source, destination, options in self._mounts:
            spec["mounts"].append(
                {"destination": destination, "type": "bind", "source": str(source), "options": options}
            )
        file.write_text(json.dumps(spec))
        return made

    def ran(self, *command: str) -> tuple[int, bytes]:
        instance, created = self.started(*command)
        status, said = ended(instance, created), self.read()
        instance.delete()
        return status, said


CASES: list[Callable[[Sharing], None]] = []


def case(function: Callable[[Sharing], None]) -> Callable[[Sharing], None]:
    CASES.append(function)
    return function


@case
def files_are_the_hosts(world: Sharing) -> None:
    """Owners and modes as they are; a file alone; read-only as the mount says; a mount below; a link leads nowhere."""
    shared, fixed, alone = world.root / "shared", world.root / "fixed", world.root / "alone"
    shared.mkdir()
    fixed.mkdir()
    (fixed / "text").write_text("fixed\n")
    alone.write_text("alone\n")
    (shared / "out").symlink_to("/etc/passwd")
    world.with_mounts(
        (shared, "/data", ["rbind", "rprivate"]),
        (fixed, "/fixed", ["rbind", "rro", "rprivate"]),
        (alone, "/etc/alone", ["rbind", "rprivate"]),
    )
    world.tree.chmod(0o711)
    os.chown(world.tree, 0, 7)
    script = """
        exec 2>&1
        busybox mkdir -m 700 /data/pg && busybox chown 999:998 /data/pg && echo new > /data/pg/file
        busybox chown 999:998 /data/pg/file && busybox chmod 4750 /data/pg/file
        cat /fixed/text /etc/alone /data/out; echo changed > /etc/alone
        echo x > /fixed/text || echo read-only
        busybox mknod /data/device c 1 3 || echo no device
        busybox stat -c %u:%g:%a /data/pg/file /
    """
    status, said = world.ran("sh", "-c", script)
    lines = said.decode().splitlines()
    assert status == 0, lines
    assert {"fixed", "alone", "read-only", "no device", "999:998:4750", "0:7:711"} <= {*lines}
    assert "bob:x:1000:1000::/:/bin/sh" in lines  # of the container, which the link is in
    made = (shared / "pg/file").stat()
    assert (made.st_uid, made.st_gid, stat.S_IMODE(made.st_mode)) == (999, 998, 0o4750)
    assert (shared / "pg/file").read_text() == "new\n" and alone.read_text() == "changed\n"
    assert (fixed / "text").read_text() == "fixed\n" and not (shared / "device").exists()


@case
def its_server_is_confined(world: Sharing) -> None:
    shared = world.root / "shared"
    shared.mkdir()
    world.with_mounts((shared, "/data", ["rbind", "rprivate"]))
    instance, created = world.started("sleep", "1000")
    first, second = servers(created)
    status = fields(second)
    bits = (0, 1, 3, 4, 6, 7)  # chown, dac_override, fowner, fsetid, setgid, setuid
    assert int(status["CapEff"], 16) == int(status["CapPrm"], 16) == sum(1 << bit for bit in bits)
    assert int(status["CapBnd"], 16) == int(status["CapInh"], 16) == int(status["CapAmb"], 16) == 0
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
    assert int(fields(first)["CapEff"], 16) == 0
    for pid in (first, second):
        for kind in ("mnt", "pid", "net", "ipc", "uts", "cgroup"):
            assert os.readlink(f"/proc/{pid}/ns/{kind}") != os.readlink(f"/proc/self/ns/{kind}"), kind
        assert world.name in Path(f"/proc/{pid}/cgroup").read_text()
    mounts = [line.split() for line in Path(f"/proc/{second}/mountinfo").read_text().splitlines()]
    assert {line[4] for line in mounts} == {"/", "/0"}
    (root,) = (line for line in mounts if line[4] == "/")
    assert "ro" in root[5].split(",")
    (share,) = (line for line in mounts if line[4] == "/0")
    assert {"nosuid", "nodev"} <= {*share[5].split(",")}
    assert fields(created.pid)["CapEff"] == "0" * 16
    killed(instance, created)
    assert not alive(first) and not alive(second)


@case
def when_its_server_is_killed(world: Sharing) -> None:
    shared = world.root / "shared"
    shared.mkdir()
    world.with_mounts((shared, "/data", ["rbind", "rprivate"]))
    instance, created = world.started("sh", "-c", "echo begun; while echo x > /data/file; do :; done")
    assert world.some(world.pipe) == b"begun\n"
    os.kill(servers(created)[1], signal.SIGKILL)
    assert ended(instance, created) == 137
    assert "virtiofsd, which serves its binds and volumes, has ended" in instance.ending().error
    instance.delete()


@case
def what_is_no_file_is_refused(world: Sharing) -> None:
    pipe = world.root / "pipe"
    os.mkfifo(pipe)
    world.with_mounts((pipe, "/data", ["rbind", "rprivate"]))
    with pytest.raises(Exception, match="a named pipe of the host cannot be reached from a guest"):
        world.created("true")
    world.made.delete()


def servers(created: Created) -> list[int]:
    """The process that waits for the other, and the one that works."""
    children = [int(pid) for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()]
    (first,) = (pid for pid in children if Path(f"/proc/{pid}/comm").read_text() == "virtiofsd\n")
    assert first != created.pid
    return [first, *map(int, Path(f"/proc/{first}/task/{first}/children").read_text().split())]


def fields(pid: int) -> dict[str, str]:
    return dict(line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())


def alive(pid: int) -> bool:
    return os.path.exists(f"/proc/{pid}") and fields(pid)["State"][0] != "Z"


@pytest.mark.parametrize("function", CASES, ids=lambda function: function.__name__)
def test_shares(function: Callable[[Sharing], None], agents_template: Template, tmp_path: Path) -> None:
    said = tmp_path / "said"
    pid = os.fork()
    if pid == 0:
        run_case(lambda: function(Sharing(tmp_path, agents_template)), said)
    _, status = os.waitpid(pid, 0)
    _, left = remove_cgroup(f"/corten-instance-{pid}/instance-{tmp_path.name}-{pid}")
    remove_group(pid)
    assert status == 0, said.read_text()
    assert not left
