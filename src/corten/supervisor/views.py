"""Containers' trees as helpers see them: mounted for one process alone, no device in them can be opened, and each is a
descriptor whose `..` ends at the tree's root.

A helper runs with the host's rights to devices: to open the one that an image has as its /etc/passwd may be enough to
reboot the machine.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from typing import Any

from corten.kernel import mount as m
from corten.kernel import paths
from corten.kernel import process as p
from corten.kernel import syscall as sys
from corten.runtime import mountplan, prepare

Json = dict[str, Any]

_LANDING = "/sys"  # a directory that every host has and a helper does not need


def of_mount(entry: Json) -> int:
    """A tree of an image or a container, from the mount that a driver of trees says it is."""
    plan = mountplan.parse(entry)
    if plan.kind == "bind":
        fd = m.view(sys.AT_FDCWD, plan.source)
        m.set_attributes(fd, plan.add, plan.clear)
        return fd
    return m.new(plan.fstype, plan.data, plan.add | m.MOUNT_ATTR_NODEV, plan.source)


def of_running(root: int, mounts: int, bare: bool) -> int:
    """The tree of a container that runs, from its root and its mount namespace; `bare`: without what is mounted in it.

    A mount of another namespace can only be copied in there (open_tree(2), EINVAL).
    """
    home = os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    p.setns(mounts, p.CLONE_NEWNS)
    try:
        return m.view(root, recursive=not bare)
    finally:
        p.setns(home, p.CLONE_NEWNS)  # no path has been used meanwhile
        os.close(home)


def of_stopped(request: Json) -> int:
    """The tree of a container that does not run: request["rootfs"], and in it request["mounts"] unless it is "bare".

    With "scratch" what is written to it, as places to mount on, is written nowhere.
    """
    if request.get("bare"):
        return of_mount(request["rootfs"])
    found = _sources(request.get("mounts") or ())
    scratch = bool(request.get("scratch"))
    root = -1 if scratch else of_mount(request["rootfs"])
    p.unshare(p.CLONE_NEWNS)
    m.set_propagation("/", m.MS_SLAVE)
    if scratch:
        root = _over(request["rootfs"])
    m.move_to(root, _LANDING)  # mounts cannot be put into one that is nowhere, before Linux 6.15
    for entry, fd in found:
        _place(root, fd, entry)
    if request.get("read_only"):
        m.set_attributes(root, m.MOUNT_ATTR_RDONLY)
    return m.clone(root, recursive=True)


def _over(entry: Json) -> int:
    """A mount of read-only trees under a writable one in memory, which goes with this process."""
    plan = mountplan.parse(entry)
    others = [option for option in plan.data if not option.startswith("lowerdir=")]
    below = next((option.removeprefix("lowerdir=") for option in plan.data if option not in others), plan.source)
    m.move_to(m.new("tmpfs", ("mode=0700",), m.MOUNT_ATTR_NODEV), _LANDING)
    upper, work = f"{_LANDING}/upper", f"{_LANDING}/work"
    status = os.stat(below.partition(":")[0])
    for path in (upper, work):
        os.mkdir(path, 0o700)
    os.chown(upper, status.st_uid, status.st_gid)  # the root of an overlay looks as its uppermost directory does
    os.chmod(upper, stat.S_IMODE(status.st_mode))
    os.utime(upper, ns=(status.st_atime_ns, status.st_mtime_ns))
    options = (f"lowerdir={below}", f"upperdir={upper}", f"workdir={work}", *others)
    return m.new("overlay", options, (plan.add & ~m.MOUNT_ATTR_RDONLY) | m.MOUNT_ATTR_NODEV, "overlay")


def _sources(entries: Sequence[Json]) -> list[tuple[Json, int]]:
    """Entries with their mounts, in the same order.

    Copied while this is the daemon's namespace: a source may be one of its descriptors, whose mount is of that one. So
    what has to be mounted first, in a namespace of this process's own, comes last.
    """
    plans = [mountplan.parse(entry["mount"]) if "mount" in entry else None for entry in entries]
    fds = {}
    for mounted in (False, True):
        for at, (entry, plan) in enumerate(zip(entries, plans)):
            if mounted == (plan is not None and plan.kind == "host"):
                fds[at] = _source(entry) if plan is None else of_volume(plan)
    return [(entry, fds[at]) for at, entry in enumerate(entries) if fds[at] >= 0]


def of_volume(plan: mountplan.MountPlan) -> int:
    """A volume that is a file system, mounted for this process or a copy of another container's mount."""
    fd = prepare.of_host(plan) if plan.kind == "host" else prepare.bind(plan)
    m.set_attributes(fd, m.MOUNT_ATTR_NODEV, propagation=m.MS_PRIVATE, recursive=True)
    return fd


def _source(entry: Json) -> int:
    """A copy of the mount of a volume or bind; -1 for a bind whose source is gone: there is nothing to see in it."""
    try:
        return m.view(sys.AT_FDCWD, entry["source"], recursive=entry["recursive"])
    except FileNotFoundError:
        return -1


def _place(root: int, fd: int, entry: Json) -> None:
    """A volume or bind as the container has it (`plan.mounts`), what is mounted below as well: its links lead there."""
    if entry["read_only"]:
        m.set_attributes(fd, m.MOUNT_ATTR_RDONLY, recursive=entry["recursive_read_only"])
    directory = stat.S_ISDIR(os.fstat(fd).st_mode)
    where = (paths.make_directories if directory else paths.make_file)(root, entry["target"])
    m.move(fd, where)
    os.close(where)
    os.close(fd)
