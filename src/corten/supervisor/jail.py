"""A place for a program of the machine that reads hostile bytes from the network: the machine's programs and libraries,
read-only, what they need to find hosts and check certificates, one or two directories to write to, and no rights.

    mounts = jail.mounts(work)      while the namespaces are still the machine's
    jail.begin(work, mounts)        work(mounts) in the first process of new PID, mount and IPC namespaces:
    jail.enter(mounts, size)
    subprocess.Popen(("git", ...), cwd=jail.WORK, env=jail.environment() | {...})

The network is the machine's. Nothing can be executed from the directory that is written to, so what a repository
brings as a hook or a helper stays a file.
"""

from __future__ import annotations

import os
import resource
import signal
import stat
from collections.abc import Callable, Sequence
from contextlib import suppress

from corten.kernel import caps, descriptors
from corten.kernel import mount as m
from corten.kernel import process as p
from corten.kernel import syscall as sys

WORK, HOME, AGENT, KEPT = "/work", "/home", "/agent", "/kept"
USER = 0x7FFFFFF0  # a user that nothing else of the machine is: it is not in any map of user namespaces either
_LANDING = "/sys"  # a directory that every machine has and that is not needed meanwhile (`runtime.rootfs`)
_PROGRAMS = ("usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32")
_SETTINGS = (
    "ssl ca-certificates pki crypto-policies resolv.conf hosts host.conf nsswitch.conf gai.conf services ld.so.cache "
    "ld.so.conf ld.so.conf.d ssh/ssh_known_hosts localtime"
).split()
_DEVICES = ("null", "zero", "random", "urandom")
_PASSWD = f"root:x:0:0::/:/\ngit:x:{USER}:{USER}::{HOME}:/bin/false\n"
_PATH = "/usr/local/bin:/usr/bin:/bin"
_MEMORY = 4 << 30  # bytes of address space: git maps packs
_FILES = 1024
_LOCKED = m.MOUNT_ATTR_NOSUID | m.MOUNT_ATTR_NODEV
_NAMESPACES = p.CLONE_NEWPID | p.CLONE_NEWNS | p.CLONE_NEWIPC | p.CLONE_NEWUTS


Mounts = list[tuple[str, int]]  # by where they will be


def mounts(work: int, agent: int = -1, kept: int = -1) -> Mounts:
    """Of the directory to write to, of another one that is to be at KEPT, and of a socket that is to be at AGENT. A
    mount of another namespace cannot be copied: to be called before there is one."""
    found = []
    for place, directory in ((WORK, work), (KEPT, kept)):
        if directory >= 0:
            os.fchown(directory, USER, USER)
            found.append((place[1:], _attributed(m.clone(directory), _LOCKED | m.MOUNT_ATTR_NOEXEC)))
    return [*found, (AGENT[1:], m.clone(agent))] if agent >= 0 else found


def file(opened: int, name: str) -> Mounts:
    """Of a file that is to be written to, at this path below the root, instead of a directory."""
    os.fchown(opened, USER, USER)
    return [(name, _attributed(m.clone(opened), _LOCKED | m.MOUNT_ATTR_NOEXEC))]


def tree(fd: int, name: str) -> Mounts:
    """Of a detached mount that is only to be read, at this path below the root."""
    return [(name, _attributed(fd, _LOCKED | m.MOUNT_ATTR_NOEXEC | m.MOUNT_ATTR_RDONLY))]


def begin(work: Callable[[Mounts], None], mounts: Mounts) -> None:
    """Do it in a process of its own, which is to enter the jail, and end when that has ended."""
    child = 0

    def end(*_: object) -> None:
        with suppress(ProcessLookupError, ChildProcessError):  # it has ended at the same time
            if child:
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
        os._exit(0)

    signal.signal(signal.SIGIO, end)  # the daemon has given the request up (`hangup`)
    p.unshare(_NAMESPACES)
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGIO, signal.SIG_DFL)
        p.prctl(p.PR_SET_PDEATHSIG, signal.SIGKILL)
        work(mounts)
    os.waitpid(child, 0)
    os._exit(0)


