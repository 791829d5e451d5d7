"""The root of a container without mounts of its own: mounted in a namespace that others use, until it is deleted."""

from __future__ import annotations

import os

from corten.kernel import mount as m
from corten.kernel import process as p
from corten.runtime.plan import Plan
from corten.spec.json import Json


def record(plan: Plan, root: int) -> Json | None:
    """What `remove` has to know, of a plan and the mount that is to be its root; None with mounts of its own."""
    if plan.private_mounts:
        return None
    namespace = next((path for kind, path in plan.joins if kind == "mount"), "")
    info = os.open("/proc/self/fdinfo", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return {"path": plan.root[-1].source, "id": _id(info, root), "namespace": namespace}
    finally:
        os.close(info)


def remove(record: Json | None) -> None:
    """Unmount it with all that is below, in the namespace where it is; nothing where it is not (any more)."""
    if record is None:
        return
    if not record["namespace"]:
        _unmount(record)
        return
    pid = os.fork()
    if pid:
        os.waitpid(pid, 0)
        return
    try:
        _unmount(record)
    finally:
        os._exit(0)  # what it could not do has no mount any more: the namespace is gone, or the mount


def _unmount(record: Json) -> None:
    info = os.open("/proc/self/fdinfo", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if record["namespace"]:
            namespace = os.open(record["namespace"], os.O_RDONLY | os.O_CLOEXEC)
            p.setns(namespace, p.CLONE_NEWNS)
        root = os.open(record["path"], os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        found = _id(info, root)
        os.close(root)
        if found == record["id"]:
            m.unmount(record["path"], m.MNT_DETACH)
    except FileNotFoundError:
        pass
    finally:
        os.close(info)


def _id(info: int, fd: int) -> int:
    """The mount that a descriptor is in (proc(5), fdinfo)."""
    with open(os.open(str(fd), os.O_RDONLY | os.O_CLOEXEC, dir_fd=info)) as file:
        return next(int(line.split()[1]) for line in file if line.startswith("mnt_id:"))
