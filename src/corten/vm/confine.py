"""How QEMU is executed: in a place where it can do nothing but emulate.

    pid, pidfd = execute(arguments, descriptors, errors, join)

QEMU's own file system is /usr (read-only), the links into it, a /proc of its own processes, for KVM a node of /dev/kvm
that belongs to it, and nodes of VFIO for a guest that has devices of the host (`vm.passthrough`). It is the first
process of its PID namespace, in empty network, IPC and UTS namespaces; it has a user of its own, no key of another's,
no capability and none to regain, and every descriptor that it has is in the list. Its system calls are filtered by
itself (`-sandbox`), before a guest runs; what would change the host's end of a tap is refused by a filter of ours.

The user is `USERS` + the number of its PID namespace, which is a kernel's own: no two machines that run have the same
one, whichever daemons of whichever containers have started them, so none can trace another, or use up what it may have.
"""

from __future__ import annotations

import errno
import fcntl
import os
import resource
import select
import signal
import socket
import stat
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import NoReturn

from corten.errors import StartFailed
from corten.kernel import caps, seccomp, tap
from corten.kernel import mount as m
from corten.kernel import process as p
from corten.kernel import syscall as sys
from corten.vm.machine import FIRST
from corten.vm.passthrough import Link, Node

USERS = 0x7E000000  # the first of `_MOST` users
_MOST = 1 << 24
_FIRST_NAMESPACE = 0xF0000000  # PROC_DYNAMIC_FIRST (fs/proc/generic.c): the kernel gives the lowest number that is free
_NAMESPACES = (
    p.CLONE_NEWNS | p.CLONE_NEWPID | p.CLONE_NEWNET | p.CLONE_NEWIPC | p.CLONE_NEWUTS | p.CLONE_NEWCGROUP
)  # fmt: skip
_LANDING = "/sys"  # a directory that every machine has and that is not needed meanwhile (`runtime.rootfs`)
_LINKS = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")  # into /usr, where the machine has them so
_LOCKED = m.MOUNT_ATTR_NOSUID | m.MOUNT_ATTR_NODEV
_FILES = 1024
_PROCESSES = 256  # threads
_NAMES, _NAMES_OF_ONE = 64, 8  # of files in its root: usual ones, and those of a device of the host's
_SPARE = 512  # descriptors are put aside from here on while they are moved
_GIFT = b"\0"  # beside a descriptor
_SAID = 4096  # bytes of a program's errors that are looked at
_WORDS = 200  # letters of them that are shown
_ENVIRONMENT = {"PATH": "/usr/bin", "LC_ALL": "C.UTF-8", "HOME": "/"}


def execute(
    arguments: Sequence[str],
    descriptors: Sequence[int],
    errors: int,
    join: Callable[[], None],
    kvm: bool,
    largest: int = -1,
    jail: Sequence[Node | Link] = (),
    locked: int = 0,
) -> tuple[int, int]:
    """(pid, pidfd) of QEMU, which has `descriptors` as 3, 4, 5... and `errors` as 0, 1 and 2. They stay the caller's.
    No file that it writes to gets more than `largest` bytes; -1: as many as it likes. `jail`: what its root has of the
    host's devices; `locked`: bytes of memory that it may have locked for them.

    `join` is called in the new process while it is still root, for control groups. It is killed when the calling thread
    ends. StartFailed with what went wrong before the program ran.
    """

    def prepare(_: socket.socket) -> list[int]:
        join()
        return [errors] * FIRST + [*descriptors]

    def finish(user: int) -> None:
        put = [_device_of_kvm(user)] if kvm else []
        enter_root([*put, *(_placed(each, user) for each in jail)], _NAMES + _NAMES_OF_ONE * len(jail))
        if largest >= 0:
            limit(resource.RLIMIT_FSIZE, largest)
        if locked:
            _allow_locked(locked)
        drop_rights(user)

    pid, pidfd, _ = spawn(arguments, prepare, finish)
    return pid, pidfd


