"""The control group of one container, in every tree that the machine has.

    group = create(layout, "/corten/ID", resources)     # group.warnings: what the machine cannot do
    group.enter_self()          # in the container's first process, or group.enter(pid) from outside
    group.update(resources); group.freeze(); group.thaw(); group.stats()
    group.kill(); group.remove()                        # both idempotent
    open(layout, "/corten/ID")                          # the same again, in a later process

The handle holds one directory descriptor a tree (closed on exec, inherited over fork); `close` gives them back.
"""

from __future__ import annotations

import errno
import os
import select
import time
from contextlib import ExitStack
from typing import Any

from corten.errors import Conflict, Failed, NotFound, Unsupported
from corten.kernel import cgroupfs
from corten.kernel.cgroupfs import Hierarchy
from corten.runtime.cgroups import devices, freezer, oom, tree, v1, v2, words
from corten.runtime.cgroups import stats as statistics
from corten.runtime.cgroups.knobs import NOWHERE
from corten.runtime.cgroups.layout import Layout

Json = dict[str, Any]

_KILL_DEADLINE = 10.0
_DELEGATED = ("cgroup.procs", "cgroup.threads", "cgroup.subtree_control", "memory.oom.group")


class Cgroup:
    """One container's group. Methods raise NotFound when the group has gone, and OSError as the kernel says."""

    __slots__ = ("_directories", "layout", "path", "warnings")

    def __init__(self, layout: Layout, path: str, directories: dict[Hierarchy, int]) -> None:
        self.layout = layout
        self.path = path
        self.warnings: list[str] = []
        self._directories = directories

    # ------------------------------------------------------------------------------------------------ where it is

    @property
    def fd(self) -> int | None:
        """The directory in the v2 tree, for clone3(2)'s CLONE_INTO_CGROUP. None on a machine without v2."""
        unified = self.layout.unified
        return self._directories.get(unified) if unified else None

    def directory(self, controller: str) -> int:
        """The descriptor of the directory in which this controller's files are, or NOWHERE."""
        hierarchy = self.layout.of(controller)
        return self._directories.get(hierarchy, NOWHERE) if hierarchy else NOWHERE

    def descriptors(self) -> list[int]:
        """The directories of all trees: what a child must keep open to call `enter_self`."""
        return list(self._directories.values())

    def mounts(self) -> list[tuple[str, str, tuple[str, ...]]]:
        """(name, directory, links) of each tree, as a container's /sys/fs/cgroup shows them; one without a name when
        there is only v2."""
        if self.layout.mode == "v2":
            return [("", hierarchy.mountpoint + self.path, ()) for hierarchy in self._directories]
        found = []
        for hierarchy in self._directories:
            name = os.path.basename(hierarchy.mountpoint)
            links = tuple(c for c in sorted(hierarchy.controllers) if hierarchy.version == 1 and "," in name)
            found.append((name, hierarchy.mountpoint + self.path, links))
        return found

    def paths(self) -> dict[str, str]:
        """Directory of each controller (v1 names, "" for the v2 tree), as OCI's state and runc's `state` show it."""
        found = {}
        for hierarchy in self._directories:
            for name in hierarchy.controllers if hierarchy.version == 1 else ("",):
                found[name] = hierarchy.mountpoint + self.path
        return found

    # ---------------------------------------------------------------------------------------------------- members

    def enter(self, pid: int, beside: int | None = None) -> None:
        """Move a process with all its threads. Each tree waits for a grace period of the kernel, up to 15 ms in all
        on an idle machine; `enter_self` and CLONE_INTO_CGROUP do not.

        `beside` is a process of the container: where it has made groups of its own below a v2 group, this one takes
        no process any more (EBUSY), and the new one goes where `beside` is.
        """
        for hierarchy, directory in self._directories.items():
            try:
                cgroupfs.write(directory, "cgroup.procs", pid)
            except OSError as error:
                if hierarchy.version == 1 or beside is None or error.errno not in (errno.EBUSY, errno.EOPNOTSUPP):
                    raise
                self._enter_beside(hierarchy, pid, beside)

    def _enter_beside(self, hierarchy: Hierarchy, pid: int, beside: int) -> None:
        path = cgroupfs.unified_path(beside)
        if path != self.path and not path.startswith(self.path + "/"):
            raise Conflict(f"process {beside} has left control group {self.path}")
        directory = cgroupfs.open_directory(hierarchy.mountpoint + path)
        try:
            cgroupfs.write(directory, "cgroup.procs", pid)
        finally:
            os.close(directory)

    def enter_self(self, unified: bool = True) -> None:
        """Move the calling process, which must have a single thread: 40 us a tree.

        A v1 tree's `tasks`, unlike cgroup.procs, moves one thread, and the kernel need not stop the others for that:
        no grace period. The v2 tree has no such file; a process made by CLONE_INTO_CGROUP is there already and says
        `unified=False`.
        """
        for hierarchy, directory in self._directories.items():
            if hierarchy.version == 1:
                cgroupfs.write(directory, "tasks", 0)
            elif unified:
                cgroupfs.write(directory, "cgroup.procs", 0)

    def pids(self) -> list[int]:
        """All processes in the group and below it."""
        return sorted(set().union(*(cgroupfs.pids(directory) for directory in self._members())))

    def _members(self) -> list[int]:
        """Trees in which to look for members: the v2 one, because nothing inside a container can leave it, and one of
        v1, because other runtimes put no process into v2 where there is v1."""
        if not self._directories:
            raise NotFound(f"control group {self.path} does not exist")
        first = min((h for h in self._directories if h.version == 1), default=None)
        return [self._directories[h] for h in (first, self.layout.unified) if h is not None and h in self._directories]

    # ----------------------------------------------------------------------------------------------------- limits

    def update(self, resources: Json) -> list[str]:
        """Set what `resources` (OCI's linux.resources) names and nothing else; the warnings of this call.

        Invalid for a value that the kernel refuses, Conflict for a memory limit below what is in use.
        """
        warnings: list[str] = []
        for first, second, key in _CONTROLLERS:
            if not resources.get(key):
                continue
            if _is_second(self.layout, first, second):
                v2.SECTIONS[second](self.directory(second), resources, warnings)
            else:
                v1.SECTIONS[first](self.directory(first), resources, warnings)
        self._unified(resources, warnings)
        if resources.get("devices"):
            self._devices(devices.parse(resources["devices"]) + devices.ALWAYS, warnings)
        once = list(dict.fromkeys(warnings))  # two knobs may lack for the same reason
        self.warnings += [warning for warning in once if warning not in self.warnings]
        return once

    def _unified(self, resources: Json, warnings: list[str]) -> None:
        if self.layout.mode == "v2":
            v2.unified(self.fd if self.fd is not None else NOWHERE, resources, warnings)
        else:
            warnings += [words.UNIFIED.format(file) for file in resources.get("unified") or ()]

    def _devices(self, rules: tuple[devices.Rule, ...], warnings: list[str]) -> None:
        directory = self.directory("devices")
        if directory != NOWHERE:
            now = devices.read_state(cgroupfs.read(directory, "devices.list"))
            for file, lines in devices.transition(now, devices.settle(rules, warnings)):
                cgroupfs.write(directory, file, *lines)
        elif self.fd is not None:
            v2.devices(self.fd, rules)
        else:
            warnings.append(words.DEVICES)

    def delegate(self, uid: int, gid: int) -> None:
        """Give the v2 group to the root of a container's user namespace, so that it can make groups below it."""
        if self.fd is None:
            return
        os.fchown(self.fd, uid, gid)
        for file in _DELEGATED:
            try:
                os.chown(file, uid, gid, dir_fd=self.fd)
            except FileNotFoundError:  # memory.oom.group without a memory controller
                pass

    # ------------------------------------------------------------------------------------------ pause, watch, kill

    def freeze(self) -> None:
        """Freeze all processes; returns when the kernel reports them frozen. Raises Failed when they do not stop."""
        freezer.freeze(self.directory("freezer"), self.fd, self.path)

    def thaw(self) -> None:
        freezer.thaw(self.directory("freezer"), self.fd)

    def frozen(self) -> bool:
        return freezer.frozen(self.directory("freezer"), self.fd)

    def stats(self) -> Json:
        """Counters in the shape of runc's `events --stats`; see `stats`."""
        return statistics.read(self.layout, self.directory, self.fd)

    def oom_count(self) -> int:
        """How many processes of this group the kernel has killed for lack of memory."""
        return oom.count(self.layout, self.directory("memory"), self.fd)

    def under_oom(self) -> bool:
        """See `oom.under_oom`."""
        return oom.under_oom(self.layout, self.directory("memory"))

    def oom_fd(self) -> int | None:
        """A new descriptor that becomes readable when memory ran out; see `oom.watch`. None without the controller."""
        return oom.watch(self.layout, self.directory("memory"), self.fd)

    def kill(self) -> None:
        """SIGKILL to all processes, also to those that fork meanwhile or are frozen. Returns when all have got
        it; they may still have to be reaped. Failed when some are left after ten seconds. What is removed meanwhile
        had none any more."""
        if not self._directories:
            return
        try:
            if self.fd is None or not self._kill_at_once(self.fd) or set(self.pids()) - set(cgroupfs.pids(self.fd)):
                self._kill_each()  # also when a process is in v1's trees only
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENODEV):
                raise

    def _kill_at_once(self, unified: int) -> bool:
        """v2's cgroup.kill. False when the kernel (before 5.14) has none."""
        try:
            cgroupfs.write(unified, "cgroup.kill", 1)
        except FileNotFoundError:
            return False
        except OSError as error:
            if error.errno != errno.ENODEV:  # the group has gone
                raise
        self.thaw()  # a v1 freezer holds them in spite of the signal
        return True

    def _kill_each(self) -> None:
        """Frozen, no process can fork between being listed and being killed."""
        deadline = time.monotonic() + _KILL_DEADLINE
        while self.pids():
            try:
                self.freeze()
            except (Failed, Unsupported):
                pass  # one does not stop, or none can be stopped: what forks meanwhile is killed in the next round
            for directory in self._members():
                cgroupfs.signal_all(directory)
            self.thaw()
            if time.monotonic() > deadline:
                raise Failed(f"control group {self.path}: processes {self.pids()} do not end")
            select.select([], [], [], 0.001)

    # -------------------------------------------------------------------------------------------------------- end

    def remove(self) -> None:
        """Take the group away, with those that the container made below it. Absent is fine. EBUSY after two seconds
        with processes in it."""
        tree.remove(self.layout, self.path)
        self.close()

    def close(self) -> None:
        for directory in self._directories.values():
            os.close(directory)
        self._directories = {}


