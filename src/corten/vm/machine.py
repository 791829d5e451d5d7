"""A machine's command line: pure. One for each way to begin (boot, boot to be saved, clone), from one shape.

Nothing that a user writes is in it: numbers, names of ours, and descriptors, which have fixed numbers. What belongs to
one guest (disks, interfaces, memory, processors) is plugged in when the machine runs, by JSON (`vm.qmp`). So a template
and its clones have the same devices by construction.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from corten.vm.architectures import architecture
from corten.vm.contract import NOWHERE, PORTS, Shape

Json = dict[str, Any]

FIRST = 3  # the first descriptor behind 0, 1 and 2

_KERNEL_ARGUMENTS = (  # without AppArmor, SELinux and TOMOYO, which would be asked often and have no rules in a guest
    "quiet panic=-1 random.trust_cpu=on cryptomgr.notests lsm=lockdown,landlock,yama "
    "memhp_default_state=online memory_hotplug.online_policy=auto-movable"
)
# Against what a processor does ahead of its program. An emulated one runs other instructions than those of the guest.
_EMULATED = "mitigations=off"
_SANDBOX = "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"
_PORTS_IN_A_SLOT = 8  # functions of one PCI device

TRANSLATED = 256 << 20  # bytes of code that emulation keeps, of 1 GiB at most without a word: a guest uses 100 MiB
DISKS = 2  # of a template, empty ones: in their places clones have theirs
NETWORK = (
    PORTS + DISKS
)  # the port of a template's interface, which leads nowhere: the first one of a clone has its place
_MEMORY = NETWORK + 1  # the port of the device for more memory
_BLOCK = 2 << 20  # bytes: the grain of virtio-mem
_LARGEST = 16 << 40  # bytes of a disk
MORE = b"/more"  # the end of the name that the memory to be plugged in has in a saved state


class Descriptors(NamedTuple):
    """What a machine has from the beginning. None: not with this way to begin."""

    monitor: int
    agent: int
    console: int  # the end of a pipe to write to: a socket has no room for more than some hundred single bytes
    memory: int | None = None  # of a template
    kernel: int | None = None
    initramfs: int | None = None


class Line(NamedTuple):
    """What is executed. `descriptors` are the caller's, to be 3, 4, 5... in the program."""

    arguments: list[str]
    descriptors: list[int]


def line(shape: Shape, given: Descriptors, shared: bool = False) -> Line:
    """Without `kernel` a clone, which maps `memory` for itself, and waits for the state of its devices: `DISKS` disks
    and an interface are plugged in before. Otherwise a boot: with `memory` in that file, for others to see, to be
    saved. `shared`: a clone writes to `memory`, where what serves directories looks for requests and answers them."""
    numbers = {name: fd for name, fd in given._asdict().items() if fd is not None}
    places = {name: FIRST + index for index, name in enumerate(numbers)}
    arguments = [shape.qemu, "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-sandbox", _SANDBOX]
    kind = architecture(shape.architecture)
    arguments += ["-machine", f"{kind.machine},memory-backend=ram"]
    if shape.accelerator == "kvm":
        arguments += ["-accel", "kvm", "-cpu", "host"]
    else:
        arguments += ["-accel", f"tcg,tb-size={TRANSLATED >> 20}", "-cpu", kind.emulated]
    arguments += ["-m", _memory(shape), "-smp", f"{shape.cpus},maxcpus={shape.max_cpus}"]
    arguments += ["-object", json.dumps(_backend(shape, places, shared))]
    for name in ("monitor", "agent"):
        arguments += ["-chardev", f"socket,id={name},fd={places[name]}"]
    arguments += ["-add-fd", f"fd={places['console']},set=1", "-chardev", "file,id=console,path=/dev/fdset/1,append=on"]
    arguments += ["-mon", "chardev=monitor,mode=control", "-serial", "chardev:console"]
    for device in _devices(more_memory(shape)):
        arguments += ["-device", json.dumps(device)]
    if more := more_memory(shape):
        owner: Json = {"qom-type": "memory-backend-ram"}
        if shared:
            owner = {"qom-type": "memory-backend-memfd", "share": True}
        backend = {**owner, "id": "more", "size": more}
        arguments += ["-object", json.dumps(backend)]
    arguments += ["-object", json.dumps({"qom-type": "rng-builtin", "id": "randomness"})]
    arguments += ["-device", json.dumps({"driver": "virtio-rng-pci", "rng": "randomness", "addr": "4"})]
    if given.kernel is None:
        arguments += ["-incoming", "defer"]
    else:
        arguments += ["-kernel", _path(places["kernel"]), "-initrd", _path(places["initramfs"])]
        words = [
            _KERNEL_ARGUMENTS,
            f"console={kind.console}",
            kind.words,
            "" if shape.accelerator == "kvm" else _EMULATED,
        ]
        arguments += ["-append", " ".join(filter(None, words))]
        if given.memory is not None and not shared:
            for index in disk_ports():
                arguments += ["-blockdev", json.dumps(empty(index))]
                arguments += ["-device", json.dumps(disk(index, f"empty{index}"))]
            arguments += ["-device", json.dumps(interface(NETWORK))]
    return Line(arguments, list(numbers.values()))


