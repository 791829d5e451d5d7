"""One suite for the seam `Instance`: our own runtime (both ways to make a process), runc and crun.

Each case has a process of its own, as each instance has a supervisor: another OCI binary's container becomes its child,
and its root is mounted in a mount namespace of its own.
"""

from __future__ import annotations

import io
import json
import os
import select
import shutil
import signal
import socket
import sys
import tarfile
import traceback
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from corten.errors import Conflict, Invalid, NotFound, StartFailed, Unsupported
from corten.instance.contract import (
    Changes,
    Created,
    Execution,
    Export,
    Fetch,
    Instance,
    Layer,
    Look,
    Process,
    Put,
    TreeRequest,
)
from corten.oci.template import template
from corten.runtime import cgroups
from corten.runtime.null import OF_CONTAINER
from corten.supervisor import clone, wire
from corten.supervisor.external import External
from corten.supervisor.native import Native
from corten.supervisor.requests import decode_create
from corten.tasks.leftovers import remove_cgroup
from taps import tap

Json = dict[str, Any]

BUSYBOX = "/bin/busybox"
PATIENCE = 20_000  # milliseconds
IMPLEMENTATIONS = ["corten", "corten by a helper", "/usr/sbin/runc", "/usr/bin/crun"]
pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
    pytest.mark.skipif(not os.path.exists(BUSYBOX), reason="needs Debian's busybox-static"),
]


class World:
    """Makes one instance; in the process of a case."""

    def __init__(self, root: Path, implementation: str) -> None:
        self.root = root
        self.implementation = implementation
        self.name = f"instance-{root.name}-{os.getpid()}"
        self.cgroup = f"/corten-instance-{os.getpid()}/{self.name}"  # the parent is this case's, to be removed by it
        self.bundle, self.run = root / "bundle", root / "run"
        for directory in (self.bundle, self.bundle / "upper", self.bundle / "work"):
            directory.mkdir()
        self.tree = root / "tree"
        for directory in (self.tree / "bin", self.tree / "etc"):
            directory.mkdir(parents=True)
        shutil.copy(BUSYBOX, self.tree / "bin/busybox")
        for applet in ("sh", "cat", "sleep", "id", "stty"):
            (self.tree / "bin" / applet).symlink_to("busybox")
        (self.tree / "etc/passwd").write_text("root:x:0:0::/root:/bin/sh\nbob:x:1000:1000::/:/bin/sh\n")
        self.output = b""

    def instance(self, *command: str, terminal: bool = False, host: bool = False) -> Instance:
        """`host`: in the host's network, and with a bind as its root."""
        spec = template()
        spec["process"] |= {"args": list(command), "terminal": terminal}
        spec["root"] = {"path": "rootfs"}
        spec["ociVersion"] = "1.0.2"  # crun 1.8 refuses versions that it does not implement
        spec["linux"]["cgroupsPath"] = self.cgroup
        if host:
            spec["linux"]["namespaces"] = [n for n in spec["linux"]["namespaces"] if n["type"] != "network"]
        (self.bundle / "config.json").write_text(json.dumps(spec))
        layers = [f"lowerdir={self.tree}", f"upperdir={self.bundle / 'upper'}", f"workdir={self.bundle / 'work'}"]
        root = {"type": "overlay", "source": "overlay", "destination": "/", "options": layers}
        if host:
            root = {"type": "bind", "source": str(self.tree), "destination": "/", "options": ["rbind"]}
        request = decode_create(
            {
                "id": self.name,
                "run": str(self.run),
                "bundle": str(self.bundle),
                "rootfs": [root],
                "runtime": self.implementation,
                "cgroup": self.cgroup,
                "terminal": terminal,
                "clone_namespaces": ["pid"] if self.implementation == "corten" else None,
            }
        )
        return External(request) if self.implementation.startswith("/") else Native(request, -1)

    def created(self, *command: str, host: bool = False) -> tuple[Instance, Created]:
        """With its output in a pipe that `read` reads."""
        instance = self.instance(*command, host=host)
        self.pipe, writer = os.pipe2(os.O_CLOEXEC)
        created = instance.create((OF_CONTAINER, writer, writer), (0, 0))
        os.close(writer)
        return instance, created

    def started(self, *command: str, host: bool = False) -> tuple[Instance, Created]:
        instance, created = self.created(*command, host=host)
        instance.start()
        return instance, created

    def read(self) -> bytes:
        """All of the output; at the end of every process that has it open."""
        return b"".join(iter(lambda: os.read(self.pipe, 65536), b""))

    def entered(self, instance: Instance, *command: str, user: str = "") -> tuple[Process, int]:
        """A further process that runs, and its output."""
        process = {"args": list(command), "env": ["PATH=/bin"], "cwd": "/", "user": {"username": user} if user else {}}
        reader, writer = os.pipe2(os.O_CLOEXEC)
        entered = instance.enter(Execution("e1", process, False, False, (0, 0)), (OF_CONTAINER, writer, writer))
        os.close(writer)
        wait(entered.ready)
        assert entered.started() == -1
        return entered, reader


