"""A further process in a running container (exec): like `init`, a visible ordered list, much shorter."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from typing import Any, NamedTuple, NoReturn

from corten.kernel import process as p
from corten.kernel import pty
from corten.runtime import messages, null
from corten.runtime.cgroups import Cgroup
from corten.runtime.init import close_all_but, fail, reset_signals, seal_imports
from corten.runtime.limits import make_room, set_oom_score
from corten.runtime.plan import NAMESPACES
from corten.runtime.program import Program

_PROC_NAMES = {"mount": "mnt", "network": "net"}


class Entry(NamedTuple):
    """What to run, and where. `target` is the container's first process, by pid and by pidfd."""

    process: dict[str, Any]
    target: int
    target_fd: int
    namespaces: tuple[str, ...]  # those in which the target is not in ours, as /proc calls them
    stdio: tuple[int, int, int] | None  # each may be null.OF_CONTAINER. None: a terminal of the container's
    null: int  # the container's null device
    console_size: tuple[int, int] = (0, 0)
    keep: tuple[int, ...] = ()
    by_chroot: bool = False  # its root is not that of its mount namespace, which is others' too


def foreign_namespaces(pid: int) -> tuple[str, ...]:
    """The kinds of namespace, by their names in /proc, that `pid` does not share with this process."""
    names = (_PROC_NAMES.get(kind, kind) for kind in NAMESPACES)
    return tuple(name for name in names if _namespace(str(pid), name) != _namespace("self", name))


def _namespace(pid: str, name: str) -> int:
    try:
        return os.stat(f"/proc/{pid}/ns/{name}").st_ino
    except FileNotFoundError:  # a kernel without this kind
        return 0


class Enter:
    """The child. `run` never returns."""

    def __init__(self, entry: Entry, channel: socket.socket, cgroup: Cgroup, seccomp: bytes | None) -> None:
        self.entry = entry
        self.cgroup = cgroup
        self.warnings: list[str] = []
        self.channel = channel
        self.userns = "user" in entry.namespaces
        self.program = Program(entry.process, seccomp, self.userns)

    def run(self) -> NoReturn:
        step = "begin"
        try:
            for name, do in STEPS:
                step = name
                do(self)
        except BaseException as error:  # everything becomes a message: no caller is above to handle it
            fail(self.channel, step, error)
        os._exit(125)

    def leave_parent(self) -> None:
        seal_imports()
        close_all_but([*self.cgroup.descriptors(), self.channel.fileno(), self.entry.target_fd, *self.entry.keep])
        reset_signals()
        os.umask(0)
        p.set_name("corten:exec")
        p.prctl(p.PR_SET_DUMPABLE, 0)  # no process inside may trace or read this one before its execve (CVE-2016-9962)

    def take_stdio(self) -> None:
        nothing = (null.OF_CONTAINER,) * 3  # until its own is there
        for number, fd in enumerate(null.filled_in(self.entry.stdio or nothing, self.entry.null)):
            os.dup2(fd, number)

    def enter_cgroup(self) -> None:
        self.cgroup.enter_self(unified=False)

    def wait_for_parent(self) -> None:
        messages.expect(self.channel, messages.ENTERED)

    def prepare_limits(self) -> None:
        self.warnings = set_oom_score(0, self.entry.process)
        if self.userns:
            make_room(0, self.entry.process)

    def be_confined(self) -> None:
        self.program.be_confined()

    def join_namespaces(self) -> None:
        root = -1
        if self.entry.by_chroot:
            root = os.open(f"/proc/{self.entry.target}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        flags = 0
        for kind, flag in NAMESPACES.items():
            if _PROC_NAMES.get(kind, kind) in self.entry.namespaces:
                flags |= flag
        if flags:
            p.setns(self.entry.target_fd, flags)
        if root >= 0:
            os.fchdir(root)
            os.chroot(".")
            os.close(root)
        os.chdir("/")
        if self.userns:
            os.setresgid(0, 0, 0)
            os.setresuid(0, 0, 0)
            p.prctl(p.PR_SET_DUMPABLE, 0)

    def fork_into_namespaces(self) -> None:
        """Go on as a child in the container's PID namespace, which is the parent's child as this process was."""
        close_all_but([self.channel.fileno(), *self.entry.keep])
        reader, writer = os.pipe2(os.O_CLOEXEC)
        pid, pidfd = p.clone3(p.CLONE_PARENT)
        if pid:
            messages.send(self.channel, messages.FORKED, pidfd, warnings=self.warnings)
            os._exit(0)
        # What the child says (its console, why it failed) must not come before Forked.
        os.close(writer)
        os.read(reader, 1)
        os.close(reader)

    def new_session(self) -> None:
        os.setsid()
        p.join_new_session_keyring()

    def open_console(self) -> None:
        if self.entry.stdio is not None:
            return
        devpts = os.open("/dev/pts", os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        master, slave = pty.open_pair(devpts)
        os.close(devpts)
        if self.entry.console_size[0] and self.entry.console_size[1]:
            pty.resize(master, *self.entry.console_size)
        messages.send(self.channel, messages.CONSOLE, master)
        os.close(master)
        pty.take_controlling_terminal(slave)
        for number in range(3):
            os.dup2(slave, number)

    def find_identity(self) -> None:
        self.program.find_identity()

    def own_stdio(self) -> None:
        self.program.own_stdio((0, 1, 2))

    def be_limited(self) -> None:
        self.program.be_limited()

    def become_user(self) -> None:
        self.program.become_user()

    def find_executable(self) -> None:
        self.program.find_executable()

    def close_rest(self) -> None:
        close_all_but([0, 1, 2, self.channel.fileno(), *self.entry.keep])

    def execute(self) -> None:
        self.program.execute()


STEPS: tuple[tuple[str, Callable[[Enter], None]], ...] = (
    ("stdio", Enter.take_stdio),  # first: the launcher's own, among them its log, are not the container's to see
    ("leave parent", Enter.leave_parent),  # all other descriptors; 0, 1 and 2 are the container's by now
    ("cgroup", Enter.enter_cgroup),  # limited and accounted before it can do anything inside
    ("parent", Enter.wait_for_parent),  # it sees to the v2 group where no process can be cloned into it
    ("room", Enter.prepare_limits),  # inside a user namespace they could not be raised
    ("apparmor", Enter.be_confined),  # only the host's /proc is known to be the kernel's
    ("join namespaces", Enter.join_namespaces),  # one setns: all or none; the root is the container's from here on
    # Only now can the container see this process. Who may trace in there (CAP_SYS_PTRACE) gets at whatever it can see:
    # it has no root, no directory and no descriptor of the host's any more.
    ("fork", Enter.fork_into_namespaces),
    ("session", Enter.new_session),
    ("console", Enter.open_console),
    ("find user", Enter.find_identity),
    ("own stdio", Enter.own_stdio),  # for the user found before; the terminal's as well
    ("limits", Enter.be_limited),  # what comes before needs descriptors of its own
    ("become user", Enter.become_user),
    ("find executable", Enter.find_executable),
    ("close", Enter.close_rest),
    ("execute", Enter.execute),
)