def spawn(
    arguments: Sequence[str], prepare: Callable[[socket.socket], list[int]], finish: Callable[[int], None]
) -> tuple[int, int, list[int]]:
    """(pid, pidfd, descriptors) of a program in namespaces of its own, of which it is the first process.

    In the new process `prepare` has all of this one's descriptors, may send some back by its argument (`give`), and
    says which ones are 0, 1, 2... for the program; `finish` has these alone, and a number for a user (`USERS`). Errors
    as of `execute`.
    """
    ours, theirs = socket.socketpair()
    given: list[int] = []
    problem = b""
    with ours:
        with theirs:
            pid, pidfd = p.clone3(_NAMESPACES)
            if pid == 0:
                ours.close()
                _become(arguments, prepare, finish, theirs)
        while True:  # until the socket is closed, by execve or at the end
            data, fds, _, _ = socket.recv_fds(ours, 4096, 1)
            given += fds
            if not data:
                break
            problem += data.replace(_GIFT, b"")
    if problem:
        for fd in given:
            os.close(fd)
        p.reap(pidfd)
        raise StartFailed(f"cannot run {arguments[0]}: {problem.decode(errors='replace')}")
    return pid, pidfd, given


def last_words(errors: int) -> str:
    """The last line that such a program has written; empty when there is none. `errors`: a pipe that does not block."""
    try:
        said = os.read(errors, _SAID)
    except BlockingIOError:
        return ""
    lines = ["".join(filter(str.isprintable, line)).strip() for line in said.decode(errors="replace").splitlines()]
    return next((line[:_WORDS] for line in reversed(lines) if line), "")


def end(pidfd: int) -> None:
    """Of such a program, and until nothing is left of it. The descriptor is closed."""
    try:
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    except ProcessLookupError:
        pass  # it has ended, and is not reaped yet
    select.select([pidfd], [], [])
    p.reap(pidfd)


def give(reply: socket.socket, fd: int) -> None:
    """For `prepare` of `spawn`."""
    socket.send_fds(reply, [_GIFT], [fd])


def _become(
    arguments: Sequence[str],
    prepare: Callable[[socket.socket], list[int]],
    finish: Callable[[int], None],
    reply: socket.socket,
) -> NoReturn:
    channel = reply.fileno()
    try:
        user = user_of()
        os.setsid()
        p.join_new_session_keyring()  # or it could read root's keys
        with suppress(PermissionError):  # it has more already
            p.set_oom_score(0)  # not what spares the service
        descriptors = prepare(reply)
        _settle([*descriptors, channel])
        channel = len(descriptors)
        finish(user)
        p.prctl(p.PR_SET_PDEATHSIG, signal.SIGKILL)  # which a change of user takes away
        if select.select([channel], [], [], 0)[0]:  # the parent ended before the signal was set
            os._exit(1)
        os.execve(arguments[0], list(arguments), _ENVIRONMENT)
    except BaseException as error:  # this process must not go on as if it were its parent
        os.write(channel, str(error).encode()[:4096] or b"unknown error")
    finally:
        os._exit(1)


def user_of(process: str | int = "self") -> int:
    """Of a process that has a PID namespace of its own: no other has it as long as that lives. Process ids are unique
    in one namespace of them alone, and another daemon may be in another."""
    number = os.stat(f"/proc/{process}/ns/pid").st_ino - _FIRST_NAMESPACE
    if not 0 <= number < _MOST:
        raise OSError(errno.EOVERFLOW, f"no user is left for a guest: its PID namespace is number {number}")
    return USERS + number


def _device_of_kvm(owner: int) -> Callable[[], None]:
    device = os.stat("/dev/kvm").st_rdev

    def make() -> None:
        os.mkdir("dev", 0o755)
        os.mknod("dev/kvm", stat.S_IFCHR | 0o600, device)
        os.chown("dev/kvm", owner, owner)

    return make