def wait(fd: int) -> None:
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    assert poll.poll(PATIENCE), "nothing happened"


def ended(instance: Instance, created: Created) -> int:
    wait(created.ended)
    return instance.ending().status


def killed(instance: Instance, created: Created) -> None:
    instance.signal(signal.SIGKILL, False)
    assert ended(instance, created) == 137
    instance.delete()


Case = Callable[[World], None]
CASES: list[Case] = []


def case(function: Case) -> Case:
    CASES.append(function)
    return function


@case
def output_and_status(world: World) -> None:
    instance, created = world.created("sh", "-c", "echo a word; exit 3")
    assert created.pid in instance.processes() and created.console == -1
    assert os.path.exists(world.run / "supervisor.sock") and created.listener.fileno() >= 0
    instance.start()
    assert ended(instance, created) == 3
    assert world.read() == b"a word\n"
    instance.delete()


@case
def no_such_program(world: World) -> None:
    instance = world.instance("nosuch")
    try:
        instance.create((OF_CONTAINER,) * 3, (0, 0))  # runc looks for it here, others in `start`
        instance.start()
    except StartFailed as error:
        assert error.exit_code == 127, error.exit_code
    else:
        raise AssertionError("it runs")
    instance.delete()


@case
def deleted_before_its_start(world: World) -> None:
    instance, created = world.created("sleep", "1000")
    instance.delete()
    assert not os.path.exists(f"/proc/{created.pid}")
    instance.delete()  # idempotent


@case
def signals(world: World) -> None:
    instance, created = world.started("sh", "-c", "trap 'exit 5' TERM; echo ready; while :; do sleep 0.05; done")
    assert os.read(world.pipe, 100) == b"ready\n"
    instance.signal(signal.SIGTERM, False)
    assert ended(instance, created) == 5
    instance.delete()


@case
def signals_to_all(world: World) -> None:
    instance, created = world.started("sh", "-c", "sleep 1000 & trap '' TERM; echo ready; wait; exit 5")
    assert os.read(world.pipe, 100) == b"ready\n"
    assert len(instance.processes()) == 2
    instance.signal(signal.SIGTERM, True)  # of which the first process takes no notice
    assert ended(instance, created) == 5
    instance.delete()


@case
def paused(world: World) -> None:
    instance, created = world.started("sleep", "1000")
    instance.pause()
    instance.pause()
    instance.resume()
    instance.resume()
    killed(instance, created)


@case
def limits_and_counters(world: World) -> None:
    instance, created = world.started("sleep", "1000")
    instance.update({"pids": {"limit": 33}})
    counters = instance.counters()
    assert counters["pids"]["limit"] == 33 and {"cpu", "memory", "blkio"} <= counters.keys()
    killed(instance, created)


@case
def further_processes(world: World) -> None:
    instance, created = world.started("sleep", "1000")
    process, output = world.entered(instance, "sh", "-c", "id -u; exit 7", user="bob")
    wait(process.ended)
    assert process.reap() == 7
    assert os.read(output, 100) == b"1000\n"
    killed(instance, created)


