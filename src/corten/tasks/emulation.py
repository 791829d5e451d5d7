"""Programs of another machine, run by QEMU's user mode emulation (Debian's package qemu-user-static).

The kernel starts the emulator for every such program, when it is registered (`kernel/binfmt.py`). What the machine has
registered is used as it is; otherwise the supervisor of the task that needs it registers it, and holds it as long as
the task runs: in the task's user namespace, where it has one of its own, else on the host.
"""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from corten.kernel import binfmt
from corten.spec import platform as platforms
from corten.spec.platform import Platform

PACKAGE = "qemu-user-static"
_DIRECTORY = "/usr/bin"
_OWN = "corten-"  # how our entries are called
_PT_INTERP = 3


class _Machine(NamedTuple):
    """A machine as ELF names it (elf(5)): e_machine, EI_CLASS in bits, byte order; and QEMU's word for it."""

    number: int
    bits: int
    order: str
    qemu: str


_MACHINES = {
    "386": _Machine(3, 32, "<", "i386"),
    "amd64": _Machine(62, 64, "<", "x86_64"),
    "arm": _Machine(40, 32, "<", "arm"),
    "arm64": _Machine(183, 64, "<", "aarch64"),
    "loong64": _Machine(258, 64, "<", "loongarch64"),
    "mips": _Machine(8, 32, ">", "mips"),
    "mips64": _Machine(8, 64, ">", "mips64"),
    "mips64le": _Machine(8, 64, "<", "mips64el"),
    "mipsle": _Machine(8, 32, "<", "mipsel"),
    "ppc64": _Machine(21, 64, ">", "ppc64"),
    "ppc64le": _Machine(21, 64, "<", "ppc64le"),
    "riscv64": _Machine(243, 64, "<", "riscv64"),
    "s390x": _Machine(22, 64, ">", "s390x"),
}


@dataclass(frozen=True, slots=True)
class Emulation:
    """What a task needs: `lines` to be registered for it (() for nothing), by `interpreter`; or why it cannot be."""

    lines: tuple[str, ...] = ()
    interpreter: str = ""
    missing: str = ""


NATIVE = Emulation()


def emulated() -> list[Platform]:
    """What this machine can run by emulation now."""
    every = [Platform("linux", name, "v7" if name == "arm" else "") for name in _MACHINES]
    try:
        entries = _registered()
    except OSError:  # the kernel has none
        return []
    return [each for each in every if platforms.foreign(each) and not _found(each, entries, _DIRECTORY).missing]


def emulation(platform: Platform | None, directory: str = _DIRECTORY) -> Emulation:
    """How programs of `platform` are run here; `directory` is where the emulators are. Reads files."""
    if platform is None or not platforms.foreign(platform):
        return NATIVE
    if platform.architecture not in _MACHINES:
        return Emulation(missing=f"there is no emulator for {str(platform)[:100]}")
    try:
        return _found(platform, _registered(), directory)
    except OSError as error:
        return Emulation(missing=f"programs for {platform} cannot be run: {_why(error)}")


def _found(platform: Platform, entries: Sequence[binfmt.Entry], directory: str) -> Emulation:
    machine = _MACHINES[platform.architecture]
    if any(each.takes(_head(machine)) for each in entries):
        return NATIVE
    interpreter = _interpreter(machine, directory)
    if not interpreter:
        return Emulation(missing=f"programs for {platform} cannot be run: install {PACKAGE}")
    entry = binfmt.line(_OWN + platform.architecture, _head(machine), _mask(machine), interpreter)
    return Emulation((entry,), interpreter)


def _why(error: OSError) -> str:
    if error.errno == errno.ENODEV:
        return "the kernel has no binfmt_misc"
    return f"{error.strerror or error}"


def _registered() -> list[binfmt.Entry]:
    """By the machine's administrator. What is ours goes with the task that holds it: it does not count."""
    fd = binfmt.mounted()
    try:
        return [entry for entry in binfmt.entries(fd) if not entry.name.startswith(_OWN)]
    finally:
        os.close(fd)


def _interpreter(machine: _Machine, directory: str) -> str:
    """The emulator's path, "" when there is none: in a container it has no libraries, and must be linked statically."""
    for name in (f"qemu-{machine.qemu}-static", f"qemu-{machine.qemu}"):
        path = os.path.join(directory, name)
        if os.access(path, os.X_OK) and _is_static(path):
            return path
    return ""


def _is_static(path: str) -> bool:
    """Whether an ELF file of 64 bits names no interpreter of its own (elf(5))."""
    with open(path, "rb") as file:
        head = file.read(64)
        if len(head) < 64 or head[:4] != b"\x7fELF" or head[4] != 2:
            return False
        order = "<" if head[5] == 1 else ">"
        (offset,) = struct.unpack_from(order + "Q", head, 32)
        size, count = struct.unpack_from(order + "HH", head, 54)
        file.seek(offset)
        table = file.read(size * count)
    kinds = (struct.unpack_from(order + "I", table, at)[0] for at in range(0, len(table) - 3, size or 1))
    return _PT_INTERP not in kinds


def _head(machine: _Machine) -> bytes:
    """How an executable of the machine begins."""
    ident = bytes((0x7F, *b"ELF", machine.bits // 32, 1 if machine.order == "<" else 2, 1, *[0] * 9))
    return ident + struct.pack(machine.order + "HH", 2, machine.number)


def _mask(machine: _Machine) -> bytes:
    """Any system (EI_OSABI); executables with a fixed place and those without (ET_EXEC, ET_DYN)."""
    ident = b"\xff" * 7 + b"\0" + b"\xff" * 8
    return ident + struct.pack(machine.order + "HH", 0xFFFE, 0xFFFF)
