"""Places that were made in a tree for mounts, and that nothing was put into: they are no part of what a step added.

What was there before is seen in the tree below, which is what the mounts' maker found when it made them. By the classic
builder's rules what a step writes to a volume is no part of it either.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable

from corten.errors import Invalid
from corten.kernel import paths, xattr
from corten.layers import tree
from corten.layers.union import Directory, find

_BENEATH = paths.RESOLVE_BENEATH | paths.RESOLVE_NO_SYMLINKS
_OTHERS = (errno.ENOTEMPTY, errno.EEXIST, errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.EXDEV)


def remove(own: int, base: int | None, targets: Iterable[bytes], whole: bool) -> None:
    """Take away what was made in the upper directory `own` (`whole`: a tree that has everything) for mounts at
    `targets`, and directories that are in it for nothing else. The descriptors stay the caller's."""
    for target in sorted(targets, key=len, reverse=True):  # inner ones first
        _remove(own, base, target, whole)


def _remove(own: int, base: int | None, target: bytes, whole: bool) -> None:
    below = Directory(-1, os.dup(base)) if base is not None else None
    try:
        there, made = find(below, target) if below is not None else (None, [p for p in target.split(b"/") if p])
    except Invalid:  # nothing could have been mounted there
        return
    if there is not None and made and there.status(made[0]) is not None:
        return  # a file that was there
    names = [name for name in (there.path if there is not None else b"/").split(b"/") if name]
    for length in range(len(made), 0, -1):
        if not _taken_away(own, [*names, *made[: length - 1]], made[length - 1]):
            return
    if not whole:
        _forget(own, there, names)


def take_back(own: int, base: int | None, targets: Iterable[bytes]) -> None:
    """Undo what was changed in the upper directory `own` at `targets`: they are as below, or empty directories where
    nothing is below. The descriptors stay the caller's."""
    for target in targets:
        below = Directory(-1, os.dup(base)) if base is not None else None
        try:
            there, made = find(below, target) if below is not None else (None, [p for p in target.split(b"/") if p])
        except Invalid:
            continue
        names = [name for name in (there.path if there is not None else b"/").split(b"/") if name]
        if there is not None and there.above is not None and not made:
            _restored(own, names)
            _forget(own, there.above, names[:-1])
        elif made:
            _emptied(own, [*names, *made])


def _restored(own: int, names: list[bytes]) -> None:
    try:
        parent = _open(own, names[:-1])
    except OSError as error:
        if error.errno in _OTHERS:
            return
        raise
    try:
        before = os.fstat(parent)
        tree.remove(parent, names[-1])
        os.utime(parent, ns=(before.st_atime_ns, before.st_mtime_ns))
    finally:
        os.close(parent)


def _emptied(own: int, names: list[bytes]) -> None:
    try:
        held = _open(own, names)
    except OSError as error:
        if error.errno in _OTHERS:
            return
        raise
    try:
        for name in tree.names(held):
            tree.remove(held, name)
    finally:
        os.close(held)


def _taken_away(own: int, above: list[bytes], name: bytes) -> bool:
    """Remove an empty directory or file; the directory that it was in keeps its times."""
    try:
        parent = _open(own, above)
    except OSError as error:
        if error.errno in _OTHERS:
            return False
        raise
    try:
        before = os.fstat(parent)
        status = os.stat(name, dir_fd=parent, follow_symlinks=False)
        if stat.S_ISDIR(status.st_mode):
            os.rmdir(name, dir_fd=parent)
        elif stat.S_ISREG(status.st_mode) and not status.st_size and status.st_nlink == 1:
            os.unlink(name, dir_fd=parent)
        else:
            return False
        os.utime(parent, ns=(before.st_atime_ns, before.st_mtime_ns))
        return True
    except OSError as error:
        if error.errno in _OTHERS:
            return False
        raise
    finally:
        os.close(parent)


def _forget(own: int, there: Directory | None, names: list[bytes]) -> None:
    """Remove directories of an upper one that look as they do below, and in which nothing is different."""
    while there is not None and names:
        above = there.above
        try:
            held = _open(own, names)
        except FileNotFoundError:
            return
        try:
            now, before = os.fstat(held), os.fstat(there.base)
            if xattr.is_opaque_at(held, b".") or _look(now) != _look(before):
                return
        finally:
            os.close(held)
        if not _taken_away(own, names[:-1], names[-1]):
            return
        there, names = above, names[:-1]


def _look(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_mode, status.st_uid, status.st_gid


def _open(own: int, names: list[bytes]) -> int:
    return paths.openat2(own, b"/".join(names) or b".", os.O_RDONLY | os.O_DIRECTORY, 0, _BENEATH)
