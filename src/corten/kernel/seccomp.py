"""Loading a seccomp filter: seccomp(2). What is in the filter is `corten.runtime.seccomp`'s business."""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from collections.abc import Sequence

from corten.kernel.syscall import AUDIT_ARCH, SYS_ioctl, SYS_seccomp, attempt, failure

SECCOMP_SET_MODE_FILTER = 1
SECCOMP_GET_ACTION_AVAIL = 2

FLAG_TSYNC = 1
FLAG_LOG = 2
FLAG_SPEC_ALLOW = 4

_INSTRUCTION = 8
_MAX_INSTRUCTIONS = 4096

_LOAD, _RETURN = 0x20, 0x06  # BPF_LD|BPF_W|BPF_ABS, BPF_RET
_EQUAL, _AT_LEAST = 0x15, 0x35  # BPF_JMP|BPF_JEQ, BPF_JMP|BPF_JGE
_NUMBER, _ARCHITECTURE, _SECOND = 0, 4, 24  # where struct seccomp_data has them; of the argument its lower half
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050000 | errno.EPERM  # SECCOMP_RET_ALLOW, SECCOMP_RET_ERRNO
_X32 = 1 << 30  # and above: the numbers of another interface


class _Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_char_p)]


def load(program: bytes, log: bool = False, tsync: bool = False, spec_allow: bool = False) -> None:
    """Put `program` (struct sock_filter[], host order) in front of this thread's system calls, for good.

    Needs CAP_SYS_ADMIN in the own user namespace or no_new_privs, else raises EACCES. `tsync` includes all threads and
    fails with EBUSY when one cannot follow.
    """
    count, rest = divmod(len(program), _INSTRUCTION)
    if rest or not 0 < count <= _MAX_INSTRUCTIONS:
        raise OSError(errno.EINVAL, f"a seccomp filter has 1 to {_MAX_INSTRUCTIONS} instructions of 8 bytes")
    flags = FLAG_TSYNC * tsync | FLAG_LOG * log | FLAG_SPEC_ALLOW * spec_allow
    result = attempt(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, ctypes.byref(_Program(count, program)))
    if result > 0:  # tsync: the id of the thread that could not be brought along
        raise OSError(errno.EBUSY, f"{os.strerror(errno.EBUSY)} in seccomp: thread {result} cannot take the filter")
    if result < 0:
        raise failure("seccomp", SECCOMP_SET_MODE_FILTER, flags, f"{count} instructions")


def without(requests: Sequence[int]) -> bytes:
    """A program for `load` that refuses these requests of ioctl(2), and whatever is called by the numbers of another
    architecture, with EPERM, and lets all else through."""
    ends = len(requests) + 6
    steps = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_EQUAL, 0, ends - 1, AUDIT_ARCH),
        (_LOAD, 0, 0, _NUMBER),
        (_AT_LEAST, ends - 3, 0, _X32),
        (_EQUAL, 0, ends - 5, SYS_ioctl),
        (_LOAD, 0, 0, _SECOND),  # the kernel takes no more of it either
        *((_EQUAL, ends - 6 - index, 0, request) for index, request in enumerate(requests)),
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _REFUSE),
    ]
    return b"".join(struct.pack("HBBI", *step) for step in steps)


def available() -> bool:
    """Whether the kernel filters system calls at all."""
    kill = struct.pack("I", 0)  # SECCOMP_RET_KILL_THREAD
    return attempt(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, kill) == 0
