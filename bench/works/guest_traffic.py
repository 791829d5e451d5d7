"""Bytes to and from a guest's disk and network, by emulation: a bare QEMU with the same devices, and a confined clone.

What they cost is QEMU's processor time: on a machine that has other work the clock says little.
"""

from __future__ import annotations

import ipaddress
import os
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from bench.guest_programs.moving import GIVES, INTERFACE, PEER, TAKES
from bench.measure import Failed, Row, Table, Target
from bench.stage import Stage, Work
from bench.works.guests import PATIENCE, PLACES
from corten.errors import CortenError
from corten.guests import host
from corten.kernel import netlink, process, rtnetlink, tap
from corten.network.firewall import Firewall
from corten.network.pins import Pin
from corten.vm import frames, initramfs, kernels, template
from corten.vm.contract import Disk, Interface, Shape
from corten.vm.template import Template

_BARE, _CLONE = "bare qemu-system-x86_64", "Corten, a clone"
_PROGRAMS = Path(__file__).parents[1] / "guest_programs"
_WORKS = {"write": "to its disk", "read": "from its disk", "send": "from it by TCP", "receive": "to it by TCP"}
_SIZE = 64 << 20  # bytes


class Machine(NamedTuple):
    pid: int
    agent: socket.socket


def measure(stage: Stage) -> list[Table]:
    """A table for each way."""
    program = shutil.which("qemu-system-x86_64")
    try:
        if program is None:
            raise Failed("qemu-system-x86_64 is missing")
        shape = host.shape(program, "tcg")
        kernel = kernels.find(PLACES)
        with tempfile.TemporaryFile() as files, kernel.image.open("rb") as image:
            initramfs.write(initramfs.collect(kernel, "moving", [_PROGRAMS]), files)
            files.flush()
            made = template.make(shape, image.fileno(), files.fileno(), lambda: None)
            try:
                return _tables(stage, shape, image.fileno(), files.fileno(), made)
            finally:
                for fd in made:
                    os.close(fd)
    except (Failed, CortenError, OSError) as error:
        return [Table("bytes of guests", (Row(_BARE, remark=str(error)), Row(_CLONE, remark=str(error))), _BARE)]


def _tables(stage: Stage, shape: Shape, kernel: int, files: int, made: Template) -> list[Table]:
    found: dict[str, dict[str, list[float]]] = {work: {_BARE: [], _CLONE: []} for work in _WORKS}
    with ExitStack() as held:
        machines = {
            _BARE: held.enter_context(_bare(shape, kernel, files)),
            _CLONE: held.enter_context(_clone(shape, made)),
        }
        for machine in machines.values():
            _ask(machine, "ready", 0)
        for work in _WORKS:
            for number in range(stage.runs(5, 2) + 1):
                for name, machine in machines.items():
                    spent = _moved(machine, work)
                    if number:  # the first is for code to be translated
                        found[work][name].append(spent)
    return [_table(what, found[work]) for work, what in _WORKS.items()]


def _table(what: str, values: dict[str, list[float]]) -> Table:
    rows = tuple(Row(name, tuple(spent)) for name, spent in values.items())
    target = Target(_CLONE, 1 / 0.9, _BARE)
    return Table(f"64 MiB {what}, QEMU's processor time", rows, _BARE, (target,), "ms")


def _moved(machine: Machine, work: str) -> float:
    """ms of QEMU's processor time."""
    before = spent(machine.pid)
    _ask(machine, work, _SIZE)
    return spent(machine.pid) - before


def spent(pid: int) -> float:
    """ms of all threads, those that have ended as well: /proc/PID/stat has no more than hundredths of a second
    (clock_getcpuclockid(3))."""
    return time.clock_gettime((~pid << 3) | 2) * 1000


def _ask(machine: Machine, do: str, size: int) -> None:
    """Done when it has answered."""
    machine.agent.settimeout(PATIENCE)
    machine.agent.sendall(frames.message({"do": do, "size": size}))
    decoder = frames.Decoder(frames.FROM_GUEST)
    while True:
        decoder.feed(machine.agent.recv(1 << 16))
        while (frame := decoder.next()) is not None:
            body = frames.content(frame.body)
            if "error" in body:
                raise Failed(f"a guest answers {body}")
            if "ok" in body:
                return


