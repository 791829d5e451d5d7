"""Programs for other machines, the smallest that say a word: mkdir("/made"), write(1, "NAME\\n"), exit(0)."""

from __future__ import annotations

import io
import shutil
import struct
import tarfile
from collections.abc import Callable, Sequence
from typing import NamedTuple

import pytest

from corten.spec.platform import host

_BASE = 0x10000


class _Machine(NamedTuple):
    number: int
    bits: int
    order: str
    flags: int
    call: Callable[[int, Sequence[int]], bytes]
    mkdir: int
    write: int
    exit: int
    mkdir_at: bool = False  # mkdirat(2), which has one argument more
    qemu: str = ""


def _amd64(number: int, arguments: Sequence[int]) -> bytes:
    values = (*zip((0xBF, 0xBE, 0xBA), arguments), (0xB8, number))  # edi, esi, edx, eax
    return b"".join(struct.pack("<Bi", *each) for each in values) + b"\x0f\x05"


def _arm64(number: int, arguments: Sequence[int]) -> bytes:
    words = []
    for register, value in [*enumerate(arguments), (8, number)]:
        words += [0xD2800000 | (value & 0xFFFF) << 5 | register, 0xF2A00000 | (value >> 16) << 5 | register]
    return struct.pack(f"<{len(words) + 1}I", *words, 0xD4000001)


def _arm(number: int, arguments: Sequence[int]) -> bytes:
    words = []
    for register, value in [*enumerate(arguments), (7, number)]:
        for opcode, half in ((0xE3000000, value & 0xFFFF), (0xE3400000, value >> 16)):
            words.append(opcode | half >> 12 << 16 | register << 12 | half & 0xFFF)
    return struct.pack(f"<{len(words) + 1}I", *words, 0xEF000000)


def _riscv64(number: int, arguments: Sequence[int]) -> bytes:
    words = []
    for register, value in [*enumerate(arguments, 10), (17, number)]:
        high, low = (value + 0x800) >> 12, value & 0xFFF
        words += [high << 12 | register << 7 | 0x37, low << 20 | register << 15 | register << 7 | 0x13]
    return struct.pack(f"<{len(words) + 1}I", *words, 0x73)


def _s390x(number: int, arguments: Sequence[int]) -> bytes:
    code = b"".join(struct.pack(">BBi", 0xC0, 2 + at << 4 | 1, value) for at, value in enumerate(arguments))
    return code + bytes((0x0A, number))


def _ppc64le(number: int, arguments: Sequence[int]) -> bytes:
    words = []
    for register, value in [*enumerate(arguments, 3), (0, number)]:
        words += [0x3C000000 | register << 21 | value >> 16]
        words += [0x60000000 | register << 21 | register << 16 | value & 0xFFFF]
    return struct.pack(f"<{len(words) + 1}I", *words, 0x44000002)


_MACHINES = {
    "amd64": _Machine(62, 64, "<", 0, _amd64, 83, 1, 60, False, "x86_64"),
    "arm64": _Machine(183, 64, "<", 0, _arm64, 34, 64, 93, True, "aarch64"),
    "arm": _Machine(40, 32, "<", 0x05000000, _arm, 39, 4, 1, False, "arm"),
    "riscv64": _Machine(243, 64, "<", 0, _riscv64, 34, 64, 93, True, "riscv64"),
    "s390x": _Machine(22, 64, ">", 0, _s390x, 39, 4, 1, False, "s390x"),
    "ppc64le": _Machine(21, 64, "<", 2, _ppc64le, 39, 4, 1, False, "ppc64le"),
}
HERE = host().architecture
NAMES = tuple(name for name in _MACHINES if name != HERE)


def need(name: str) -> None:
    """Skip a test where there is no emulator for the machine."""
    if name != HERE and shutil.which(f"qemu-{_MACHINES[name].qemu}-static") is None:
        pytest.skip("needs qemu-user-static")


def program(name: str, word: str = "") -> bytes:
    """An executable of the machine; what it says is its name, or `word`."""
    machine = _MACHINES[name]
    text, place = f"{word or name}\n".encode(), b"/made\0"
    headers = 64 + 56 if machine.bits == 64 else 52 + 32
    first = _BASE + headers
    directory = [0] * machine.mkdir_at + [first + len(text), 0o755]
    code = machine.call(machine.mkdir, directory) + machine.call(machine.write, [1, first, len(text)])
    code += machine.call(machine.exit, [0])
    data = text + place
    data += b"\0" * (-len(data) % 8)
    return _headers(machine, first + len(data), headers + len(data) + len(code)) + data + code


def layer(name: str) -> bytes:
    """A layer (tar) with the program at /hello."""
    buffer, data = io.BytesIO(), program(name)
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        entry = tarfile.TarInfo("hello")
        entry.size, entry.mode = len(data), 0o755
        tar.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


def _headers(machine: _Machine, entry: int, size: int) -> bytes:
    wide, order = machine.bits == 64, machine.order
    ident = bytes((0x7F, *b"ELF", 2 if wide else 1, 1 if order == "<" else 2, 1)) + bytes(9)
    sizes = (64, 56, 1, 0, 0, 0) if wide else (52, 32, 1, 0, 0, 0)
    addresses = (entry, sizes[0], 0)
    header = struct.pack(order + "HHI" + ("QQQ" if wide else "III") + "I6H", 2, machine.number, 1, *addresses,
                         machine.flags, *sizes)  # fmt: skip
    if wide:
        segment = struct.pack(order + "IIQQQQQQ", 1, 5, 0, _BASE, _BASE, size, size, 0x10000)
    else:
        segment = struct.pack(order + "IIIIIIII", 1, 0, _BASE, _BASE, size, size, 5, 0x10000)
    return ident + header + segment
