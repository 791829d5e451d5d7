"""Control groups as files: cgroups(7). Where the hierarchies are mounted, and their files by directory descriptor.

What the files mean is in `corten.runtime.cgroups`.
"""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from typing import NamedTuple

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_PAGE = 1 << 16
_MOUNT_OPTIONS = frozenset(("rw", "ro", "xattr", "noprefix", "clone_children", "favordynmods", "cpuset_v2_mode"))


class Hierarchy(NamedTuple):
    """One mounted tree. `controllers` of a v1 tree, named ones as "name=systemd"; of v2 those its root offers."""

    mountpoint: str
    version: int
    controllers: frozenset[str]


def _unescape(field: str) -> str:
    return field.encode().decode("unicode_escape").encode("latin-1").decode() if "\\" in field else field


def hierarchies(mountinfo: str) -> tuple[Hierarchy, ...]:
    """The trees in the text of /proc/self/mountinfo, v1 first, each once; v2's controllers are read from its root."""
    found: dict[frozenset[str] | None, Hierarchy] = {}
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        words = after.split()
        if not words or words[0] not in ("cgroup", "cgroup2"):
            continue
        path = _unescape(before.split()[4])
        if words[0] == "cgroup2":
            found.setdefault(None, Hierarchy(path, 2, _offered(path)))
        else:
            options = frozenset(words[2].split(",")) - _MOUNT_OPTIONS
            ours = frozenset(option for option in options if not option.startswith("release_agent="))
            found.setdefault(ours, Hierarchy(path, 1, ours))
    return tuple(sorted(found.values(), key=lambda tree: tree.version))


def _offered(path: str) -> frozenset[str]:
    try:
        with open(path + "/cgroup.controllers") as file:
            return frozenset(file.read().split())
    except FileNotFoundError:
        return frozenset()


def open_directory(path: str) -> int:
    """A descriptor of the group at `path`, closed on exec."""
    return os.open(path, _DIRECTORY)


def read(directory: int, file: str) -> str:
    """The whole content of a control file. A file may be longer than a page (cgroup.procs)."""
    fd = os.open(file, os.O_RDONLY | os.O_CLOEXEC, dir_fd=directory)
    try:
        parts = []
        while part := os.read(fd, _PAGE):
            parts.append(part)
        return b"".join(parts).decode()
    finally:
        os.close(fd)


def write(directory: int, file: str, *values: object) -> None:
    """Write each value with a write(2) of its own, which is how the kernel wants several rules.

    Raises OSError whose text names file and value; EBUSY, EINVAL and ENOSPC are the kernel's way to refuse one.
    """
    fd = os.open(file, os.O_WRONLY | os.O_CLOEXEC, dir_fd=directory)
    try:
        for value in values:
            try:
                os.write(fd, str(value).encode())
            except OSError as error:
                code = error.errno or 0
                raise OSError(code, f"{os.strerror(code)} in write({file!r}, {str(value)!r})") from None
    finally:
        os.close(fd)


def parse_flat(text: str) -> dict[str, int]:
    """ "key number" lines, as in memory.stat and cpu.stat."""
    return {key: int(value) for key, _, value in (line.partition(" ") for line in text.splitlines()) if value.isdigit()}


def parse_limit(text: str) -> int:
    """A number, or "max", which is 2**64-1 as in runc's statistics."""
    word = text.strip()
    return 0xFFFFFFFFFFFFFFFF if word == "max" else int(word)


def children(directory: int) -> list[str]:
    """Names of the groups directly below. A cgroup directory has one link for each of them, and two of its own."""
    if os.fstat(directory).st_nlink <= 2:
        return []
    with os.scandir(directory) as entries:
        return [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]


def below(directory: int) -> Iterator[tuple[int, str]]:
    """The groups below, the lower ones first: a descriptor of the group that one is in, open until the next is asked
    for, and its name. What is below is made by containers: its depth takes neither descriptors nor a stack, and no
    path is longer than one name. The way up is `..`, which is kept when a group was removed; none can be moved into
    another."""
    if not (names := children(directory)):
        return
    here, path, left = os.open(".", _DIRECTORY, dir_fd=directory), list[str](), [names]
    try:
        while left[-1] or path:
            name = left[-1].pop() if left[-1] else ".."
            try:
                there = os.open(name, _DIRECTORY, dir_fd=here)
            except FileNotFoundError:
                if name == "..":
                    raise
                continue
            os.close(here)
            here = there
            if name == "..":
                left.pop()
                yield here, path.pop()
            else:
                path.append(name)
                left.append(children(here))
    finally:
        os.close(here)


def pids(directory: int, deep: bool = True) -> list[int]:
    """The processes of a group and, when `deep`, of those below it. A group that goes away meanwhile has none."""
    found = _pids(directory, "cgroup.procs")
    if deep:
        for above, name in below(directory):
            found += _pids(above, f"{name}/cgroup.procs")
    return found


def _pids(directory: int, file: str) -> list[int]:
    try:
        return [int(word) for word in read(directory, file).split()]
    except OSError as error:
        if error.errno not in (errno.ENODEV, errno.ENOENT):
            raise
        return []


def signal_all(directory: int, number: int = signal.SIGKILL) -> int:
    """Signal every process of a group and below; how many were there."""
    found = pids(directory)
    for pid in found:
        if pid > 0:  # 0 is a process that this pid namespace cannot see
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                pass
    return len(found)


def remove_tree(path: str) -> None:
    """rmdir(2) a group and those below it. Absent is fine. Raises EBUSY when a process is still in it."""
    try:
        os.rmdir(path)
        return
    except FileNotFoundError:
        return
    except OSError as error:
        if error.errno not in (errno.EBUSY, errno.ENOTEMPTY):
            raise
    try:
        directory = open_directory(path)
    except FileNotFoundError:
        return
    try:
        for above, name in below(directory):
            with suppress(FileNotFoundError):
                os.rmdir(name, dir_fd=above)
    finally:
        os.close(directory)
    with suppress(FileNotFoundError):
        os.rmdir(path)


def unified_path(pid: int) -> str:
    """Where a process is in the v2 tree, as this process' cgroup namespace sees it."""
    with open(f"/proc/{pid}/cgroup") as file:
        return next((line[3:].rstrip("\n") for line in file if line.startswith("0::")), "/")
