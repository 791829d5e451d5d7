"""Guests by emulation, to the point where their agent answers: a bare QEMU that boots the same kernel and initramfs,
and a clone of a template. Processor time of QEMU and wall time in one run, and what a clone has for itself.
"""

from __future__ import annotations

import os
import select
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from bench import peers
from bench.measure import Failed, Row, Table, Target
from bench.stage import Stage, Work
from corten.errors import CortenError
from corten.guests import host
from corten.vm import frames, initramfs, kernels, template
from corten.vm.contract import Shape
from corten.vm.qemu import Qemu
from corten.vm.template import Template

PLACES = (peers.python().parents[1] / "share/corten/kernel", Path("/"))
PATIENCE = 120.0  # seconds
MIB = 1 << 20
SETTLE = 1.0  # seconds after the answer
_BARE = "bare qemu-system-x86_64, booting"
_CLONE = "Corten, a clone"


class Cost(NamedTuple):
    """Of one start."""

    processor: float  # ms
    wall: float  # ms
    private: float  # MiB, a second later


def measure(stage: Stage) -> list[Table]:
    """Three tables: processor time, wall time, memory; and one of many clones in a whole run."""
    program = shutil.which("qemu-system-x86_64")
    try:
        if program is None:
            raise Failed("qemu-system-x86_64 is missing")
        with _sources() as (kernel, files):
            shape = host.shape(program, "tcg", host.plugged(1 << 30))  # of the usual guest
            made = template.make(shape, kernel, files, lambda: None)
            try:
                return _tables(stage, shape, kernel, files, made)
            finally:
                for fd in made:
                    os.close(fd)
    except (Failed, CortenError, OSError) as error:
        return [Table("guests", (Row(_BARE, remark=str(error)), Row(_CLONE, remark=str(error))), _BARE)]


def _tables(stage: Stage, shape: Shape, kernel: int, files: int, made: Template) -> list[Table]:
    bare, cloned = [], []
    for _ in range(stage.runs(5, 2)):
        bare.append(_boot(shape, kernel, files))
        cloned.append(_clone(shape, made))
    note = "To the agent's answer: of a boot its first word, of a clone the answer to its configuration."
    tables = [
        _table("start of a guest, QEMU's processor time", bare, cloned, 0, "ms", note, Target(_CLONE, 0.125, _BARE)),
        _table("start of a guest, wall time", bare, cloned, 1, "ms", "", None),
        _table("private memory of an idle guest", bare, cloned, 2, "MiB", "", Target(_CLONE, 60)),
    ]
    return tables if stage.quick else [*tables, _many(shape, made, 20)]


def _table(
    title: str, bare: list[Cost], cloned: list[Cost], index: int, unit: str, note: str, target: Target | None
) -> Table:
    rows = (Row(_BARE, tuple(cost[index] for cost in bare)), Row(_CLONE, tuple(cost[index] for cost in cloned)))
    return Table(title, rows, _BARE, (target,) if target else (), unit, note)


def _many(shape: Shape, made: Template, count: int) -> Table:
    machines: list[Qemu] = []
    try:
        for _ in range(count):
            machines.append(template.clone(shape, made, lambda: None))
            _configure(machines[-1].agent)
        for machine in machines:
            _answer(machine.agent)
        time.sleep(SETTLE)
        private = sum(_private(machine.pid) for machine in machines)
    finally:
        for machine in machines:
            machine.close()
    title = f"private memory of {count} guests at once, all of which have answered"
    return Table(title, (Row(_CLONE, (private,)),), _CLONE, (Target(_CLONE, 1331),), "MiB")


@contextmanager
def _sources() -> Iterator[tuple[int, int]]:
    kernel = kernels.find(PLACES)
    with tempfile.TemporaryFile() as file, kernel.image.open("rb") as image:
        initramfs.write(initramfs.collect(kernel), file)
        file.flush()
        yield image.fileno(), file.fileno()


def _boot(shape: Shape, kernel: int, files: int) -> Cost:
    """No more than it takes: the agent's port, no template, no confinement."""
    ours, theirs = socket.socketpair()
    begin = time.perf_counter()
    arguments = [shape.qemu, "-nodefaults", "-no-user-config", "-display", "none", "-machine", "q35", "-accel", "tcg"]
    arguments += [
        "-cpu",
        "max",
        "-m",
        "256M",
        "-kernel",
        f"/proc/self/fd/{kernel}",
        "-initrd",
        f"/proc/self/fd/{files}",
    ]
    arguments += ["-append", "quiet panic=-1 random.trust_cpu=on", "-device", "virtio-serial-pci"]
    arguments += ["-chardev", f"socket,id=agent,fd={theirs.fileno()}"]
    arguments += ["-device", "virtserialport,chardev=agent,name=corten.agent"]
    with ours, subprocess.Popen(arguments, pass_fds=[kernel, files, theirs.fileno()], stdin=subprocess.DEVNULL) as qemu:
        theirs.close()
        try:
            _answer(ours)
            return _cost(qemu.pid, begin)
        finally:
            qemu.kill()


def _clone(shape: Shape, made: Template) -> Cost:
    begin = time.perf_counter()
    machine = template.clone(shape, made, lambda: None)
    try:
        _configure(machine.agent)
        _answer(machine.agent)
        return _cost(machine.pid, begin)
    finally:
        machine.close()


def _configure(agent: socket.socket) -> None:
    settings = {"id": 1, "do": "configure", "random": os.urandom(64).hex(), "time": time.time(), "hostname": "bench",
                "interfaces": [], "names": False}  # fmt: skip
    agent.sendall(frames.message(settings))


def _answer(agent: socket.socket) -> None:
    """The next frame. Failed when it is an error or does not come."""
    decoder = frames.Decoder(frames.FROM_GUEST)
    while select.select([agent], [], [], PATIENCE)[0]:
        decoder.feed(agent.recv(1 << 16))
        while (frame := decoder.next()) is not None:
            if frame.kind == frames.CONTROL:
                if "error" in (body := frames.content(frame.body)):
                    raise Failed(f"a guest answers {body}")
                return
    raise Failed("a guest does not answer")


def _cost(pid: int, begin: float) -> Cost:
    wall = (time.perf_counter() - begin) * 1000
    fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    ticks = int(fields[11]) + int(fields[12])
    time.sleep(SETTLE)
    return Cost(ticks * 1000 / os.sysconf("SC_CLK_TCK"), wall, _private(pid))


def _private(pid: int) -> float:
    """MiB that would be free without this process. (What is "private" and "dirty" is also a template's page that one
    clone alone has mapped.)"""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Anonymous:")) / 1024


WORK = Work("guests", measure)
