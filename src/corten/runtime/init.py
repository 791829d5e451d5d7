"""A container's first process, from clone3 to execve: one ordered list.

The order is the design; each line of `STEPS` says why it stands where it stands. Nothing is imported from here on
(the tree that `import` would read is about to become the image's, CVE-2019-14271), no traceback is printed (its source
lines would be read from there as well), and every descriptor that is not this process's own is closed first.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import os
import socket
import sys
from collections.abc import Callable
from time import perf_counter
from typing import NamedTuple, NoReturn

from corten.kernel import process as p
from corten.kernel import pty
from corten.runtime import messages, null
from corten.runtime.cgroups import Cgroup
from corten.runtime.limits import set_oom_score
from corten.runtime.plan import CLONED_INTO, NAMESPACES, Plan
from corten.runtime.prepare import Prepared
from corten.runtime.program import Program
from corten.runtime.rootfs import Rootfs


class Inheritance(NamedTuple):
    """What the parent leaves to its child. All other descriptors are closed."""

    channel: socket.socket
    stdio: tuple[int, int, int] | None  # each may be null.OF_CONTAINER. None: a terminal, which the child makes itself
    prepared: Prepared
    start_listener: socket.socket | None = None  # who starts it connects here (the OCI command line)
    keep: tuple[int, ...] = ()  # passed on to the program, numbers from 3 on (--preserve-fds)
    console_size: tuple[int, int] = (0, 0)
    parent_death_signal: bool = False  # for a parent that stays: it reads the output and records the end
    parent_has_work: bool = True  # hooks, and what the host's root sets; without, the child sets its own score


class Init:
    """The child. `run` never returns."""

    def __init__(self, plan: Plan, inheritance: Inheritance, cgroup: Cgroup, seccomp: bytes | None) -> None:
        self.plan = plan
        self.inheritance = inheritance
        self.channel = inheritance.channel
        self.cgroup = cgroup
        self.rootfs = Rootfs(plan, inheritance.prepared)
        self.program = Program(plan.spec["process"], seccomp, plan.userns)
        self.timing: dict[str, float] = {}
        self.warnings: list[str] = []
        self.console_slave = -1
        self.null = -1

    def run(self) -> NoReturn:
        """Do all steps, then execve. Does not return, whatever happens."""
        step = "begin"
        try:
            before = perf_counter()
            for step, do in STEPS:
                do(self)
                now = perf_counter()
                self.timing[step] = now - before
                before = now
        except BaseException as error:  # everything becomes a message: no caller is above to handle it
            fail(self.channel, step, error)
        os._exit(125)

    # ---------------------------------------------------------------------------------------------- the steps

    def leave_parent(self) -> None:
        seal_imports()
        inherited = self.inheritance
        own = [
            self.channel.fileno(),
            *self.cgroup.descriptors(),
            *inherited.prepared.descriptors(),
            *inherited.keep,
            *(fd for fd in inherited.stdio or () if fd != null.OF_CONTAINER),
        ]
        if inherited.start_listener:
            own.append(inherited.start_listener.fileno())
        close_all_but(own)
        reset_signals()
        os.umask(0)  # modes are given exactly; the program's own umask is set last
        p.set_name("corten:init")

    def enter_cgroup(self) -> None:
        self.cgroup.enter_self(unified=False)
        if self.plan.new_cgroup_namespace:
            p.unshare(p.CLONE_NEWCGROUP)

    def map_ids(self) -> None:
        if self.plan.id_map:
            messages.expect(self.channel, messages.MAPPED)
        if self.plan.userns:
            os.setresgid(0, 0, 0)
            os.setresuid(0, 0, 0)
            os.setgroups([])
            p.prctl(p.PR_SET_DUMPABLE, 0)  # changing ids put it back

    def join_namespaces(self) -> None:
        for kind, fd in self.inheritance.prepared.namespaces.items():
            if kind not in CLONED_INTO:
                p.setns(fd, NAMESPACES[kind])

    def new_session(self) -> None:
        os.setsid()
        p.join_new_session_keyring()

    def make_file_systems(self) -> None:
        self.rootfs.make_file_systems()

    def await_parent(self) -> None:
        if self.inheritance.parent_has_work:
            messages.expect(self.channel, messages.HOOKED)
        else:
            self.warnings = set_oom_score(0, self.plan.spec["process"])

    def be_confined(self) -> None:
        self.program.be_confined()

    def change_root(self) -> None:
        self.rootfs.change_root()

    def place_mounts(self) -> None:
        self.rootfs.place_mounts()

    def fill_dev(self) -> None:
        self.rootfs.fill_dev()

    def open_null(self) -> None:
        self.null = self.rootfs.open_null()

    def open_console(self) -> None:
        if self.inheritance.stdio is not None:
            return
        master, self.console_slave = self.rootfs.open_console(self.inheritance.console_size)
        messages.send(self.channel, messages.CONSOLE, master)
        os.close(master)

    def name_host(self) -> None:
        spec = self.plan.spec
        if spec.get("hostname"):
            p.set_hostname(spec["hostname"])
        if spec.get("domainname"):
            p.set_domainname(spec["domainname"])

    def write_sysctls(self) -> None:
        self.rootfs.write_sysctls()

    def make_work_directory(self) -> None:
        self.rootfs.make_directory(self.program.cwd)

    def protect_paths(self) -> None:
        self.rootfs.protect_paths()

    def take_stdio(self) -> None:
        stdio = self.inheritance.stdio
        if stdio is None:
            stdio = (self.console_slave,) * 3
            pty.take_controlling_terminal(self.console_slave)
        stdio = null.filled_in(stdio, self.null)
        self.program.own_stdio(stdio)
        for number, fd in enumerate(stdio):
            os.dup2(fd, number)

    def find_identity(self) -> None:
        self.program.find_identity()

    def be_limited(self) -> None:
        self.warnings += self.program.be_limited()

    def become_user(self) -> None:
        self.program.become_user()

    def bind_to_parent(self) -> None:
        if self.inheritance.parent_death_signal:
            p.prctl(p.PR_SET_PDEATHSIG, _signal.SIGKILL)

    def find_executable(self) -> None:
        self.program.find_executable()

    def close_rest(self) -> None:
        own = [0, 1, 2, self.null, self.channel.fileno(), *self.inheritance.keep]
        if self.inheritance.start_listener:
            own.append(self.inheritance.start_listener.fileno())
        close_all_but(own)

    def report_ready(self) -> None:
        messages.send(self.channel, messages.READY, null=self.null, timing=self.timing, warnings=self.warnings)

    def wait_for_start(self) -> None:
        if self.inheritance.start_listener:
            self.channel.close()
            self.channel, _ = self.inheritance.start_listener.accept()
            self.inheritance.start_listener.close()
        messages.expect(self.channel, messages.START)

    def execute(self) -> None:
        self.program.execute()


STEPS: tuple[tuple[str, Callable[[Init], None]], ...] = (
    ("leave parent", Init.leave_parent),  # before anything of the container is touched: nothing of the host leaks in
    ("cgroup", Init.enter_cgroup),  # limited and accounted from the beginning; the files are the host root's to write
    ("map ids", Init.map_ids),  # being root of the user namespace is what allows all that follows
    ("join namespaces", Init.join_namespaces),
    ("session", Init.new_session),
    ("file systems", Init.make_file_systems),  # proc, sysfs, mqueue show the namespaces they are made in; with a user
    # namespace the kernel wants to see the host's proc unobscured meanwhile: before the root changes
    ("parent", Init.await_parent),  # its work, where there is one, went on beside the steps above
    ("apparmor", Init.be_confined),  # only the host's /proc is known to be the kernel's
    ("change root", Init.change_root),  # from here on no path can lead to the host
    ("mounts", Init.place_mounts),
    ("devices", Init.fill_dev),  # after the mounts: /dev is one of them
    ("null", Init.open_null),  # the device of that /dev, before a file is masked with it or it becomes standard input;
    # soon, because it keeps a descriptor of the host's /proc until then
    ("console", Init.open_console),  # in the container's own devpts
    ("hostname", Init.name_host),
    ("sysctls", Init.write_sysctls),  # before /proc/sys becomes read-only
    ("working directory", Init.make_work_directory),  # before the root becomes read-only, as Docker does at create
    ("find user", Init.find_identity),  # /etc/passwd of the container, still as root
    ("protect", Init.protect_paths),  # read-only and masked paths, read-only root: nothing is made from here on
    ("stdio", Init.take_stdio),
    ("limits", Init.be_limited),  # the mounts and the terminal may have needed more than the program is allowed
    ("become user", Init.become_user),
    # Changing ids cleared it; a parent that has exited by now is noticed at "start".
    ("parent's death", Init.bind_to_parent),
    ("find executable", Init.find_executable),  # as the user, who may not see what root sees
    ("close", Init.close_rest),
    ("ready", Init.report_ready),
    ("start", Init.wait_for_start),
    ("execute", Init.execute),  # seccomp, then execve: nothing of ours is called below the filter
)


def seal_imports() -> None:
    """Whatever is not loaded by now never will be: an import could read the image's files as code."""
    sys.meta_path.clear()
    sys.path_hooks.clear()
    sys.path_importer_cache.clear()
    sys.path.clear()


