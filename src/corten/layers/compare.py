"""Two trees side by side: the first thing in which one differs from the other."""

from __future__ import annotations

import os
import stat

from corten.kernel import xattr
from corten.layers import tree

_PIECE = 1 << 20


def difference(model: int, other: int) -> str | None:
    """What of `other` (a directory) is not as in `model`; None when everything is. Times of directories do not count,
    nor do the roots' own attributes: both change by being used."""
    theirs = {found.path: found.status for found in tree.walk(other)}
    for found in tree.walk(model):
        shown = os.fsdecode(found.path)
        status = theirs.pop(found.path, None)
        if status is None:
            return f"{shown} is missing"
        if (what := _differs(found, status, other)) is not None:
            return f"{shown}: {what}"
    return f"{os.fsdecode(min(theirs))} does not belong to it" if theirs else None


def _differs(found: tree.Found, status: os.stat_result, other: int) -> str | None:
    """How the thing at the same path in the tree `other`, which is as `status` says, differs."""
    model = found.status
    if stat.S_IFMT(model.st_mode) != stat.S_IFMT(status.st_mode):
        return "is of another kind"
    if model.st_mode != status.st_mode or (model.st_uid, model.st_gid) != (status.st_uid, status.st_gid):
        return "has another mode or owner"
    if model.st_rdev != status.st_rdev:
        return "is another device"
    directory, _, name = found.path.rpartition(b"/")
    fd = _directory(other, directory)
    try:
        if xattr.all_at(found.dirfd, found.name) != xattr.all_at(fd, name):
            return "has other attributes"
        if stat.S_ISLNK(model.st_mode):
            same = os.readlink(found.name, dir_fd=found.dirfd) == os.readlink(name, dir_fd=fd)
            return None if same else "is a link to elsewhere"
        if not stat.S_ISREG(model.st_mode):
            return None
        if model.st_size != status.st_size:
            return f"measures {status.st_size} bytes instead of {model.st_size}"
        return None if _same_content(found.dirfd, found.name, fd, name) else "has another content"
    finally:
        os.close(fd)


def _directory(top: int, path: bytes) -> int:
    """The directory `path` below `top`, component by component: no link is followed."""
    fd = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=top)
    for name in path.split(b"/") if path else ():
        try:
            below = tree.open_directory(name, fd)
        finally:
            os.close(fd)
        fd = below
    return fd


def _same_content(first: int, name: bytes, second: int, other: bytes) -> bool:
    how = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
    one = os.open(name, how, dir_fd=first)
    try:
        two = os.open(other, how, dir_fd=second)
        try:
            while True:
                piece = os.read(one, _PIECE)
                if piece != os.read(two, _PIECE):
                    return False
                if not piece:
                    return True
        finally:
            os.close(two)
    finally:
        os.close(one)
