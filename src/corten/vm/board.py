"""The command line of a whole machine: pure, and such that a person can run it.

    line(board, descriptors_of_ours)    # what the supervisor executes: every file is a descriptor
    shown(board, paths, taps)           # the same with the paths of the files, for a person

What a user wrote is in none of QEMU's comma-separated options: those have numbers and words of ours. The kernel's
command line is an argument of its own. Everything else is JSON, and of names of files there are none.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

from corten.vm import passthrough
from corten.vm.machine import FIRST
from corten.vm.passthrough import Passed

Json = dict[str, Any]

PORTS = 32  # at most, for disks, interfaces and devices: those at the start and those that are plugged in
MORE_MEMORY = "more"  # the device by which memory comes and goes
BLOCK = 2 << 20  # bytes: its grain
_FUNCTIONS = 8
_SLOT = 8  # of the first port
_SANDBOX = "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"
CODE = "/usr/share/OVMF/OVMF_CODE_4M.fd"
VARIABLES = "/usr/share/OVMF/OVMF_VARS_4M.fd"
# What enforces secure boot, and variables with the keys by which it does: Microsoft's, by which shims are signed.
SECURE_CODE = "/usr/share/OVMF/OVMF_CODE_4M.secboot.fd"
SECURE_VARIABLES = "/usr/share/OVMF/OVMF_VARS_4M.ms.fd"
VIDEO = {"vga": "VGA", "virtio": "virtio-vga"}  # the driver of each; the second is VGA's until a guest drives it


class Layer(NamedTuple):
    """One file of a disk: `raw` or `qcow2`. `device`: it is a block device of the host."""

    format: str
    read_only: bool
    device: bool = False


class BoardDisk(NamedTuple):
    """`layers`: the files, each based on the one before it; the last is written to. A CD drive may have none. `serial`
    is how a guest finds it. `bus` is virtio, scsi or ide. `place`: its number among disks and interfaces, no other
    one's."""

    serial: str
    layers: tuple[Layer, ...]
    place: int
    bus: str = "virtio"
    read_only: bool = False
    cdrom: bool = False


class BoardInterface(NamedTuple):
    mac: str
    place: int
    model: str = "virtio-net-pci"


class Board(NamedTuple):
    """`firmware`: bios, uefi or kernel. Memory in bytes. `ports`: for disks and interfaces. `paused`: it
    begins with `cont`; `incoming`: and has the state of another machine by then. `passed`: devices of the host; `usb`:
    the place of their controller, -1 without one. `video`: one of `VIDEO`, "" without a screen."""

    qemu: str
    accelerator: str
    uuid: str
    memory: int
    max_memory: int
    cpus: int
    max_cpus: int
    firmware: str = "bios"
    initrd: bool = False
    kernel_arguments: str = ""
    disks: tuple[BoardDisk, ...] = ()
    interfaces: tuple[BoardInterface, ...] = ()
    video: str = ""
    ports: int = PORTS
    secure_boot: bool = False
    tpm: bool = False
    paused: bool = False
    incoming: bool = False
    passed: tuple[Passed, ...] = ()
    usb: int = -1


def decode(body: Json) -> Board:
    """Of what `_asdict` has become as JSON."""
    disks = tuple(
        BoardDisk(disk[0], tuple(Layer(*layer) for layer in disk[1]), *disk[2:]) for disk in body.get("disks") or ()
    )
    interfaces = tuple(BoardInterface(*each) for each in body.get("interfaces") or ())
    passed = tuple(Passed(*each) for each in body.get("passed") or ())
    return Board(**{**body, "disks": disks, "interfaces": interfaces, "passed": passed})


def files(board: Board) -> list[tuple[str, bool]]:
    """(what it is, whether it is written to) of each file that the machine has, in the order of their descriptors."""
    found = []
    if board.firmware == "kernel":
        found.append(("kernel", False))
        if board.initrd:
            found.append(("initrd", False))
    if board.firmware == "uefi":
        found.append(("variables", True))
    for disk in board.disks:
        found += [(node(disk.place, level), not layer.read_only) for level, layer in enumerate(disk.layers)]
    return found + [(passthrough.device_id(one), True) for one in board.passed if one.kind == "usb"]


DIRECT = ("kernel", "initrd")  # of `files`: those that are opened as paths


class Sockets(NamedTuple):
    """Descriptors of the supervisor's; `tpm` for a board with one."""

    monitor: int
    console: int
    agent: int
    tpm: int = -1


class Line(NamedTuple):
    """What is executed; `descriptors` are the caller's, to be 3, 4, 5... in the program."""

    arguments: list[str]
    descriptors: list[int]