def close_all_but(own: list[int]) -> None:
    """Close every descriptor that is not listed; 0, 1 and 2 are kept too, as /dev/null of the launcher."""
    first = 3
    for fd in sorted(set(own)):
        if fd > first:
            p.close_range(first, fd - 1)
        first = max(first, fd + 1)
    p.close_range(first)


_LIBC_OWN = (32, 33)
_CATCHABLE = [n for n in range(1, 65) if n not in (_signal.SIGKILL, _signal.SIGSTOP, *_LIBC_OWN)]


def reset_signals() -> None:
    """Default dispositions and an empty mask: execve keeps what is ignored, and Python ignores SIGPIPE.

    By `_signal`: the functions of `signal` make an enumeration's member of each answer, 0.3 ms for all of them.
    """
    for number in _CATCHABLE:
        if _signal.getsignal(number) != _signal.SIG_DFL:  # costs no system call: Python asked for all when it began
            _signal.signal(number, _signal.SIG_DFL)
    for number in _LIBC_OWN:  # glibc's posix_spawn, by which the launcher began, ignores them
        p.default_signal(number)
    _signal.pthread_sigmask(_signal.SIG_SETMASK, [])


def fail(channel: socket.socket, step: str, error: BaseException) -> NoReturn:
    """Send the parent the reason, as well as it can be said without a traceback."""
    code = getattr(error, "code", 125)
    errno = getattr(error, "errno", 0) or 0
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    if errno and text == os.strerror(errno):
        text = text[:1].lower() + text[1:]
    if isinstance(error, OSError) and error.filename:
        text = f"{text}: {os.fsdecode(error.filename)}"
    try:
        messages.send(
            channel, messages.FAILED, step=step, text=(text or type(error).__name__)[:4000], errno=errno,
            code=code if isinstance(code, int) else 125,
        )  # fmt: skip
    except OSError:
        pass  # the parent has exited: there is no process to report to
    os._exit(code if isinstance(code, int) and code else 125)
