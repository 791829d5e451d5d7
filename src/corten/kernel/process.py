"""Processes and namespaces: clone3(2), setns(2), unshare(2), prctl(2), pidfds, and what is set before execve(2)."""

from __future__ import annotations

import ctypes
import errno
import os
import struct

from corten.kernel import syscall as sys

CLONE_NEWTIME = 0x00000080
CLONE_PIDFD = 0x00001000
CLONE_PARENT = 0x00008000
CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000
CLONE_INTO_CGROUP = 0x200000000

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_SET_KEEPCAPS = 8
PR_SET_NAME = 15
PR_CAPBSET_READ = 23
PR_CAPBSET_DROP = 24
PR_SET_CHILD_SUBREAPER = 36
PR_SET_NO_NEW_PRIVS = 38
PR_CAP_AMBIENT = 47

_SIGCHLD = 17
_KEYCTL_JOIN_SESSION_KEYRING = 1

_CLONE_ARGS = struct.Struct("11Q")  # struct clone_args

_python = ctypes.pythonapi


def clone3(flags: int, cgroup: int = 0) -> tuple[int, int]:
    """clone3(2) as fork: (0, -1) in the child, (pid, pidfd) in the parent. `cgroup` is a cgroup2 directory.

    With CLONE_PARENT the child is its grandparent's, which then gets SIGCHLD. The interpreter is notified as by
    os.fork. Call it only where the process has one thread.
    """
    pidfd = ctypes.c_int(-1)
    if cgroup:
        flags |= CLONE_INTO_CGROUP
    signal = 0 if flags & CLONE_PARENT else _SIGCHLD  # inherited from the caller with CLONE_PARENT, clone3 insists
    arguments = _CLONE_ARGS.pack(flags | CLONE_PIDFD, ctypes.addressof(pidfd), 0, 0, signal, 0, 0, 0, 0, 0, cgroup)
    _python.PyOS_BeforeFork()
    pid = sys.attempt(sys.SYS_clone3, arguments, len(arguments))
    if pid == 0:
        _python.PyOS_AfterFork_Child()
        return 0, -1
    errno = ctypes.get_errno()
    _python.PyOS_AfterFork_Parent()
    if pid < 0:
        raise OSError(errno, f"{os.strerror(errno)} in clone3({flags:#x})")
    return pid, pidfd.value


def unshare(flags: int) -> None:
    sys.syscall("unshare", sys.SYS_unshare, flags)


def setns(fd: int, flags: int = 0) -> None:
    """Join the namespace of descriptor `fd`, or with a pidfd those of `flags` that the process is in."""
    sys.syscall("setns", sys.SYS_setns, fd, flags)


def prctl(option: int, value: int = 0, more: int = 0) -> int:
    return sys.syscall("prctl", sys.SYS_prctl, option, value, more, 0, 0)


def undumpable() -> None:
    """What this process has in memory (credentials, secrets, keys) gets into no core file, also where cores go to a
    program, and to look at it takes CAP_SYS_PTRACE. A child has it as well, until its execve(2)."""
    prctl(PR_SET_DUMPABLE, 0)


def raise_file_limit() -> None:
    """As many files as may be: a server has a connection for each client, and one for what it asks of others."""
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


_arguments = (0, 0)  # address and length of what execve(2) was given; 0 until `own_arguments`
_subject = ""


def own_arguments() -> None:
    """From here on this process and what it forks say what they are where their arguments were (`set_title`).

    Only a process whose arguments are of no use to anyone calls this. Their place is in proc_pid_stat(5).
    """
    global _arguments
    with open("/proc/self/stat", "rb") as file:
        fields = file.read().rpartition(b")")[2].split()
    start, end = int(fields[45]), int(fields[46])
    _arguments = (start, end - start)


def set_name(name: str, role: str = "", of: str | None = None) -> None:
    """What ps and top show: 15 bytes of `name` as the command, `role` as the arguments (`set_title`)."""
    sys.syscall("prctl", sys.SYS_prctl, PR_SET_NAME, name.encode()[:15], 0, 0, 0)
    set_title(role or name.removeprefix("corten:"), of)


def set_title(role: str, of: str | None = None) -> None:
    """Show `corten: ROLE for OF` as the arguments; None is what an earlier call named, "" nothing.

    The bytes are written over the arguments (PR_SET_MM would need a capability, and memory elsewhere), with NUL up to
    their end, and cut where they have no room: the environment behind them stays.
    """
    global _subject
    if of is not None:
        _subject = f" for {of}" if of else ""
    address, length = _arguments
    if length:
        text = f"corten: {role}{_subject}".encode()[: length - 1]
        ctypes.memmove(address, text.ljust(length, b"\0"), length)


def default_signal(number: int) -> None:
    """SIG_DFL, by rt_sigaction(2) itself: libc refuses to change the signals it uses internally."""
    action = bytes(32)  # struct kernel_sigaction: handler, flags, restorer, mask
    sys.syscall("rt_sigaction", sys.SYS_rt_sigaction, number, action, None, 8)


def close_range(first: int, last: int = 0xFFFFFFFF) -> None:
    """Close the descriptors from `first` to `last` (close_range(2)): one call, however many there are."""
    sys.syscall("close_range", sys.SYS_close_range, first, last, 0)


def is_refused_execve() -> bool:
    """Whether a filter of this process's system calls keeps execve(2) from the kernel, which would say EFAULT."""
    sys.attempt(sys.SYS_execve, None, None, None)
    return ctypes.get_errno() != errno.EFAULT


def set_oom_score(value: int, pid: int = 0) -> None:
    """How readily the kernel ends `pid`, 0 for this process, when memory is lacking: -1000 never, 1000 first
    (oom_score_adj, proc(5))."""
    with open(f"/proc/{pid or 'self'}/oom_score_adj", "w") as file:
        file.write(str(value))


def join_new_session_keyring() -> None:
    """Give this process an empty session keyring, so that it does not share its parent's keys."""
    sys.syscall("keyctl", sys.SYS_keyctl, _KEYCTL_JOIN_SESSION_KEYRING, None, 0, 0, 0)


def set_hostname(name: str) -> None:
    raw = name.encode()
    sys.syscall("sethostname", sys.SYS_sethostname, raw, len(raw))


def set_domainname(name: str) -> None:
    raw = name.encode()
    sys.syscall("setdomainname", sys.SYS_setdomainname, raw, len(raw))


def start_time(pid: int) -> int:
    """When the process began, in clock ticks since boot: with the pid it names one process for ever (proc(5))."""
    with open(f"/proc/{pid}/stat", "rb", buffering=0) as stat:
        return int(stat.read().rpartition(b")")[2].split()[19])


def reap(pidfd: int) -> int:
    """Collect a child that has ended: its exit code, or 128 + the signal that killed it. Closes `pidfd`."""
    result = os.waitid(os.P_PIDFD, pidfd, os.WEXITED)
    os.close(pidfd)
    assert result is not None
    return result.si_status if result.si_code == os.CLD_EXITED else 128 + result.si_status