def port(index: int) -> str:
    """The name of a port: 0 to PORTS - 1 for what is plugged in, and then those that a template has something in."""
    return f"port{index}"


def disk_ports() -> range:
    """Of the disks that a template has, and each clone as well."""
    return range(PORTS, PORTS + DISKS)


def more_memory(shape: Shape) -> int:
    """Bytes that the machine can have beside what it boots with."""
    return grains(shape.max_memory - shape.memory - _BLOCK + 1)


def grains(size: int) -> int:
    """Bytes, as virtio-mem can plug them in: not fewer than `size`."""
    return -(-max(size, 0) // _BLOCK) * _BLOCK


def device(index: int) -> str:
    """The name of what is in that port."""
    return f"device{index}"


def node(index: int) -> str:
    """The name of the disk in that port, for QEMU's block layer."""
    return f"disk{index}"


def disk(index: int, serial: str) -> Json:
    return {"driver": "virtio-blk-pci", "id": device(index), "bus": port(index), "drive": node(index),
            "serial": serial}  # fmt: skip


def interface(index: int, mac: str = "", network: str = "") -> Json:
    """`network` is what it leads to, "" nowhere."""
    leads = {"netdev": network} if network else {}
    return {"driver": "virtio-net-pci", "id": device(index), "bus": port(index), "mac": mac or NOWHERE, "romfile": "",
            **leads}  # fmt: skip


def empty(index: int) -> Json:
    """A disk of zeros, which takes nothing. The guest of a template knows how large it is, and its clones believe that
    of what they have in its place: so none is larger. What is in their disks says itself where it ends."""
    return {"driver": "null-co", "node-name": node(index), "size": _LARGEST, "read-zeroes": True}


def _memory(shape: Shape) -> str:
    more = f",maxmem={shape.max_memory}B" if shape.max_memory > shape.memory else ""
    return f"size={shape.memory}B{more}"


def _backend(shape: Shape, places: dict[str, int], shared: bool) -> Json:
    backend: Json = {"id": "ram", "size": shape.memory}
    if "memory" not in places:
        return {"qom-type": "memory-backend-ram", **backend}
    return {"qom-type": "memory-backend-file", **backend, "mem-path": _path(places["memory"]),
            "share": shared or "kernel" in places}  # fmt: skip


def _devices(more_memory: int) -> list[Json]:
    """Each at an address of its own, so that nothing depends on an order."""
    devices: list[Json] = [
        {"driver": "virtio-serial-pci", "id": "serial", "addr": "2", "max_ports": 2},
        {"driver": "virtserialport", "bus": "serial.0", "nr": 1, "chardev": "agent", "name": "corten.agent"},
        {"driver": "virtio-balloon-pci", "addr": "3", "free-page-reporting": True},
    ]
    for index in range(_MEMORY + 1):
        slot, function = divmod(index, _PORTS_IN_A_SLOT)
        devices.append({"driver": "pcie-root-port", "id": port(index), "chassis": index + 1, "port": index,
                        "addr": f"{8 + slot:x}.{function}", "multifunction": function == 0})  # fmt: skip
    if more_memory:
        devices.append({"driver": "virtio-mem-pci", "id": "memory", "bus": port(_MEMORY), "memdev": "more",
                        "requested-size": 0, "block-size": _BLOCK})  # fmt: skip
    return devices


def _path(number: int) -> str:
    """For options that take nothing but a path; it is opened again, by the machine's own user."""
    return f"/proc/self/fd/{number}"
