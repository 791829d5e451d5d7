"""Bytes to and from a whole machine's disk and network, by emulation: a machine, a QEMU with the same options (those
that `vm inspect --qemu` prints) started by hand, and a QEMU with no more than a disk and an interface.

What they cost is QEMU's processor time: on a machine that has other work the clock says little. All have a qcow2 of the
same bytes. The machine is confined, and its interface is in a bridge that passes its own frames alone: what the kernel
does for that counts as QEMU's; the others' leads to the host at once.
"""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from bench.guest_programs.moving import GIVES, INTERFACE, PEER, TAKES
from bench.measure import Failed, Row, Table, Target
from bench.stage import Stage, Work
from bench.works.guest_traffic import accept, give, spent, take, wired
from bench.works.guests import PATIENCE, PLACES
from bench.works.machines import ARGUMENTS, Client
from corten.errors import CortenError
from corten.spec import qcow2
from corten.vm import initramfs, kernels
from corten.vm.kernels import Kernel

_SAME, _MACHINE, _LEAST = "QEMU, the same options", "Corten, a machine", "QEMU, a disk and an interface"
_PROGRAM, _PACKAGES = "bench.guest_programs.typed", Path(__file__).parents[2]
_WORKS = {"write": "to its disk", "read": "from its disk", "send": "from it by TCP", "receive": "to it by TCP"}
_SIZE = 64 << 20  # bytes
_MEMORY = 256  # MiB
_RUNS = 21  # fewer spread by more than what is looked for


class Machine(NamedTuple):
    """`console`: its serial one. `ports`: of what takes bytes and what gives them, at `peer`."""

    pid: int
    console: socket.socket
    interface: dict[str, Any]
    peer: str
    ports: dict[str, int]


def measure(stage: Stage) -> list[Table]:
    """A table for each way."""
    try:
        program = shutil.which("qemu-system-x86_64")
        if program is None:
            raise Failed("qemu-system-x86_64 is missing")
        kernel, initrd = kernels.find(PLACES), stage.scratch / "typed.initrd"
        with initrd.open("w+b") as files:
            initramfs.write(initramfs.collect(kernel, _PROGRAM, [_PACKAGES]), files)
        with ExitStack() as held:
            whole, options = held.enter_context(_whole(stage, kernel, initrd))
            machines = {
                _SAME: held.enter_context(_same(options, whole, stage.scratch)),
                _MACHINE: whole,
                _LEAST: held.enter_context(_least(program, kernel, initrd, stage.scratch, whole)),
            }
            found = _measured(stage, machines)
    except (Failed, CortenError, OSError) as error:
        return [Table("bytes of machines", tuple(Row(name, remark=str(error)) for name in (_SAME, _MACHINE)), _SAME)]
    return [_table(what, found[work]) for work, what in _WORKS.items()]


def _measured(stage: Stage, machines: dict[str, Machine]) -> dict[str, dict[str, list[float]]]:
    for machine in machines.values():
        _ask(machine, "ready")
    found: dict[str, dict[str, list[float]]] = {work: {name: [] for name in machines} for work in _WORKS}
    for work in _WORKS:
        for number in range(stage.runs(_RUNS, 2) + 1):
            for name, machine in machines.items():
                before = spent(machine.pid)
                _ask(machine, work)
                if number:  # the first is for code to be translated, and for a disk's blocks
                    found[work][name].append(spent(machine.pid) - before)
    return found


def _table(what: str, values: dict[str, list[float]]) -> Table:
    rows = tuple(Row(name, tuple(each)) for name, each in values.items())
    target = Target(_MACHINE, 1 / 0.9, _SAME)
    return Table(f"64 MiB {what}, a whole machine, QEMU's processor time", rows, _SAME, (target,), "ms")


def _ask(machine: Machine, do: str) -> None:
    """Done when it has said so."""
    asked: dict[str, Any] = {"do": do, "size": _SIZE}
    if do == "ready":
        asked["interface"] = machine.interface
    if do in machine.ports:
        asked["peer"] = [machine.peer, machine.ports[do]]
    machine.console.sendall(json.dumps(asked).encode() + b"\r")
    _until(machine, b"bench: done")


def _until(machine: Machine, words: bytes) -> None:
    machine.console.settimeout(PATIENCE)
    said = b""
    while words not in said:
        piece = machine.console.recv(1 << 12)
        if not piece or b"bench: failed" in said:
            raise Failed(f"a machine says {said.decode(errors='replace')[-300:]!r}")
        said += piece


@contextmanager
def _same(options: Sequence[str], whole: Machine, scratch: Path) -> Iterator[Machine]:
    """The machine's own, with another disk, console and tap, and without confinement."""
    disk, arguments = _empty(scratch / "same.qcow2"), list(options)
    ours, theirs = socket.socketpair()
    with ours, wired() as wire:
        for index, word in enumerate(arguments):
            if word.startswith('{"driver": "qcow2"'):
                node = json.loads(word)
                node["file"]["filename"] = str(disk)
                arguments[index] = json.dumps(node)
            elif word.startswith('{"type": "tap"'):
                id = json.loads(word)["id"]
                arguments[index] = json.dumps({"type": "tap", "id": id, "fd": str(wire), "vhost": False})
            elif word.startswith("stdio,id=console"):
                arguments[index] = f"socket,id=console,fd={theirs.fileno()}"
        interface = {**INTERFACE, "mac": whole.interface["mac"]}
        with _begun(arguments, (theirs.fileno(), wire), scratch, whole) as pid:
            theirs.close()
            made = Machine(pid, ours, interface, PEER, {"send": TAKES, "receive": GIVES})
            _until(made, b"bench: ready")
            yield made