@case
def a_further_process_is_killed_alone(world: World) -> None:
    instance, created = world.started("sleep", "1000")
    process, _ = world.entered(instance, "sleep", "1000")
    assert process.pid in instance.processes()
    process.signal(signal.SIGKILL)
    wait(process.ended)
    process.signal(signal.SIGKILL)  # it has ended: nothing happens
    assert process.reap() == 137
    process.signal(signal.SIGKILL)
    assert created.pid in instance.processes()
    killed(instance, created)


@case
def a_further_process_that_cannot_start(world: World) -> None:
    instance, created = world.started("sleep", "1000")
    execution = Execution("e1", {"args": ["nosuch"], "env": ["PATH=/bin"], "cwd": "/"}, False, False, (0, 0))
    try:
        process = instance.enter(execution, (OF_CONTAINER,) * 3)
        wait(process.ready)
        process.started()
    except StartFailed as error:
        assert error.exit_code == 127, error.exit_code
    else:
        raise AssertionError("it runs")
    assert instance.processes() == [created.pid]
    killed(instance, created)


@case
def a_terminal(world: World) -> None:
    instance = world.instance("sh", "-c", "stty size; read line; stty size", terminal=True)
    created = instance.create(None, (24, 80))
    instance.resize(created.console, (31, 97))
    instance.start()
    seen = b""
    while b"31 97" not in seen:
        seen += os.read(created.console, 100)
    instance.resize(created.console, (32, 98))
    os.write(created.console, b"\n")
    while b"32 98" not in seen:
        seen += os.read(created.console, 100)
    assert ended(instance, created) == 0
    instance.delete()


@case
def a_terminal_of_a_further_process(world: World) -> None:
    instance, created = world.started("sleep", "1000")
    process_ = {"args": ["sh", "-c", "read line; stty size"], "env": ["PATH=/bin"], "cwd": "/", "terminal": True}
    process = instance.enter(Execution("e1", process_, True, True, (0, 0)), None)
    console = None
    while console is None:
        wait(process.ready)
        console = process.started()
    assert console >= 0
    instance.resize(console, (31, 97))
    os.write(console, b"\n")
    seen = b""
    while b"31 97" not in seen:
        seen += os.read(console, 100)
    wait(process.ended)
    assert process.reap() == 0
    killed(instance, created)


class Conversation:
    """Work on a tree, and the other ends of its descriptors; as a context, its end is waited for."""

    def __init__(self, instance: Instance, request: TreeRequest, data: int = -1) -> None:
        self.reply, theirs = socket.socketpair()
        with theirs:
            self.work = instance.work(request, theirs.fileno(), data)
        if data >= 0:
            os.close(data)

    def __enter__(self) -> Conversation:
        return self

    def __exit__(self, *_: object) -> None:
        self.reply.close()
        wait(self.work.ended)
        self.work.reap()
        assert self.work.ended == -1

    def answers(self) -> list[Json]:
        """All of them, to the end."""
        return [answer for answer, _ in wire.frames(self.reply)]


def looked(instance: Instance, path: str) -> Json:
    with Conversation(instance, Look(path)) as conversation:
        (answer,) = conversation.answers()
    return answer


def fetched(instance: Instance, request: TreeRequest) -> tuple[list[Json], bytes]:
    reader, writer = os.pipe2(os.O_CLOEXEC)
    with Conversation(instance, request, writer) as conversation, os.fdopen(reader, "rb") as file:
        data = file.read()
        return conversation.answers(), data


def put(instance: Instance, request: Put, name: str, content: bytes) -> Json:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    reader, writer = os.pipe2(os.O_CLOEXEC)
    with os.fdopen(writer, "wb") as file, tarfile.open(fileobj=file, mode="w|") as tar:
        tar.addfile(info, io.BytesIO(content))
    with Conversation(instance, request, reader) as conversation:
        (answer,) = conversation.answers()
    return answer


