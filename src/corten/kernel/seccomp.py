"""Loading a seccomp filter: seccomp(2), prctl(2). What is in the filter is `corten.runtime.seccomp`'s business."""

from __future__ import annotations

import ctypes
import errno
import os

from corten.kernel.syscall import SYS_seccomp, failure, libc

SECCOMP_SET_MODE_FILTER = 1
SECCOMP_GET_ACTION_AVAIL = 2

FLAG_TSYNC = 1
FLAG_LOG = 2
FLAG_SPEC_ALLOW = 4

_PR_SET_SECCOMP = 22
_PR_SET_NO_NEW_PRIVS = 38
_MODE_FILTER = 2
_INSTRUCTION = 8
_MAX_INSTRUCTIONS = 4096


class _Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_char_p)]


def load(program: bytes, log: bool = False, tsync: bool = False, spec_allow: bool = False) -> None:
    """Put `program` (struct sock_filter[], host order) in front of this thread's system calls, for good.

    Needs CAP_SYS_ADMIN in the own user namespace or no_new_privs, else EACCES. `tsync` includes all threads and
    fails with EBUSY when one cannot follow. A kernel before 3.17 gets the filter by prctl(2) when no flag is asked for.
    """
    count, rest = divmod(len(program), _INSTRUCTION)
    if rest or not 0 < count <= _MAX_INSTRUCTIONS:
        raise OSError(errno.EINVAL, f"a seccomp filter has 1 to {_MAX_INSTRUCTIONS} instructions of 8 bytes")
    flags = FLAG_TSYNC * tsync | FLAG_LOG * log | FLAG_SPEC_ALLOW * spec_allow
    pointer = ctypes.byref(_Program(count, program))
    result = libc.syscall(
        ctypes.c_long(SYS_seccomp), ctypes.c_long(SECCOMP_SET_MODE_FILTER), ctypes.c_long(flags), pointer
    )
    if result > 0:  # tsync: the id of the thread that could not be brought along
        raise OSError(errno.EBUSY, f"{os.strerror(errno.EBUSY)} in seccomp: thread {result} cannot take the filter")
    if result < 0 and ctypes.get_errno() == errno.ENOSYS and not flags:
        result = libc.prctl(_PR_SET_SECCOMP, ctypes.c_ulong(_MODE_FILTER), pointer, 0, 0)
    if result < 0:
        raise failure("seccomp", SECCOMP_SET_MODE_FILTER, flags, f"{count} instructions")


def no_new_privs() -> None:
    """PR_SET_NO_NEW_PRIVS: execve(2) gives nothing from now on, in all descendants."""
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, ctypes.c_ulong(1), 0, 0, 0) < 0:
        raise failure("prctl", _PR_SET_NO_NEW_PRIVS, 1)


def available() -> bool:
    """Whether the kernel filters system calls at all."""
    kill = ctypes.c_uint32(0)
    return bool(libc.syscall(ctypes.c_long(SYS_seccomp), SECCOMP_GET_ACTION_AVAIL, 0, ctypes.byref(kill)) == 0)