_CONTROLLERS = (  # the same thing in v1 and in v2, and what asks for it in linux.resources
    ("memory", "memory", "memory"),
    ("cpu", "cpu", "cpu"),
    ("cpuset", "cpuset", "cpu"),
    ("pids", "pids", "pids"),
    ("blkio", "io", "blockIO"),
    ("hugetlb", "hugetlb", "hugepageLimits"),
    ("rdma", "rdma", "rdma"),
    ("net_cls", "net_cls", "network"),
    ("net_prio", "net_prio", "network"),
)


def _is_second(layout: Layout, first: str, second: str) -> bool:
    """Whether v2's files are meant: where the controller is, or, when it is nowhere, where it would have to be."""
    hierarchy = layout.of(first) or layout.of(second)
    return hierarchy.version == 2 if hierarchy else layout.mode == "v2"


def make_unified(layout: Layout, path: str) -> int | None:
    """The group's v2 directory, before there is a group: for a process that is cloned into it and then calls `create`.

    None on a machine without v2. Errors are those of `create`.
    """
    tree.check(path)
    return tree.make(layout.unified, path) if layout.unified else None


def create(
    layout: Layout,
    path: str,
    resources: Json | None = None,
    *,
    in_userns: bool = False,
    unified: int | None = None,
) -> Cgroup:
    """Make the group in every tree and set `resources`, OCI's linux.resources; `path` is absolute, as "/corten/ID".

    Empty leftovers at `path` are replaced; Conflict when processes are in them. On any failure nothing is left behind.
    `in_userns` says that this engine itself has no rights over the whole machine: trees it may not write to are left
    out, and devices are not limited (nodes are, by the user namespace). `unified` is the answer of `make_unified`, the
    group's from here on; the directory stays when this fails, because the caller may be in it.
    """
    tree.check(path)
    resources = dict(resources or {})
    with ExitStack() as undo:
        group = Cgroup(layout, path, {})
        undo.callback(group.close)
        for hierarchy in layout.hierarchies:
            if hierarchy.version == 2 and unified is not None:
                group._directories[hierarchy] = unified
                continue
            try:
                made = tree.make(hierarchy, path)
            except OSError as error:
                if not in_userns or error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
                    raise
                continue
            group._directories[hierarchy] = made
            undo.callback(cgroupfs.remove_tree, hierarchy.mountpoint + path)
        rules = resources.pop("devices", None) or ()
        group.update(resources)
        if not in_userns:
            # As runc: without rules of its own a container gets the harmless devices only.
            group._devices(devices.parse(rules) + devices.ALWAYS, group.warnings)
        undo.pop_all()
        return group


def open(layout: Layout, path: str) -> Cgroup:
    """The group that `create` made, in a later process. NotFound when no tree has it."""
    tree.check(path)
    directories = {}
    for hierarchy in layout.hierarchies:
        try:
            directories[hierarchy] = cgroupfs.open_directory(hierarchy.mountpoint + path)
        except FileNotFoundError:
            continue
    if not directories:
        raise NotFound(f"control group {path} does not exist")
    return Cgroup(layout, path, directories)