def line(board: Board, sockets: Sockets, opened: Sequence[int], taps: Sequence[int]) -> Line:
    """`opened`: a descriptor for each of `files`; `taps`: one for each interface."""
    given = [*sockets][: 4 if board.tpm else 3]
    first = FIRST + len(given)
    # QEMU takes copies of those of a set, and closes them; kernel and initrd it opens by their numbers.
    # Those of devices are found again by their names, when the devices go.
    named = {passthrough.device_id(one) for one in board.passed}
    sets = [argument for index, (name, _) in enumerate(files(board)) if name not in DIRECT for argument in
            ("-add-fd", f"fd={first + index},set={index + 1}" + f",opaque={name}" * (name in named))]  # fmt: skip
    names = [f"/dev/fdset/{index + 1}" for index in range(len(opened))]
    direct = {name: f"/proc/self/fd/{first + index}" for index, (name, _) in enumerate(files(board))}
    networks = [{"type": "tap", "id": network(one.place), "fd": str(first + len(opened) + index), "vhost": False}
                for index, one in enumerate(board.interfaces)]  # fmt: skip
    sources = {
        "monitor": f"socket,id=monitor,fd={FIRST}",
        "console": f"socket,id=console,fd={FIRST + 1}",
        "agent": f"socket,id=agent,fd={FIRST + 2}",
    }
    if board.tpm:
        sources["tpm"] = f"socket,id=tpm,fd={FIRST + 3}"
    arguments = [board.qemu, "-sandbox", _SANDBOX, *sets, *_arguments(board, names, direct, networks, sources)]
    return Line(arguments, [*given, *opened, *taps])


def shown(board: Board, paths: Sequence[str], taps: Sequence[str]) -> list[str]:
    """With the paths of `files`, and names of tap devices. The console is the terminal."""
    direct = {name: path for (name, _), path in zip(files(board), paths, strict=True)}
    networks = [{"type": "tap", "id": network(one.place), "ifname": tap, "script": "no", "downscript": "no"}
                for one, tap in zip(board.interfaces, taps, strict=True)]  # fmt: skip
    sources = {
        "monitor": "socket,id=monitor,path=monitor.sock,server=on,wait=off",
        "console": "stdio,id=console,signal=off",
        "agent": "socket,id=agent,path=agent.sock,server=on,wait=off",
    }
    if board.tpm:  # swtpm socket --tpm2 --tpmstate dir=DIRECTORY --ctrl type=unixio,path=tpm.sock
        sources["tpm"] = "socket,id=tpm,path=tpm.sock"
    return [board.qemu, *_arguments(board, paths, direct, networks, sources)]


def node(place: int, level: int) -> str:
    """The block node of a disk's file with its format."""
    return f"disk{place}-{level}"


def top(disk: BoardDisk) -> str:
    return node(disk.place, len(disk.layers) - 1)


def network(place: int) -> str:
    return f"net{place}"


def port(index: int) -> str:
    return f"port{index}"


def more_memory(board: Board) -> int:
    """Bytes that it can have beside what it begins with."""
    return max(board.max_memory - board.memory, 0) // BLOCK * BLOCK


def disk_nodes(place: int, layers: Sequence[Layer], names: Sequence[str]) -> list[Json]:
    """For blockdev-add, in order: each is based on the one before."""
    return [
        disk_node(node(place, level), layer, name, node(place, level - 1) if level else None)
        for level, (layer, name) in enumerate(zip(layers, names, strict=True))
    ]


def disk_node(name: str, layer: Layer, path: str, below: str | None) -> Json:
    """One of them, called `name`."""
    driver = "host_device" if layer.device else "file"
    file: Json = {"driver": driver, "filename": path, "locking": "off", "node-name": f"{name}-file"}
    file |= {"read-only": layer.read_only, "discard": "unmap"}
    made: Json = {"driver": layer.format, "node-name": name, "file": file}
    made |= {"read-only": layer.read_only, "discard": "unmap"}
    if layer.format == "qcow2":  # never what its header says
        made["backing"] = below
    return made


def disk_device(disk: BoardDisk, order: int = -1, ide: int = 0) -> Json:
    """`order` among those that are booted from, -1: none; `ide` among the disks of that bus."""
    made: Json = {"id": f"disk{disk.place}", "serial": disk.serial}
    if disk.layers:
        made["drive"] = top(disk)
    if order >= 0:
        made["bootindex"] = order + 1  # 0 is a kernel's that is given
    if disk.bus == "ide":
        return {"driver": "ide-cd" if disk.cdrom else "ide-hd", "bus": f"ide.{ide}", **made}
    if disk.bus == "scsi":
        return {"driver": "scsi-hd", "bus": f"scsi{disk.place}.0", **made}
    return {"driver": "virtio-blk-pci", "bus": port(disk.place), **made}


def disk_controller(place: int) -> Json:
    """Of a disk of the bus scsi: each has one of its own, so that a place has a disk there as well."""
    return {"driver": "virtio-scsi-pci", "id": f"scsi{place}", "bus": port(place)}


def interface_device(interface: BoardInterface) -> Json:
    place = interface.place
    return {"driver": interface.model, "id": f"interface{place}", "bus": port(place), "netdev": network(place),
            "mac": interface.mac, "romfile": ""}  # fmt: skip


