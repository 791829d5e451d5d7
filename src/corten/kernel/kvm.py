"""KVM by ioctl(2) (Documentation/virt/kvm/api.rst), as far as it takes to know what it is worth here.

    probe()          # Probe("hardware", "KVM by VMX"), in less than a millisecond

A guest's kernel runs at privilege level 0, and not every KVM lets the processor do that: with `kvm_pvm` an ordinary
kernel is interpreted, instruction by instruction, a hundred times slower than QEMU's own emulation. So the probe runs a
loop at level 0 and takes the time. It also proves that a virtual machine can be made at all: the loop ends with an
output and a halt, and both have to arrive.
"""

from __future__ import annotations

import ctypes
import fcntl
import mmap
import os
import struct
import time
from typing import Literal, NamedTuple

DEVICE = "/dev/kvm"

Kind = Literal["hardware", "pvm", "none"]


class Probe(NamedTuple):
    """`kind` is "hardware" where guests' kernels run on the processor itself, "pvm" where KVM is there but interprets
    them, "none" where it cannot be used. `reason` is for people, without a full stop."""

    kind: Kind
    reason: str


_API_VERSION = 12
_MEMORY = 2 << 20
_LOOP = 10_000  # iterations: some microseconds on a processor, 4 to 40 ms when they are interpreted
_FAST = 0.001  # seconds; the four ways in and out take 0.2 ms at most, also in a virtual machine
_CODE, _STACK = 0x1000, 0x8000
_PORT = 0x3F8
_TEXT = b"5\n"


def _io(number: int) -> int:
    return 0xAE00 | number


def _iow(number: int, size: int) -> int:
    return 1 << 30 | size << 16 | 0xAE00 | number


def _ior(number: int, size: int) -> int:
    return 2 << 30 | size << 16 | 0xAE00 | number


_SEGMENT = struct.Struct("QIH10B")  # struct kvm_segment: base, limit, selector, type, present, ... with padding
_REGISTERS = struct.Struct("18Q")  # struct kvm_regs
_SREGS_SIZE, _CR0 = 312, 8 * _SEGMENT.size + 32  # struct kvm_sregs: eight segments, two tables, cr0...
_REGION = struct.Struct("IIQQQ")

_GET_API_VERSION = _io(0x00)
_CREATE_VM = _io(0x01)
_GET_VCPU_MMAP_SIZE = _io(0x04)
_CREATE_VCPU = _io(0x41)
_SET_USER_MEMORY_REGION = _iow(0x46, _REGION.size)
_RUN = _io(0x80)
_SET_REGS = _iow(0x82, _REGISTERS.size)
_GET_SREGS = _ior(0x83, _SREGS_SIZE)
_SET_SREGS = _iow(0x84, _SREGS_SIZE)

_EXIT_IO, _EXIT_HLT = 2, 5

# mov ecx, LOOP; 1: dec ecx; jnz 1b; mov dx, PORT; add al, bl; add al, '0'; out dx, al; mov al, '\n'; out dx, al; hlt
_PAYLOAD = (
    b"\xb9" + struct.pack("<I", _LOOP) + b"\xff\xc9\x75\xfc"
    b"\x66\xba" + struct.pack("<H", _PORT) + b"\x00\xd8\x04\x30\xee\xb0\x0a\xee\xf4"
)


def probe(device: str = DEVICE) -> Probe:
    """What KVM is worth on this machine. Never raises; takes a millisecond, and some more where the answer is "pvm"."""
    if os.uname().machine != "x86_64":
        return Probe("none", f"guests by KVM are not known on {os.uname().machine}")
    try:
        seconds = measure(device)
    except FileNotFoundError:
        return Probe("none", f"{device} does not exist: no virtualization in this kernel or processor")
    except PermissionError:
        return Probe("none", f"{device} may not be opened")
    except (OSError, ValueError) as error:
        return Probe("none", f"{device} does not work: {error.strerror if isinstance(error, OSError) else error}")
    module = _module()
    if seconds > _FAST:
        return Probe("pvm", f"KVM by {module} interprets the kernels of guests")
    return Probe("hardware", f"KVM by {module}")


def measure(device: str = DEVICE) -> float:
    """Seconds of processor time for the loop at privilege level 0. OSError, ValueError when KVM does something else
    than to run it."""
    kvm = os.open(device, os.O_RDWR | os.O_CLOEXEC)
    try:
        if (version := fcntl.ioctl(kvm, _GET_API_VERSION, 0)) != _API_VERSION:
            raise ValueError(f"it has version {version} of its interface, not {_API_VERSION}")
        machine = fcntl.ioctl(kvm, _CREATE_VM, 0)
        try:
            size = fcntl.ioctl(kvm, _GET_VCPU_MMAP_SIZE, 0)
            with mmap.mmap(-1, _MEMORY) as memory:
                return _run_in(machine, memory, size)
        finally:
            os.close(machine)
    finally:
        os.close(kvm)


def _run_in(machine: int, memory: mmap.mmap, size: int) -> float:
    memory[_CODE : _CODE + len(_PAYLOAD)] = _PAYLOAD
    view = ctypes.c_char.from_buffer(memory)
    fcntl.ioctl(machine, _SET_USER_MEMORY_REGION, _REGION.pack(0, 0, 0, _MEMORY, ctypes.addressof(view)))
    processor = fcntl.ioctl(machine, _CREATE_VCPU, 0)
    try:
        _prepare(processor)
        with mmap.mmap(processor, size) as state:
            return _run(processor, state)
    finally:
        os.close(processor)
        del view  # or the memory could not be closed


def _prepare(processor: int) -> None:
    """Protected mode, level 0, flat segments; 2 and 3 to be added."""
    special = bytearray(_SREGS_SIZE)
    fcntl.ioctl(processor, _GET_SREGS, special)
    for index in range(6):  # cs, ds, es, fs, gs, ss
        selector, kind = (8, 11) if index == 0 else (16, 3)
        _SEGMENT.pack_into(special, _SEGMENT.size * index, 0, 0xFFFFFFFF, selector, kind, 1, 0, 1, 1, 0, 1, 0, 0, 0)
    (cr0,) = struct.unpack_from("Q", special, _CR0)
    struct.pack_into("Q", special, _CR0, cr0 | 1)
    fcntl.ioctl(processor, _SET_SREGS, bytes(special))
    registers = [0] * 18
    registers[0], registers[1], registers[6], registers[16], registers[17] = 2, 3, _STACK, _CODE, 2
    fcntl.ioctl(processor, _SET_REGS, _REGISTERS.pack(*registers))


def _run(processor: int, state: mmap.mmap) -> float:
    text, before = b"", time.thread_time()
    while True:
        try:
            fcntl.ioctl(processor, _RUN, 0)
        except InterruptedError:  # by a signal to this process
            continue
        (reason,) = struct.unpack_from("I", state, 8)
        if reason == _EXIT_HLT and text == _TEXT:
            return time.thread_time() - before
        if reason != _EXIT_IO or len(text) == len(_TEXT):
            raise ValueError(f"a guest of ten instructions ended with exit reason {reason}")
        _, width, port, count, offset = struct.unpack_from("BBHIQ", state, 32)
        if port != _PORT or width * count != 1:
            raise ValueError("a guest has written to another port than it was to")
        text += state[offset : offset + 1]


def _module() -> str:
    for name, shown in (("kvm_intel", "VMX"), ("kvm_amd", "SVM"), ("kvm_pvm", "PVM")):
        if os.path.isdir(f"/sys/module/{name}"):
            return shown
    return "an unknown module"
