"""The kernel's part of a container's life in plain Python: the floor below which no engine in Python can get.

Fork, five namespaces, overlay, pivot_root, six control groups, exec, wait, clean up; nothing is checked, recorded,
logged, confined or connected. Calls go through libc (unshare(2), mount(2), pivot_root(2), umount2(2)).
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import shutil
from pathlib import Path

from bench.measure import Failed

CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWIPC, CLONE_NEWPID, CLONE_NEWNET = (
    0x20000, 0x4000000, 0x8000000, 0x20000000, 0x40000000,
)  # fmt: skip
FIVE = CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWPID | CLONE_NEWNET
MS_REC, MS_PRIVATE, MNT_DETACH = 0x4000, 0x40000, 2
PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
SIX = ("memory", "pids", "cpu", "devices", "freezer", "blkio")
CGROUPS = Path("/sys/fs/cgroup")

_libc = ctypes.CDLL(None, use_errno=True)


def cycle(lower: Path, place: Path, cgroup: str) -> None:
    """One life of `true` on a fresh overlay over `lower`. Raises Failed where it did not end with 0."""
    directories = {name: place / name for name in ("upper", "work", "merged")}
    for directory in directories.values():
        directory.mkdir(parents=True)
    groups = _make_groups(cgroup)
    options = f"lowerdir={lower},upperdir={directories['upper']},workdir={directories['work']}"
    pid = os.fork()
    if pid == 0:
        _outer(groups, options, directories["merged"])
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    for group in groups:
        group.rmdir()
    shutil.rmtree(place)
    if status:
        raise Failed(f"the floor's child ended with {status}")


def _make_groups(cgroup: str) -> list[Path]:
    """A group in each of six v1 hierarchies, or one in the unified hierarchy."""
    tops = [CGROUPS / name for name in SIX if (CGROUPS / name).is_dir()] or [CGROUPS]
    groups = [top / cgroup / f"floor-{os.getpid()}" for top in tops]
    for group in groups:
        group.mkdir(parents=True, exist_ok=True)
    return groups


def _outer(groups: list[Path], options: str, merged: Path) -> None:
    """The first child: joins the groups, leaves the namespaces, forks what becomes their first process."""
    with contextlib.suppress(BaseException):
        for group in groups:
            (group / "cgroup.procs").write_text("0")
        _call("unshare", FIVE)
        pid = os.fork()
        if pid == 0:
            _init(options, merged)
        os._exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) & 127)
    os._exit(125)


def _init(options: str, merged: Path) -> None:
    with contextlib.suppress(BaseException):
        _call("mount", None, b"/", None, MS_REC | MS_PRIVATE, None)
        _call("mount", b"overlay", bytes(merged), b"overlay", 0, options.encode())
        os.chdir(merged)
        _call("syscall", PIVOT_ROOT[platform.machine()], b".", b".")
        _call("umount2", b".", MNT_DETACH)
        os.chdir("/")
        _call("mount", b"proc", b"/proc", b"proc", 0, None)
        os.execv("/bin/true", ["true"])
    os._exit(126)


def _call(name: str, *arguments: object) -> None:
    converted = [ctypes.c_ulong(value) if isinstance(value, int) else value for value in arguments]
    if getattr(_libc, name)(*converted):
        raise OSError(ctypes.get_errno(), name)
