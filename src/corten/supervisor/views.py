"""Containers' trees as helpers see them: mounted for one process alone, no device in them can be opened, and each is a
descriptor whose `..` ends at the tree's root.

A helper runs with the host's rights to devices: to open the one that an image has as its /etc/passwd may be enough to
reboot the machine.
"""

from __future__ import annotations

import os
import stat
from typing import Any

from corten.kernel import mount as m
from corten.kernel import paths
from corten.kernel import process as p
from corten.kernel import syscall as sys
from corten.runtime import mountplan

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
    """The tree of a container that does not run: request["rootfs"], and in it request["mounts"] unless it is "bare"."""
    root = of_mount(request["rootfs"])
    if request.get("bare"):
        return root
    # Copied while this is the daemon's namespace: a source may be one of its descriptors, whose mount is of that one.
    found = [(entry, fd) for entry in request.get("mounts") or () if (fd := _source(entry)) >= 0]
    p.unshare(p.CLONE_NEWNS)
    m.set_propagation("/", m.MS_SLAVE)
    m.move_to(root, _LANDING)  # mounts cannot be put into one that is nowhere, before Linux 6.15
    for entry, fd in found:
        _place(root, fd, entry)
    if request.get("read_only"):
        m.set_attributes(root, m.MOUNT_ATTR_RDONLY)
    return m.clone(root, recursive=True)


def _source(entry: Json) -> int:
    """A copy of the mount of a volume or bind; -1 for a bind whose source is gone: there is nothing to see in it."""
    try:
        return m.view(sys.AT_FDCWD, entry["source"], recursive=True)
    except FileNotFoundError:
        return -1


def _place(root: int, fd: int, entry: Json) -> None:
    """A volume or bind as the container has it."""
    if entry["read_only"]:
        m.set_attributes(fd, m.MOUNT_ATTR_RDONLY)
    directory = stat.S_ISDIR(os.fstat(fd).st_mode)
    where = (paths.make_directories if directory else paths.make_file)(root, entry["target"])
    m.move(fd, where)
    os.close(where)
    os.close(fd)