def enter(own_mounts: Mounts, most: int, keep: Sequence[str] = ()) -> None:
    """The calling process, and those that it begins, see nothing else from now on, and are no one's. `most` bytes a
    file may have. Capabilities to `keep` are theirs as well.

    No module can be imported afterwards. Raises OSError.
    """
    own = descriptors.hold()
    m.set_propagation("/", m.MS_SLAVE)
    _change_root([*_of_machine(), *own_mounts])
    _drop_rights(most, keep)
    descriptors.enter(own)
    os.close(own)


def environment() -> dict[str, str]:
    return {"PATH": _PATH, "HOME": HOME, "LC_ALL": "C.UTF-8", "TMPDIR": WORK, "USER": "git", "LOGNAME": "git"}


def _attributed(fd: int, attributes: int) -> int:
    m.set_attributes(fd, attributes, propagation=m.MS_PRIVATE, recursive=True)
    return fd


def _of_machine() -> Mounts:
    """Copies of the machine's."""
    found = []
    settings = [f"etc/{name}" for name in _SETTINGS]
    for name in (*_PROGRAMS, *settings):
        path = f"/{name}"
        if os.path.exists(path) and not (name in _PROGRAMS and os.path.islink(path)):
            found.append(
                (name, _attributed(m.clone(sys.AT_FDCWD, path, recursive=True), _LOCKED | m.MOUNT_ATTR_RDONLY))
            )
    for name in _DEVICES:
        if os.path.exists(f"/dev/{name}"):
            found.append((f"dev/{name}", _attributed(m.clone(sys.AT_FDCWD, f"/dev/{name}"), m.MOUNT_ATTR_NOEXEC)))
    return found


def _change_root(mounts: Mounts) -> None:
    links = [(name, os.readlink(f"/{name}")) for name in _PROGRAMS if os.path.islink(f"/{name}")]
    root = m.new("tmpfs", ("mode=0755", "size=16m", "nr_inodes=1024"), _LOCKED | m.MOUNT_ATTR_NOEXEC)
    m.move_to(root, _LANDING)
    os.fchdir(root)
    os.close(root)
    for name, target in links:
        os.symlink(target, name)
    for name, fd in mounts:
        _place(name, fd)
    for name in ("tmp", HOME[1:]):
        os.mkdir(name, 0o700)
        os.chown(name, USER, USER)
    for name in ("passwd", "group"):
        with open(f"etc/{name}", "w", encoding="ascii") as file:
            file.write(_PASSWD if name == "passwd" else f"git:x:{USER}:\n")
    m.pivot_root(".", ".")  # the old root now lies over the new one, and "." is still the new
    m.unmount(".", m.MNT_DETACH)
    os.chdir("/")


def _place(name: str, fd: int) -> None:
    os.makedirs(os.path.dirname(name) or ".", 0o755, exist_ok=True)
    if stat.S_ISDIR(os.fstat(fd).st_mode):
        os.mkdir(name, 0o755)
    else:
        os.close(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644))
    m.move_to(fd, name)
    os.close(fd)


def _drop_rights(file: int, keep: Sequence[str]) -> None:
    limits = ((resource.RLIMIT_CORE, 0), (resource.RLIMIT_AS, _MEMORY), (resource.RLIMIT_NOFILE, _FILES),
              (resource.RLIMIT_FSIZE, file))  # fmt: skip
    for limit, value in limits:
        hard = resource.getrlimit(limit)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(limit, (value, value))
    caps.drop_bounding(keep)
    p.join_new_session_keyring()  # which has none of root's keys
    os.setgroups([])
    os.setresgid(USER, USER, USER)
    p.prctl(p.PR_SET_KEEPCAPS, int(bool(keep)))
    os.setresuid(USER, USER, USER)
    caps.capset(keep, keep, keep)
    if keep:
        caps.set_ambient(keep)
    p.prctl(p.PR_SET_NO_NEW_PRIVS, 1)
    p.prctl(p.PR_SET_PDEATHSIG, signal.SIGKILL)  # which a change of user takes away