def _placed(one: Node | Link, owner: int) -> Callable[[], None]:
    device = os.stat(one.of).st_rdev if isinstance(one, Node) else 0

    def make() -> None:
        os.makedirs(os.path.dirname(one.path), 0o755, exist_ok=True)
        if isinstance(one, Link):
            os.symlink(one.target, one.path)
        else:
            os.mknod(one.path, stat.S_IFCHR | 0o600, device)
            os.chown(one.path, owner, owner)

    return make


def _allow_locked(size: int) -> None:
    try:
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (size, size))
    except ValueError:
        text = f"a guest with a device of the host needs {size} bytes of locked memory, and this process may have fewer"
        raise OSError(errno.EPERM, text) from None


def enter_root(others: Sequence[Callable[[], None]], names: int = _NAMES, whole_proc: bool = False) -> None:
    """A root of at most `names` names, with /usr and a /proc; each of `others` puts more into the working directory,
    which is that root, still to be written to."""
    links = [(name, os.readlink(f"/{name}")) for name in _LINKS if os.path.islink(f"/{name}")]
    trees = ["usr", *(name for name in _LINKS if os.path.isdir(f"/{name}") and not os.path.islink(f"/{name}"))]
    m.set_propagation("/", m.MS_PRIVATE)
    copies = [(name, m.clone(sys.AT_FDCWD, f"/{name}", recursive=True)) for name in trees]
    root = m.new("tmpfs", ("mode=0755", "size=1m", f"nr_inodes={names}"), m.MOUNT_ATTR_NOSUID | m.MOUNT_ATTR_NOEXEC)
    m.move_to(root, _LANDING)
    os.fchdir(root)
    for name, target in links:
        os.symlink(target, name)
    for name, fd in copies:
        m.set_attributes(fd, _LOCKED | m.MOUNT_ATTR_RDONLY, propagation=m.MS_PRIVATE, recursive=True)
        os.mkdir(name, 0o755)
        m.move_to(fd, name)
        os.close(fd)
    os.mkdir("proc", 0o555)
    proc = m.new("proc", () if whole_proc else ("subset=pid",), _LOCKED | m.MOUNT_ATTR_NOEXEC)
    m.move_to(proc, "proc")
    os.close(proc)
    for put in others:
        put()
    m.set_attributes(root, m.MOUNT_ATTR_RDONLY)
    os.close(root)
    m.pivot_root(".", ".")  # the old root now lies over the new one, and "." is still the new
    m.unmount(".", m.MNT_DETACH)
    os.chdir("/")


def _settle(descriptors: list[int]) -> None:
    """Make them 0, 1, 2... and close all others. The last one is closed by execve(2) as well."""
    aside = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _SPARE) for fd in descriptors]
    for number, fd in enumerate(aside):
        os.dup2(fd, number, inheritable=number < len(aside) - 1)
    p.close_range(len(aside))


def limit(which: int, value: int) -> int:
    """Of this process; what it has got, which is never more than it had."""
    hard = resource.getrlimit(which)[1]
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(which, (value, value))
    return value


def drop_rights(user: int) -> None:
    limit(resource.RLIMIT_CORE, 0)
    limit(resource.RLIMIT_NOFILE, _FILES)
    limit(resource.RLIMIT_NPROC, _PROCESSES)
    caps.drop_bounding(())
    os.setgroups([])
    try:
        os.setresgid(user, user, user)
    except OSError as error:
        if error.errno == errno.EINVAL:
            raise OSError(error.errno, f"the user namespace of this process has no user {user} for a guest") from error
        raise
    os.setresuid(user, user, user)
    caps.capset((), (), ())
    p.prctl(p.PR_SET_NO_NEW_PRIVS, 1)
    seccomp.load(seccomp.without(tap.CHANGES))  # QEMU's own filter lets every ioctl(2) through