def _arguments(
    board: Board, names: Sequence[str], direct: dict[str, str], networks: Sequence[Json], sources: dict[str, str]
) -> list[str]:
    arguments = ["-nodefaults", "-no-user-config", "-display", "none", "-vnc", "none", "-uuid", board.uuid]
    pflash = ",pflash0=code,pflash1=variables" if board.firmware == "uefi" else ""
    smm = ",smm=on" if board.secure_boot else ""  # by which firmware alone can write to its variables
    arguments += ["-machine", f"q35,hpet=off,vmport=off,usb=off,memory-backend=ram{pflash}{smm}"]
    if board.secure_boot:
        arguments += ["-global", "driver=cfi.pflash01,property=secure,value=on"]
    arguments += ["-accel", board.accelerator, "-cpu", "host" if board.accelerator == "kvm" else "max"]
    arguments += ["-m", f"size={board.memory}B" + (f",maxmem={board.max_memory}B" if more_memory(board) else "")]
    arguments += ["-smp", f"{board.cpus},maxcpus={board.max_cpus}", "-rtc", "base=utc", "-boot", "strict=on"]
    arguments += ["-object", json.dumps({"qom-type": "memory-backend-ram", "id": "ram", "size": board.memory})]
    for source in sources.values():
        arguments += ["-chardev", source]
    if board.tpm:
        arguments += ["-tpmdev", "emulator,id=tpm,chardev=tpm"]
    arguments += ["-mon", "chardev=monitor,mode=control", "-serial", "chardev:console"]
    arguments += ["-object", json.dumps({"qom-type": "rng-builtin", "id": "randomness"})]
    by_name = dict(zip((name for name, _ in files(board)), names, strict=True))
    arguments += _firmware(board, by_name, direct)
    for disk in board.disks:
        of_disk = [by_name[node(disk.place, level)] for level in range(len(disk.layers))]
        for made in disk_nodes(disk.place, disk.layers, of_disk):
            arguments += ["-blockdev", json.dumps(made)]
    for made in networks:
        arguments += ["-netdev", json.dumps(made)]
    if more := more_memory(board):
        arguments += ["-object", json.dumps({"qom-type": "memory-backend-ram", "id": MORE_MEMORY, "size": more})]
    for device in _devices(board, by_name):
        arguments += ["-device", json.dumps(device)]
    if board.incoming:
        arguments += ["-incoming", "defer"]
    if board.paused:  # one that is incoming as well: it begins when the daemon says so, and not with the last byte
        arguments += ["-S"]
    return arguments


def _firmware(board: Board, names: dict[str, str], direct: dict[str, str]) -> list[str]:
    if board.firmware == "kernel":
        arguments = ["-kernel", direct["kernel"], "-append", board.kernel_arguments]
        return [*arguments, "-initrd", direct["initrd"]] if board.initrd else arguments
    if board.firmware != "uefi":
        return []
    path = SECURE_CODE if board.secure_boot else CODE
    code = {"driver": "raw", "node-name": "code", "read-only": True, "file": {"driver": "file", "filename": path}}
    variables = {"driver": "qcow2", "node-name": "variables", "backing": None,
                 "file": {"driver": "file", "filename": names["variables"], "locking": "off"}}  # fmt: skip
    return ["-blockdev", json.dumps(code), "-blockdev", json.dumps(variables)]


def _devices(board: Board, names: dict[str, str]) -> list[Json]:
    """Each at an address of its own, so that nothing depends on an order."""
    devices: list[Json] = [{"driver": VIDEO[board.video], "addr": "1"}] if board.video else []
    devices += [
        {"driver": "virtio-serial-pci", "id": "serial", "addr": "2", "max_ports": 2},
        {"driver": "virtserialport", "id": "agent", "bus": "serial.0", "nr": 1, "chardev": "agent",
         "name": "org.qemu.guest_agent.0"},
        {"driver": "virtio-balloon-pci", "id": "balloon", "addr": "3", "free-page-reporting": True},
        {"driver": "virtio-rng-pci", "rng": "randomness", "addr": "4"},
        {"driver": "pvpanic-pci", "addr": "5"},
    ]  # fmt: skip
    for index in range(board.ports + 1):
        slot, function = divmod(index, _FUNCTIONS)
        devices.append({"driver": "pcie-root-port", "id": port(index), "chassis": index + 1, "port": index,
                        "addr": f"{_SLOT + slot:x}.{function}", "multifunction": function == 0})  # fmt: skip
    if board.tpm:
        devices.append({"driver": "tpm-crb", "tpmdev": "tpm"})
    on_ide = [disk for disk in board.disks if disk.bus == "ide"]
    for order, disk in enumerate(board.disks):
        if disk.bus == "scsi":
            devices.append(disk_controller(disk.place))
        devices.append(disk_device(disk, order, on_ide.index(disk) if disk in on_ide else 0))
    devices += map(interface_device, board.interfaces)
    if board.usb >= 0:
        devices.append(passthrough.controller(port(board.usb)))
    for one in board.passed:
        devices.append(passthrough.device(one, port(one.place), names.get(passthrough.device_id(one), "")))
    if more_memory(board):
        devices.append({"driver": "virtio-mem-pci", "id": "memory", "bus": port(board.ports), "memdev": MORE_MEMORY,
                        "requested-size": 0, "block-size": BLOCK})  # fmt: skip
    return devices
