"""Docker's default filter in a real process."""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import struct
from collections.abc import Callable
from typing import Any

import pytest

from corten.kernel import caps, process
from corten.kernel import seccomp as kernel
from corten.runtime import seccomp
from corten.spec import seccomp as profiles
from corten.spec import syscalls

pytestmark = pytest.mark.skipif(not kernel.available(), reason="this kernel has no seccomp filters")

_libc = ctypes.PyDLL(None, use_errno=True)
CHROOT = {"CAP_SYS_CHROOT"}
NUMBERS = syscalls.numbers(syscalls.native())


def in_child(profile: dict[str, Any] | bytes, work: Callable[[], object], **flags: bool) -> str:
    """Under the filter, what `work` returns as text, or "signal N". Only what the filter allows can be in there."""
    program = profile if isinstance(profile, bytes) else seccomp.compile(profile)
    read, write = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            process.prctl(process.PR_SET_NO_NEW_PRIVS, 1)
            kernel.load(program, **flags)
            answer = repr(work())
        except BaseException as error:
            answer = f"{type(error).__name__}: {error}"
        os.write(write, answer.encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as file:
        answer = file.read()
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return answer if code >= 0 else f"signal {-code}"


def call(name: str, *arguments: Any) -> str:
    result = _libc.syscall(
        ctypes.c_long(NUMBERS[name]), *(ctypes.c_long(a) if isinstance(a, int) else a for a in arguments)
    )
    return "ok" if result >= 0 else errno.errorcode[ctypes.get_errno()]


def default(more: frozenset[str] = frozenset()) -> dict[str, Any]:
    return profiles.default(CHROOT | more, os.uname().machine, os.uname().release)


CLONE_NEWUSER, CLONE_NEWNS = 0x10000000, 0x20000
SIGCHLD = 17


def probe() -> dict[str, str]:
    return {
        "mount": call("mount", b"none", b"/nowhere", b"tmpfs", 0, 0),
        "unshare": call("unshare", CLONE_NEWUSER),
        "setns": call("setns", -1, 0),
        "clone": call("clone", CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0),
        "clone3": call("clone3", 0, 0),
        "keyctl": call("keyctl", 0, -3, 0),
        "bpf": call("bpf", 0, 0, 0),
        "io_uring_setup": call("io_uring_setup", 1, 0),
        "userfaultfd": call("userfaultfd", 0),
        "alg": call("socket", 38, socket.SOCK_SEQPACKET, 0),
        "vsock": call("socket", 40, socket.SOCK_STREAM, 0),
        "unix": call("socket", socket.AF_UNIX, socket.SOCK_STREAM, 0),
        "inet": call("socket", socket.AF_INET, socket.SOCK_STREAM, 0),
        "persona now": call("personality", 0xFFFFFFFF),
        "persona uname26": call("personality", 0x20000),
        "persona no randomize": call("personality", 0x40000),
        "newer": _unnamed(600),
        "getpid": call("getpid"),
        "cachestat": call("cachestat", -1, 0, 0, 0),
    }


def _unnamed(number: int) -> str:
    _libc.syscall(ctypes.c_long(number))
    return errno.errorcode[ctypes.get_errno()]


def test_default_profile() -> None:
    answer = eval(in_child(default(), probe))
    refused = {"mount", "unshare", "setns", "clone", "keyctl", "bpf", "io_uring_setup", "userfaultfd", "alg", "vsock"}
    assert {name for name, result in answer.items() if result == "EPERM"} == refused | {"persona no randomize"}
    assert answer["clone3"] == "ENOSYS"
    assert answer["newer"] == "ENOSYS"
    assert {answer[name] for name in ("unix", "inet", "persona now", "persona uname26", "getpid")} == {"ok"}
    assert answer["cachestat"] in ("EBADF", "ENOSYS")  # allowed; older kernels do not have it


def test_fork_and_threads_still_work() -> None:
    def work() -> object:
        pid = os.fork()
        if not pid:
            os._exit(7)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    assert in_child(default(), work) == "7"


def test_with_sys_admin_the_kernel_refuses() -> None:
    assert in_child(default(frozenset(["CAP_SYS_ADMIN"])), lambda: call("clone3", 0, 0)) == "'EINVAL'"


@pytest.mark.parametrize(
    ("action", "outcome"),
    [
        ("SCMP_ACT_KILL", "signal 31"),
        ("SCMP_ACT_KILL_PROCESS", "signal 31"),
        ("SCMP_ACT_TRAP", "signal 31"),
        ("SCMP_ACT_TRACE", "'ENOSYS'"),  # no tracer
        ("SCMP_ACT_LOG", "'ok'"),
        ("SCMP_ACT_ALLOW", "'ok'"),
        ("SCMP_ACT_ERRNO", "'EXDEV'"),
    ],
)
def test_actions(action: str, outcome: str) -> None:
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    profile = {
        "defaultAction": "SCMP_ACT_ALLOW" if action != "SCMP_ACT_ALLOW" else "SCMP_ACT_LOG",
        "syscalls": [{"names": ["getppid"], "action": action, "errnoRet": errno.EXDEV}],
    }
    assert in_child(profile, lambda: call("getppid")) == outcome


def test_flags() -> None:
    allow = {"defaultAction": "SCMP_ACT_ALLOW"}
    assert in_child(allow, lambda: call("getpid"), log=True, spec_allow=True) == "'ok'"
    assert in_child(allow, lambda: call("getpid"), tsync=True) == "'ok'"


def test_not_without_no_new_privs() -> None:
    """Neither that nor CAP_SYS_ADMIN: EACCES."""
    pid = os.fork()
    if not pid:
        code = 1
        try:
            if os.geteuid() == 0:
                caps.apply((), ())
            kernel.load(seccomp.compile({"defaultAction": "SCMP_ACT_ALLOW"}))
        except PermissionError:
            code = 0
        finally:
            os._exit(code)
    assert os.waitpid(pid, 0)[1] == 0


@pytest.mark.parametrize("program", [b"", b"1234567", b"\0" * 8 * 4097])
def test_programs_that_are_none(program: bytes) -> None:
    with pytest.raises(OSError, match="instructions"):
        kernel.load(program)


def test_program_that_the_kernel_refuses() -> None:
    pid = os.fork()
    if not pid:
        code = 1
        try:
            process.prctl(process.PR_SET_NO_NEW_PRIVS, 1)
            kernel.load(struct.pack("=HBBI", 0x20, 0, 0, 400))
        except OSError as error:
            code = 0 if error.errno == errno.EINVAL and "seccomp" in str(error.__notes__) else 2
        finally:
            os._exit(code)
    assert os.waitpid(pid, 0)[1] == 0


def test_requests_of_ioctl_that_are_refused() -> None:
    """These alone, whatever is in the upper half of the number; and no call of another interface."""
    unread, exclusive = 0x541B, 0x540C  # FIONREAD, TIOCEXCL
    reader, writer = os.pipe()
    ours, its = os.openpty()

    def tried() -> list[str]:
        found = [call("ioctl", reader, unread, bytes(8)), call("ioctl", reader, unread | 1 << 40, bytes(8))]
        found += [call("ioctl", its, exclusive, 0), call("ioctl", its, exclusive | 1 << 40, 0), call("getpid")]
        _libc.syscall(ctypes.c_long(1 << 30 | NUMBERS["getpid"]))
        return [*found, errno.errorcode[ctypes.get_errno()]]

    assert in_child(kernel.without([1, exclusive, 2]), tried) == repr(["ok", "ok", "EPERM", "EPERM", "ok", "EPERM"])
    assert in_child(kernel.without([]), tried).startswith("['ok', 'ok', 'ok', 'ok', 'ok'")
    for fd in (reader, writer, ours, its):
        os.close(fd)
