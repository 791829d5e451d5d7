"""Seeing that memory ran out: v1's eventfd on memory.oom_control, v2's memory.events."""

from __future__ import annotations

import errno
import os

from corten.kernel import cgroupfs, inotify
from corten.runtime.cgroups.knobs import NOWHERE
from corten.runtime.cgroups.layout import Layout


def _version(layout: Layout) -> int:
    hierarchy = layout.of("memory")
    return hierarchy.version if hierarchy else 0


def count(layout: Layout, directory: int, unified: int | None) -> int:
    """Processes killed by the kernel in this group, since it was made. 0 without a memory controller, or before 4.13.

    Docker's rule for State.OOMKilled is that this is above 0 at the end.
    """
    if directory == NOWHERE:
        return 0
    file = "memory.events" if _version(layout) == 2 else "memory.oom_control"
    try:
        return cgroupfs.parse_flat(cgroupfs.read(directory, file)).get("oom_kill", 0)
    except OSError as error:
        if error.errno in (errno.ENODEV, errno.ENOENT):  # the group has gone
            return 0
        raise


def under_oom(layout: Layout, directory: int) -> bool:
    """Processes wait for memory, because the kernel is not to kill any (--oom-kill-disable; v1 alone has that)."""
    if directory == NOWHERE or _version(layout) == 2:
        return False
    try:
        return bool(cgroupfs.parse_flat(cgroupfs.read(directory, "memory.oom_control")).get("under_oom", 0))
    except OSError as error:
        if error.errno in (errno.ENODEV, errno.ENOENT):  # the group has gone
            return False
        raise


def watch(layout: Layout, directory: int, unified: int | None) -> int | None:
    """A non-blocking descriptor that is readable after memory ran out, and possibly at other times (limits reached,
    group removed): read 4096 bytes off it, then ask `count`. The caller closes it.

    None as well when this user of the machine has all inotify instances that it may have, which root of any container
    can bring about: `count` still says it at the end.
    """
    if directory == NOWHERE:
        return None
    if _version(layout) != 2:
        return _eventfd(directory)
    try:
        return inotify.watch(f"/proc/self/fd/{directory}/memory.events".encode(), inotify.IN_MODIFY)
    except OSError as error:
        if error.errno in (errno.EMFILE, errno.ENOSPC):
            return None
        raise


def _eventfd(directory: int) -> int:
    event = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
    try:
        control = os.open("memory.oom_control", os.O_RDONLY | os.O_CLOEXEC, dir_fd=directory)
        try:
            cgroupfs.write(directory, "cgroup.event_control", f"{event} {control}")
        finally:
            os.close(control)
    except OSError:
        os.close(event)
        raise
    return event