@case
def its_files_are_looked_at(world: World) -> None:
    instance, created = world.started("sleep", "1000")
    found = looked(instance, "/etc/passwd")["ok"]
    assert (found["name"], found["size"]) == ("passwd", (world.tree / "etc/passwd").stat().st_size)
    assert "ok" in looked(instance, "/proc/version")  # what is mounted in it is seen as well
    error = looked(instance, "/etc/nothing")["error"]
    assert error["kind"] == "NotFound" and "/etc/nothing" in error["text"]
    killed(instance, created)


@case
def its_files_are_read(world: World) -> None:
    instance, created = world.started("sleep", "1000")
    answers, data = fetched(instance, Fetch("/etc/passwd"))
    assert answers[0]["ok"]["name"] == "passwd" and answers[1] == {"ok": {"left_out": 0}}
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        (member,) = tar.getmembers()
        file = tar.extractfile(member)
        assert file is not None and file.read() == (world.tree / "etc/passwd").read_bytes()
    killed(instance, created)


@case
def its_files_are_written(world: World) -> None:
    instance, created = world.started("sleep", "1000")
    assert put(instance, Put("/etc", owner="bob"), "motd", b"good day\n") == {"ok": {}}
    process, output = world.entered(instance, "sh", "-c", "cat /etc/motd; busybox stat -c %u /etc/motd")
    wait(process.ended)
    assert process.reap() == 0 and os.read(output, 100) == b"good day\n1000\n"
    assert put(instance, Put("/nowhere"), "motd", b"")["error"]["kind"] == "NotFound"
    killed(instance, created)


@case
def all_its_files(world: World) -> None:
    instance, created = world.started("sleep", "1000")
    answers, data = fetched(instance, Export())
    assert answers == [{"ok": {}}, {"ok": {"left_out": 0}}]
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        names = tar.getnames()
    assert {"bin/busybox", "etc/passwd"} <= {*names} and not any(name.startswith("proc/") for name in names)
    killed(instance, created)


@case
def what_has_changed_in_it(world: World) -> None:
    instance, created = world.started("sh", "-c", "echo word > /etc/new; rm /etc/passwd; echo ready; sleep 1000")
    assert os.read(world.pipe, 100) == b"ready\n"
    answers, data = fetched(instance, Changes())
    assert answers == [{"ok": {}}, {"ok": {}}]
    kinds = {change["Path"]: change["Kind"] for change in json.loads(data)}
    assert (kinds["/etc"], kinds["/etc/new"], kinds["/etc/passwd"]) == (0, 1, 2) and "/bin" not in kinds
    _, data = fetched(instance, Layer())
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        assert {"etc/new", "etc/.wh.passwd"} <= {*tar.getnames()}
    killed(instance, created)


@case
def work_ends_with_who_asked_for_it(world: World) -> None:
    instance, created = world.started("sleep", "1000")
    reader, writer = os.pipe2(os.O_CLOEXEC)
    with Conversation(instance, Fetch("/bin"), writer) as conversation:
        assert next(wire.frames(conversation.reply))[0]["ok"]["name"] == "bin"
    os.close(reader)  # which nothing has read: more was to come than a pipe holds
    with Conversation(instance, Put("/etc"), os.open("/dev/zero", os.O_RDONLY | os.O_CLOEXEC)) as conversation:
        conversation.work.end()
        assert conversation.answers() in ([], [{"ok": {}}])
    killed(instance, created)


@case
def an_interface(world: World) -> None:
    instance, created = world.started("sleep", "1000")
    name = f"ct{os.getpid()}"
    with tap(name) as device:
        _attached_and_detached(world, instance, created, name, device)
    killed(instance, created)


