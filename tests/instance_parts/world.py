"""What a case of the seam `Instance` has: one instance, in a process of its own."""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from corten.errors import Unsupported
from corten.instance.contract import (
    Created,
    Execution,
    Instance,
    Process,
)
from corten.oci.template import template
from corten.runtime import cgroups
from corten.runtime.null import OF_CONTAINER
from corten.supervisor import clone
from corten.supervisor.external import External
from corten.supervisor.native import Native
from corten.supervisor.requests import Create, decode_create
from corten.supervisor.virtual import Virtual
from e2e_parts import patience
from guests import ProcessHost

Json = dict[str, Any]

BUSYBOX = "/bin/busybox"
PATIENCE = 1000 * patience.PATIENCE  # milliseconds


class World:
    """Makes one instance; in the process of a case."""

    tap_flags = 0
    machine = False  # with a kernel of its own

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
        self.mounts: list[Json] = []
        self.guest = implementation == "vm"

    def instance(self, *command: str, terminal: bool = False, host: bool = False) -> Instance:
        """`host`: in the host's network, and with a bind as its root."""
        spec = template()
        spec["process"] |= {"args": list(command), "terminal": terminal}
        spec["root"] = {"path": "rootfs"}
        spec["ociVersion"] = "1.0.2"  # crun 1.8 refuses versions that it does not implement
        spec["linux"]["cgroupsPath"] = self.cgroup
        spec["mounts"] += self.mounts
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
                "clone_namespaces": ["pid"] if self.implementation in ("corten", "vm") else None,
            }
        )
        self.made = self._made(request)
        return self.made

    def _made(self, request: Create) -> Instance:
        if self.guest:
            return Virtual(request, -1, ProcessHost())
        return External(request) if self.implementation.startswith("/") else Native(request, -1)

    def created(self, *command: str, host: bool = False, stdin: bool = False) -> tuple[Instance, Created]:
        """With its output in a pipe that `read` reads, and `stdin` in one whose other end is `input`."""
        instance = self.instance(*command, host=host)
        self.pipe, writer = os.pipe2(os.O_CLOEXEC)
        reader, self.input = os.pipe2(os.O_CLOEXEC) if stdin else (OF_CONTAINER, -1)
        created = instance.create((reader, writer, writer), (0, 0))
        os.close(writer)
        if stdin:
            os.close(reader)
        return instance, created

    def started(self, *command: str, host: bool = False, stdin: bool = False) -> tuple[Instance, Created]:
        instance, created = self.created(*command, host=host, stdin=stdin)
        instance.start()
        return instance, created

    def read(self) -> bytes:
        """All of the output; at the end of every process that has it open."""
        return b"".join(iter(lambda: self.some(self.pipe, 65536), b""))

    def some(self, fd: int, most: int = 100) -> bytes:
        """What can be read there, when there is something."""
        self.wait(fd)
        return os.read(fd, most)

    def wait(self, fd: int) -> None:
        wait(fd, self.made)

    def entered(self, instance: Instance, *command: str, user: str = "") -> tuple[Process, int]:
        """A further process that runs, and its output."""
        process = {"args": list(command), "env": ["PATH=/bin"], "cwd": "/", "user": {"username": user} if user else {}}
        reader, writer = os.pipe2(os.O_CLOEXEC)
        entered = instance.enter(Execution("e1", process, False, False, (0, 0)), (OF_CONTAINER, writer, writer))
        os.close(writer)
        self.wait(entered.ready)
        assert entered.started() == -1
        return entered, reader

    def output_of(self, instance: Instance, *command: str) -> str:
        """All that a further process writes."""
        process, reader = self.entered(instance, *command)
        with os.fdopen(reader, "rb", buffering=0) as file:
            text = b"".join(iter(lambda: self.some(file.fileno(), 65536), b""))
        self.wait(process.ended)
        assert process.reap() == 0
        return text.decode()

    def send(self, name: str, device: int, frame: bytes) -> None:
        """From the other side of the tap, which is its descriptor where the instance has its network device."""
        os.write(device, frame)

    def devices(self, instance: Instance) -> dict[str, list[int]]:
        """The interfaces in it: bytes and packets that came."""
        lines = self.output_of(instance, "cat", "/proc/net/dev").splitlines()[2:]
        split = (line.replace(":", " ").split() for line in lines)
        return {words[0]: [int(words[1]), int(words[2])] for words in split}


def wait(fd: int, instance: Instance) -> None:
    """Until it is readable. The instance goes on meanwhile, as in a supervisor."""
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    if instance.events >= 0:
        poll.register(instance.events, select.POLLIN)
    deadline = time.monotonic() + PATIENCE / 1000
    while True:
        ready = {found for found, _ in poll.poll(PATIENCE)}
        assert ready and time.monotonic() < deadline, "nothing happened"
        if fd in ready:
            return
        instance.advance()


def ended(instance: Instance, created: Created) -> int:
    wait(created.ended, instance)
    return instance.ending().status


def killed(instance: Instance, created: Created) -> None:
    instance.signal(signal.SIGKILL, False)
    assert ended(instance, created) == 137
    instance.delete()


def refused(verb: Callable[[], object], kind: type[Exception], word: str) -> None:
    try:
        verb()
    except kind as error:
        assert word in str(error), error
    else:
        raise AssertionError("not refused")


def shown(world: World, instance: Instance, pid: int) -> bool:
    """Whether it is among the processes. Those of a guest have no numbers here, and that is said."""
    if world.guest:
        refused(instance.processes, Unsupported, "no numbers on the host")
        return True
    return pid in instance.processes()


Case = Callable[[World], None]
CASES: list[Case] = []


def case(function: Case) -> Case:
    CASES.append(function)
    return function


def remove_group(case: int) -> None:
    """The parent of all groups of a case, which is a process, and those that a machine would have taken with it."""
    for hierarchy in cgroups.detect().hierarchies:
        for directory, _, _ in os.walk(f"{hierarchy.mountpoint}/corten-instance-{case}", topdown=False):
            with suppress(FileNotFoundError):
                os.rmdir(directory)


def run_case(work: Callable[[], None], said: Path) -> None:
    """And end this process: with 0 when it went well and no child is left."""
    os.dup2(os.open(said, os.O_WRONLY | os.O_CREAT), 2)
    try:
        signal.alarm(60)
        work()
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