@contextmanager
def wired(pins: bool = False) -> Iterator[int]:
    """A tap in a network namespace of its own, and who takes and gives bytes there by TCP. The guest's side of it.
    `pins`: it lets the guest's own frames through and no others, as all guests' do."""
    made: list[int] = []
    kept: list[Firewall] = []
    ready = threading.Event()

    def serve() -> None:
        process.unshare(process.CLONE_NEWNET)  # of this thread
        made.append(tap.make("bench0"))
        with netlink.Socket() as route:
            index = socket.if_nametoindex("bench0")
            address = rtnetlink.address(index, ipaddress.ip_interface(f"{PEER}/24"))
            route.request(rtnetlink.up(1), rtnetlink.up(index), address)
        if pins:
            kept.append(Firewall("corten-bench"))
            kept[0].pin(Pin("bench0", INTERFACE["mac"], (ipaddress.ip_interface(INTERFACE["addresses"][0]).ip,)))
        for port, work in ((TAKES, take), (GIVES, give)):
            listener = socket.create_server((PEER, port))
            threading.Thread(target=accept, args=(listener, work), daemon=True).start()
        ready.set()

    threading.Thread(target=serve, daemon=True).start()
    if not ready.wait(20):
        raise Failed("a tap cannot be made")
    try:
        yield made[0]
    finally:
        for firewall in kept:
            firewall.close()
        os.close(made[0])


def accept(listener: socket.socket, work: Callable[[socket.socket], None]) -> None:
    """Until it is shut down."""
    with suppress(OSError):
        while True:
            with listener.accept()[0] as connection:
                work(connection)


def take(connection: socket.socket) -> None:
    while connection.recv(1 << 18):
        pass


def give(connection: socket.socket) -> None:
    piece = bytes(1 << 18)
    for _ in range(_SIZE // len(piece)):
        connection.sendall(piece)


@contextmanager
def _disk() -> Iterator[int]:
    """All of it is there: no run pays for the file's blocks."""
    with tempfile.TemporaryFile() as file:
        for _ in range(_SIZE >> 20):
            file.write(b"x" * (1 << 20))
        file.flush()
        os.fsync(file.fileno())
        yield file.fileno()


@contextmanager
def _bare(shape: Shape, kernel: int, files: int) -> Iterator[Machine]:
    """Booted, with all on its command line, and without confinement."""
    ours, theirs = socket.socketpair()
    with ours, wired() as wire, _disk() as disk:
        path, mac = "/proc/self/fd", INTERFACE["mac"]
        arguments = [shape.qemu, "-nodefaults", "-no-user-config", "-display", "none", "-machine", "q35,hpet=off"]
        arguments += ["-accel", "tcg", "-cpu", "max", "-m", f"{shape.memory >> 20}M"]
        arguments += ["-kernel", f"{path}/{kernel}", "-initrd", f"{path}/{files}"]
        arguments += ["-append", "quiet panic=-1 random.trust_cpu=on", "-device", "virtio-serial-pci"]
        arguments += ["-chardev", f"socket,id=agent,fd={theirs.fileno()}"]
        arguments += ["-device", "virtserialport,chardev=agent,name=corten.agent"]
        arguments += ["-drive", f"file={path}/{disk},if=none,id=disk,format=raw,discard=unmap"]
        arguments += ["-device", "virtio-blk-pci,drive=disk,serial=bench"]
        arguments += ["-netdev", f"tap,id=net,fd={wire},vhost=off", "-device", f"virtio-net-pci,netdev=net,mac={mac}"]
        fds = (kernel, files, theirs.fileno(), wire, disk)
        with subprocess.Popen(arguments, pass_fds=fds, stdin=subprocess.DEVNULL) as qemu:
            theirs.close()
            try:
                yield Machine(qemu.pid, ours)
            finally:
                qemu.kill()


@contextmanager
def _clone(shape: Shape, made: Template) -> Iterator[Machine]:
    with wired(pins=True) as wire, _disk() as disk:
        interface = Interface("eth0", wire, INTERFACE["mac"])
        machine = template.clone(shape, made, lambda: None, [Disk("bench", disk, False)], [interface])
        try:
            yield Machine(machine.pid, machine.agent)
        finally:
            machine.close()


WORK = Work("guest-traffic", measure)
