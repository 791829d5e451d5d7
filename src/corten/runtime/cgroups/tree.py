"""Making and removing a group's directories. What is in them is set by `group`."""

from __future__ import annotations

import errno
import os
import select
import time

from corten.errors import Conflict, Invalid
from corten.kernel import cgroupfs
from corten.kernel.cgroupfs import Hierarchy
from corten.runtime.cgroups import v1, v2
from corten.runtime.cgroups.layout import Layout

_REMOVE_DEADLINE = 2.0  # seconds; a group is busy for a moment after its last process was reaped


def make(hierarchy: Hierarchy, path: str) -> int:
    where = hierarchy.mountpoint + path
    try:
        os.mkdir(where, 0o755)
    except FileNotFoundError:
        _prepare_parents(hierarchy, path)
        os.mkdir(where, 0o755)
    except FileExistsError:
        try:
            cgroupfs.remove_tree(where)
        except OSError as error:
            raise Conflict(f"control group {where} is in use") from error
        os.mkdir(where, 0o755)
    directory = cgroupfs.open_directory(where)
    if not _usable(hierarchy, directory):  # another program made the parent
        _prepare_parents(hierarchy, path)
        _inherit(hierarchy, directory, os.path.dirname(where))
    return directory


def _usable(hierarchy: Hierarchy, directory: int) -> bool:
    if hierarchy.version == 2:
        return not hierarchy.controllers or hierarchy.controllers <= set(
            cgroupfs.read(directory, "cgroup.controllers").split()
        )
    if "cpuset" in hierarchy.controllers:
        return all(cgroupfs.read(directory, file).strip() for file in ("cpuset.cpus", "cpuset.mems"))
    return True


def _prepare_parents(hierarchy: Hierarchy, path: str) -> None:
    """Make the groups above, and prepare them so that making one below needs nothing but mkdir(2)."""
    where = hierarchy.mountpoint
    for name in ("", *path.strip("/").split("/")[:-1]):
        above = where
        if name:
            where += "/" + name
            try:
                os.mkdir(where, 0o755)
            except FileExistsError:
                pass
        directory = cgroupfs.open_directory(where)
        try:
            if hierarchy.version == 2:
                v2.enable(directory)
            elif name:
                _inherit(hierarchy, directory, above)
        finally:
            os.close(directory)


def _inherit(hierarchy: Hierarchy, directory: int, above: str) -> None:
    if hierarchy.version == 1 and "cpuset" in hierarchy.controllers:
        parent = cgroupfs.open_directory(above)
        try:
            v1.inherit_cpuset(directory, parent)
        finally:
            os.close(parent)


def remove(layout: Layout, path: str) -> None:
    """rmdir in every tree, with what the container made below. Absent is fine; EBUSY after two seconds."""
    check(path)
    deadline = time.monotonic() + _REMOVE_DEADLINE
    for hierarchy in layout.hierarchies:
        pause = 0.001
        while True:
            try:
                cgroupfs.remove_tree(hierarchy.mountpoint + path)
                break
            except OSError as error:
                if error.errno != errno.EBUSY or time.monotonic() > deadline:
                    raise
            select.select([], [], [], pause)
            pause = min(pause * 2, 0.05)


def check(path: str) -> None:
    """Invalid for a path that is not absolute, is the root, or leaves its tree."""
    parts = path.split("/")
    if parts[0] or len(parts) < 2 or any(part in ("", ".", "..") for part in parts[1:]) or "\n" in path:
        raise Invalid(f"no control group path: {path!r}")
