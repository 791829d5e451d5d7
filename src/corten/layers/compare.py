"""Two trees side by side: the first thing in which one differs from the other."""

from __future__ import annotations

import os
import stat
from itertools import zip_longest

from corten.kernel import xattr
from corten.layers import holes, tree

_PIECE = 1 << 20


def difference(model: int, other: int) -> str | None:
    """What of `other` (a directory) is not as in `model`; None when everything is. Times of directories do not count,
    nor do the roots' own attributes: both change by being used."""
    for ours, theirs in zip_longest(tree.walk(model), tree.walk(other)):
        if theirs is None or (ours is not None and _order(ours) < _order(theirs)):
            return f"{os.fsdecode(ours.path)} is missing"
        if ours is None or _order(theirs) < _order(ours):
            return f"{os.fsdecode(theirs.path)} does not belong to it"
        if (what := _differs(ours, theirs)) is not None:
            return f"{os.fsdecode(ours.path)}: {what}"
    return None


def _order(found: tree.Found) -> list[bytes]:
    """Walks go down into a directory before they go on beside it."""
    return found.path.split(b"/")


def _differs(ours: tree.Found, theirs: tree.Found) -> str | None:
    """How two things at the same path differ."""
    model, status = ours.status, theirs.status
    if stat.S_IFMT(model.st_mode) != stat.S_IFMT(status.st_mode):
        return "is of another kind"
    if model.st_mode != status.st_mode or (model.st_uid, model.st_gid) != (status.st_uid, status.st_gid):
        return "has another mode or owner"
    if model.st_rdev != status.st_rdev:
        return "is another device"
    if xattr.all_at(ours.dirfd, ours.name) != xattr.all_at(theirs.dirfd, theirs.name):
        return "has other attributes"
    if stat.S_ISLNK(model.st_mode):
        same = os.readlink(ours.name, dir_fd=ours.dirfd) == os.readlink(theirs.name, dir_fd=theirs.dirfd)
        return None if same else "is a link to elsewhere"
    if not stat.S_ISREG(model.st_mode):
        return None
    if model.st_size != status.st_size:
        return f"measures {status.st_size} bytes instead of {model.st_size}"
    same = _same_content(ours.dirfd, ours.name, theirs.dirfd, theirs.name, model.st_size)
    return None if same else "has another content"


def _same_content(first: int, name: bytes, second: int, other: bytes, size: int) -> bool:
    how = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
    one = os.open(name, how, dir_fd=first)
    try:
        two = os.open(other, how, dir_fd=second)
        try:
            return _same_bytes(one, two, size)
        finally:
            os.close(two)
    finally:
        os.close(one)


def _same_bytes(one: int, two: int, size: int) -> bool:
    """What is a hole in both is not read."""
    at = 0
    while (at := min(holes.next_data(one, at, size), holes.next_data(two, at, size))) < size:
        piece = os.pread(one, _PIECE, at)
        if piece != os.pread(two, _PIECE, at):
            return False
        if not piece:
            return True
        at += len(piece)
    return True