@contextmanager
def _begun(arguments: Sequence[str], fds: Sequence[int], scratch: Path, whole: Machine) -> Iterator[int]:
    with subprocess.Popen(arguments, pass_fds=fds, stdin=subprocess.DEVNULL, cwd=scratch) as qemu:
        groups = _groups(whole.pid, f"-beside-{qemu.pid}")
        try:
            for group in groups:
                group.mkdir()
                (group / "cgroup.procs").write_text(str(qemu.pid))
            yield qemu.pid
        finally:
            qemu.kill()
            qemu.wait()
            for group in groups:
                with suppress(OSError):  # one that could not be made
                    group.rmdir()


def _groups(pid: int, suffix: str) -> list[Path]:
    """Control groups beside those of the processor that a process is in. Where other work wants it, a process of a
    group of its own is woken sooner, does less at a time, and so does not compare with one that has none."""
    found = []
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        root = Path("/sys/fs/cgroup", controllers)
        if "cpu" in controllers.split(",") or not controllers:
            found.append(Path(f"{root}{path}{suffix}"))
    return [group for group in found if (group.parent / "cgroup.procs").exists()]


def _empty(disk: Path) -> Path:
    with disk.open("wb") as file:
        for offset, data in qcow2.empty(_SIZE):
            file.seek(offset)
            file.write(data)
    return disk


@contextmanager
def _least(program: str, kernel: Kernel, initrd: Path, scratch: Path, whole: Machine) -> Iterator[Machine]:
    """What a person would write."""
    disk = _empty(scratch / "least.qcow2")
    ours, theirs = socket.socketpair()
    with ours, wired() as wire:
        arguments = [program, "-nodefaults", "-no-user-config", "-display", "none", "-machine", "q35,hpet=off"]
        arguments += ["-accel", "tcg", "-cpu", "max", "-m", f"{_MEMORY}M", "-device", "virtio-rng-pci"]
        arguments += ["-kernel", str(kernel.image), "-initrd", str(initrd), "-append", ARGUMENTS]
        arguments += ["-chardev", f"socket,id=console,fd={theirs.fileno()}", "-serial", "chardev:console"]
        arguments += ["-drive", f"file={disk},if=none,id=disk,format=qcow2,discard=unmap"]
        arguments += ["-device", "virtio-blk-pci,drive=disk,serial=disk0"]
        arguments += ["-netdev", f"tap,id=net,fd={wire},vhost=off"]
        arguments += ["-device", f"virtio-net-pci,netdev=net,mac={INTERFACE['mac']}"]
        with _begun(arguments, (theirs.fileno(), wire), scratch, whole) as pid:
            theirs.close()
            made = Machine(pid, ours, INTERFACE, PEER, {"send": TAKES, "receive": GIVES})
            _until(made, b"bench: ready")
            yield made


@contextmanager
def _whole(stage: Stage, kernel: Kernel, initrd: Path) -> Iterator[tuple[Machine, list[str]]]:
    """And QEMU's options."""
    client, name = Client(stage), "bench-traffic"
    boot = ["--kernel", str(kernel.image), "--initrd", str(initrd), "--append", ARGUMENTS, "-m", f"{_MEMORY}m"]
    client("vm", "create", name, *boot, "--disk", f"{_SIZE >> 20}m", "--start")
    try:
        shown = json.loads(client("vm", "inspect", name))[0]
        endpoint = shown["NetworkSettings"]["Networks"]["bridge"]
        addresses = [f"{endpoint['IPAddress']}/{endpoint['IPPrefixLen']}"]
        interface = {"name": "eth0", "mac": endpoint["MacAddress"], "addresses": addresses}
        gateway = endpoint["Gateway"]
        with ExitStack() as held:
            ports = {work: _serve(held, gateway, by) for work, by in (("send", take), ("receive", give))}
            client.ready(name)
            console = held.enter_context(_attached(stage, name))
            options = client.connection.ask("GET", f"/vms/{name}/qemu")["Arguments"]
            yield Machine(shown["State"]["Pid"], console, interface, gateway, ports), options
    finally:
        client.away(name)


def _serve(held: ExitStack, address: str, work: Callable[[socket.socket], None]) -> int:
    listener = socket.create_server((address, 0))
    threading.Thread(target=accept, args=(listener, work), daemon=True).start()
    held.callback(listener.shutdown, socket.SHUT_RDWR)
    return int(listener.getsockname()[1])


@contextmanager
def _attached(stage: Stage, name: str) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as console:
        console.settimeout(PATIENCE)
        console.connect(str(stage.daemon("Corten").socket))
        ask = f"POST /vms/{name}/attach HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
        console.sendall(ask.encode())
        head = b""
        while b"\r\n\r\n" not in head:
            piece = console.recv(1)
            if not piece:
                break
            head += piece
        if not head.startswith(b"HTTP/1.1 101"):
            raise Failed(f"no console: {head.decode(errors='replace')[:200]!r}")
        yield console


WORK = Work("machine-traffic", measure)