def _attached_and_detached(world: World, instance: Instance, created: Created, name: str, device: int) -> None:
    instance.attach("eth7", device)
    assert name not in [known for _, known in socket.if_nameindex()]
    with open(f"/proc/{created.pid}/net/dev") as file:
        assert "eth7:" in file.read()
    process, output = world.entered(instance, "cat", "/sys/class/net/eth7/flags")
    wait(process.ended)
    assert process.reap() == 0 and int(os.read(output, 100), 16) & 1  # IFF_UP
    frame = b"\xff" * 6 + b"\2" * 6 + b"\x88\xb5" + bytes(46)
    os.write(device, frame)  # this is the other side
    with open(f"/proc/{created.pid}/net/dev") as file:
        line = next(line for line in file if "eth7:" in line)
    assert line.split()[1:3] == [str(len(frame)), "1"]
    refused(partial(instance.attach, "eth7", device), Conflict, "eth7")
    refused(partial(instance.attach, "eth8", world.pipe), Invalid, "tap")
    instance.detach("eth7")
    with open(f"/proc/{created.pid}/net/dev") as file:
        assert "eth7:" not in file.read()
    refused(partial(instance.detach, "eth7"), NotFound, "eth7")
    os.close(output)


def refused(verb: Callable[[], object], kind: type[Exception], word: str) -> None:
    try:
        verb()
    except kind as error:
        assert word in str(error), error
    else:
        raise AssertionError("not refused")


@case
def out_of_memory(world: World) -> None:
    instance, created = world.created("sh", "-c", "x=aaaaaaaaaaaaaaaa; while :; do x=$x$x; done")
    instance.update({"memory": {"limit": 16 << 20, "swap": 16 << 20}})
    assert created.oom >= 0
    instance.start()
    wait(created.ended)
    wait(created.oom)  # v1 writes to it before the kernel kills, so not asked before the end
    assert instance.out_of_memory()
    assert instance.ending() == (137, True)
    instance.delete()


@case
def what_a_container_lacks(world: World) -> None:
    """In the host's network no interface is made or taken away, and a tree without layers has no changes to show."""
    instance, created = world.started("sleep", "1000", host=True)
    for verb in (partial(instance.attach, "eth0", 0), partial(instance.detach, "eth0")):
        refused(verb, Unsupported, "host's network")
    refused(partial(instance.work, Changes(), 0, 1), Unsupported, "snapshot")
    killed(instance, created)


@case
def gone(world: World) -> None:
    instance, created = world.started("sleep", "1000")
    killed(instance, created)
    try:
        instance.enter(Execution("e1", {"args": ["true"], "cwd": "/"}, False, False, (0, 0)), (OF_CONTAINER,) * 3)
    except (NotFound, StartFailed):
        return
    raise AssertionError("entered")


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("function", CASES, ids=lambda function: function.__name__)
def test_instance(function: Case, implementation: str, tmp_path: Path) -> None:
    if implementation.startswith("/") and not os.path.exists(implementation):
        pytest.skip(f"needs {implementation} (Debian's {os.path.basename(implementation)})")
    if function is an_interface and not os.path.exists("/dev/net/tun"):
        pytest.skip("needs /dev/net/tun")
    if implementation.endswith("crun") and len({h.version for h in cgroups.detect().hierarchies if h.controllers}) > 1:
        pytest.skip("needs all controllers in control groups of one version: crun supports no others")
    said = tmp_path / "said"
    pid = os.fork()
    if pid == 0:
        _run(function, tmp_path, implementation, said)
    _, status = os.waitpid(pid, 0)
    _, left = remove_cgroup(f"/corten-instance-{pid}/instance-{tmp_path.name}-{pid}")
    for hierarchy in cgroups.detect().hierarchies:
        with suppress(FileNotFoundError):
            os.rmdir(f"{hierarchy.mountpoint}/corten-instance-{pid}")
    assert status == 0, said.read_text()
    assert not left


def _run(function: Case, root: Path, implementation: str, said: Path) -> None:
    os.dup2(os.open(said, os.O_WRONLY | os.O_CREAT), 2)
    try:
        signal.alarm(60)
        function(World(root, implementation))
        clone.collect()
        try:
            os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            os._exit(0)
        print("a child is left", file=sys.stderr, flush=True)
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
    os._exit(1)
