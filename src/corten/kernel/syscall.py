"""The door to the kernel: every system call that Python does not wrap goes through syscall(2), by ctypes.

`PyDLL` keeps the interpreter lock during a call. With `CDLL` another thread could hold the lock in the child of a
clone(2) for ever, and an error number could be overwritten before it is read.
"""

from __future__ import annotations

import ctypes
import os

_call = ctypes.PyDLL(None, use_errno=True).syscall
_call.restype = ctypes.c_long
_call.argtypes = (ctypes.c_long, *[ctypes.c_void_p] * 6)
_UNUSED = tuple((0,) * (6 - given) for given in range(7))

_X86 = os.uname().machine == "x86_64"

AUDIT_ARCH = 0xC000003E if _X86 else 0xC00000B7  # include/uapi/linux/audit.h

# Numbers from 424 on are the same on every architecture (Linux 5.1 unified them).
SYS_fstatfs = 138 if _X86 else 44
SYS_ioctl = 16 if _X86 else 29
SYS_prctl = 157 if _X86 else 167
SYS_finit_module = 313 if _X86 else 273
SYS_reboot = 169 if _X86 else 142
SYS_sethostname = 170 if _X86 else 161
SYS_setdomainname = 171 if _X86 else 162
SYS_mount = 165 if _X86 else 40
SYS_umount2 = 166 if _X86 else 39
SYS_unshare = 272 if _X86 else 97
SYS_pivot_root = 155 if _X86 else 41
SYS_setns = 308 if _X86 else 268
SYS_inotify_init1 = 294 if _X86 else 26
SYS_inotify_add_watch = 254 if _X86 else 27
SYS_inotify_rm_watch = 255 if _X86 else 28
SYS_seccomp = 317 if _X86 else 277
SYS_bpf = 321 if _X86 else 280
SYS_fallocate = 285 if _X86 else 47
SYS_syncfs = 306 if _X86 else 267
SYS_execve = 59 if _X86 else 221
SYS_timerfd_create = 283 if _X86 else 85
SYS_timerfd_settime = 286 if _X86 else 86
SYS_execveat = 322 if _X86 else 281
SYS_rt_sigaction = 13 if _X86 else 134
SYS_keyctl = 250 if _X86 else 219
SYS_capget = 125 if _X86 else 90
SYS_capset = 126 if _X86 else 91
SYS_renameat2 = 316 if _X86 else 276
SYS_pidfd_send_signal = 424
SYS_open_tree = 428
SYS_move_mount = 429
SYS_fsopen = 430
SYS_fsconfig = 431
SYS_fsmount = 432
SYS_fspick = 433
SYS_pidfd_open = 434
SYS_clone3 = 435
SYS_close_range = 436
SYS_openat2 = 437
SYS_pidfd_getfd = 438
SYS_mount_setattr = 442
SYS_landlock_create_ruleset = 444
SYS_landlock_add_rule = 445
SYS_landlock_restrict_self = 446

AT_FDCWD = -100
AT_SYMLINK_NOFOLLOW = 0x100
AT_EMPTY_PATH = 0x1000
AT_RECURSIVE = 0x8000


def failure(call: str, *arguments: object) -> OSError:
    """The `OSError` for the call that just failed, about the last text among its arguments, where it has one.

    The call as one would write it in C is a note: logs with a trace have it, messages to users do not.
    """
    errno = ctypes.get_errno()
    texts = [argument.decode() for argument in arguments if isinstance(argument, bytes) and _is_text(argument)]
    error = OSError(errno, os.strerror(errno), *texts[-1:])
    error.add_note(f"in {call}({', '.join(map(_shown, arguments))})")
    return error


def _is_text(argument: bytes) -> bool:
    return argument != b"" and argument.isascii() and argument.decode().isprintable()


def _shown(argument: object) -> str:
    """A text in quotes, a structure by its size: its bytes would not be readable."""
    if not isinstance(argument, bytes):
        return str(argument)
    text = argument.decode(errors="replace")
    return repr(text) if text.isprintable() else f"{{{len(argument)} bytes}}"


def syscall(call: str, number: int, *arguments: object) -> int:
    """Do system call `number`; `call` is its name, for the error. ints go as C longs, bytes and arrays as pointers."""
    result: int = _call(number, *arguments, *_UNUSED[len(arguments)])
    if result < 0:
        raise failure(call, *arguments)
    return result


def attempt(number: int, *arguments: object) -> int:
    """The same where a failure is an answer: below 0, and why is left to `ctypes.get_errno`."""
    result: int = _call(number, *arguments, *_UNUSED[len(arguments)])
    return result
