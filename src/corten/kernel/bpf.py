"""bpf(2), as far as device control groups need it: programs of type BPF_PROG_TYPE_CGROUP_DEVICE.

`Program` is a small assembler for the eBPF instructions that such programs use (Documentation/bpf/standardization/
instruction-set.rst). An instruction is 8 bytes: opcode, registers (source << 4 | destination), offset, immediate.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct

from corten.kernel.syscall import SYS_bpf, syscall

_PROG_LOAD, _PROG_ATTACH, _PROG_DETACH, _PROG_GET_FD_BY_ID, _PROG_QUERY = 5, 8, 9, 13, 16
_TYPE_CGROUP_DEVICE = 15
_ATTACH_CGROUP_DEVICE = 6
_F_ALLOW_MULTI, _F_REPLACE = 2, 4
_LOAD_TRIES = 30  # the verifier gives EAGAIN when a signal arrives

_LDX_W, _AND32, _RSH32, _MOV64, _JNE32, _JSET32, _JA, _EXIT = 0x61, 0x54, 0x74, 0xB7, 0x56, 0x46, 0x05, 0x95


class Program:
    """Instructions being put together; jumps go forward to labels."""

    def __init__(self) -> None:
        self._code: list[tuple[int, int, int, int, int]] = []  # opcode, registers, offset, immediate, label or -1
        self._places: list[int] = []

    def label(self) -> int:
        self._places.append(-1)
        return len(self._places) - 1

    def place(self, label: int) -> None:
        self._places[label] = len(self._code)

    def load32(self, into: int, base: int, offset: int) -> None:
        self._code.append((_LDX_W, base << 4 | into, offset, 0, -1))

    def and32(self, register: int, value: int) -> None:
        self._code.append((_AND32, register, 0, value, -1))

    def rsh32(self, register: int, by: int) -> None:
        self._code.append((_RSH32, register, 0, by, -1))

    def jump_unless_equal32(self, register: int, value: int, label: int) -> None:
        self._code.append((_JNE32, register, 0, value, label))

    def jump_if_no_bits32(self, register: int, bits: int, label: int) -> None:
        """JSET jumps when a bit is set, so it jumps over the jump."""
        self._code.append((_JSET32, register, 1, bits, -1))
        self._code.append((_JA, 0, 0, 0, label))

    def exit(self, result: int) -> None:
        self._code.append((_MOV64, 0, 0, result, -1))
        self._code.append((_EXIT, 0, 0, 0, -1))

    def assemble(self) -> bytes:
        code = bytearray()
        for index, (opcode, registers, offset, immediate, label) in enumerate(self._code):
            if label >= 0:
                offset = self._places[label] - index - 1
            code += struct.pack("=BBhI", opcode, registers, offset, immediate & 0xFFFFFFFF)
        return bytes(code)


def _bpf(command: int, name: str, attributes: bytes) -> int:
    buffer = ctypes.create_string_buffer(attributes, len(attributes))
    return syscall(f"bpf({name})", SYS_bpf, command, buffer, len(attributes))


def load(program: bytes) -> int:
    """Have the kernel check and keep a device program; a descriptor of it."""
    code = ctypes.create_string_buffer(program, len(program))
    licence = ctypes.create_string_buffer(b"Apache")
    attributes = struct.pack(
        "=IIQQ", _TYPE_CGROUP_DEVICE, len(program) // 8, ctypes.addressof(code), ctypes.addressof(licence)
    )
    for _ in range(_LOAD_TRIES):
        try:
            return _bpf(_PROG_LOAD, "PROG_LOAD", attributes)
        except OSError as error:
            if error.errno != errno.EAGAIN:
                raise
    raise OSError(errno.EAGAIN, f"bpf(PROG_LOAD) was interrupted {_LOAD_TRIES} times")


def attach(cgroup: int, program: int, replace: int | None = None) -> None:
    """Attach to the v2 group at descriptor `cgroup`, beside what its ancestors have, or in place of `replace`.

    The attachment lives as long as the group; the descriptors may be closed.
    """
    if replace is None:
        attributes = struct.pack("=IIII", cgroup, program, _ATTACH_CGROUP_DEVICE, _F_ALLOW_MULTI)
    else:
        flags = _F_ALLOW_MULTI | _F_REPLACE
        attributes = struct.pack("=IIIII", cgroup, program, _ATTACH_CGROUP_DEVICE, flags, replace)
    _bpf(_PROG_ATTACH, "PROG_ATTACH", attributes)


def detach(cgroup: int, program: int) -> None:
    """The opposite of `attach`."""
    _bpf(_PROG_DETACH, "PROG_DETACH", struct.pack("=III", cgroup, program, _ATTACH_CGROUP_DEVICE))


def query(cgroup: int) -> tuple[int, ...]:
    """Descriptors of the device programs that are attached to this very group; the caller closes them."""
    ids = ctypes.create_string_buffer(4 * 64)
    attributes = struct.pack("=IIIIQII", cgroup, _ATTACH_CGROUP_DEVICE, 0, 0, ctypes.addressof(ids), 64, 0)
    buffer = ctypes.create_string_buffer(attributes, len(attributes))
    syscall("bpf(PROG_QUERY)", SYS_bpf, _PROG_QUERY, buffer, len(attributes))
    count = struct.unpack_from("=I", buffer, 24)[0]
    found: list[int] = []
    try:
        for number in struct.unpack_from(f"={count}I", ids):
            found.append(_bpf(_PROG_GET_FD_BY_ID, "PROG_GET_FD_BY_ID", struct.pack("=III", number, 0, 0)))
    except OSError:
        for fd in found:
            os.close(fd)
        raise
    return tuple(found)
