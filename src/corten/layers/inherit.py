"""What a layer that was applied by itself still owes its parents.

A tar may hold `tmp/x` without `tmp/`: the directory that was made for it stands before the one below, whose mode and
owner must not change by that. And a hard link may lead to a file of a lower layer, which is then copied up, as the
kernel does when a file in an overlay gets a link.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence

from corten.errors import Invalid
from corten.kernel import descriptors, paths, xattr
from corten.layers import attributes, content, whiteout
from corten.layers.limits import quoted


def settle(tree: int, parents: Sequence[int], implied: Sequence[bytes], links: Sequence[tuple[bytes, bytes]]) -> None:
    """Finish the layer at `tree`; `parents` are descriptors of the layers below, nearest first.

    Raises Invalid when a link's target is nowhere, OSError from the kernel.
    """
    for path in implied:
        found = _below(parents, path)
        if found is None:
            continue
        try:
            if stat.S_ISDIR(os.fstat(found).st_mode):
                _copy_directory(tree, path, found)
        finally:
            os.close(found)
    made: dict[bytes, bytes] = {}
    for path, target in links:
        _link(tree, parents, path, target, made)


def _below(parents: Sequence[int], path: bytes) -> int | None:
    """An O_PATH descriptor of what `path` is in the nearest parent that has a say; None when it is nowhere.

    Each component is looked at: a whiteout, a link, a file or an opaque directory hides everything deeper down.
    """
    parts = path.split(b"/") if path else []
    for parent in parents:
        here, opaque = os.dup(parent), False
        for part in parts:
            try:
                below = os.open(part, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=here)
            except (FileNotFoundError, NotADirectoryError):
                opaque = opaque or _hides(here)
                os.close(here)
                break
            opaque = opaque or _hides(here)
            os.close(here)
            here = below
        else:
            if whiteout.is_whiteout(os.fstat(here)):
                os.close(here)
                return None
            return here
        if opaque:
            return None
    return None


def _hides(fd: int) -> bool:
    """Whether this entry hides what lies below it, in further layers."""
    if not stat.S_ISDIR(os.fstat(fd).st_mode):
        return True
    return xattr.is_opaque_at(fd, b".")


def _copy_directory(tree: int, path: bytes, source: int) -> None:
    target = paths.openat2(
        tree, path or b".", os.O_RDONLY | os.O_DIRECTORY, 0, paths.RESOLVE_BENEATH | paths.RESOLVE_NO_SYMLINKS
    )
    try:
        _describe(target, source)
    finally:
        os.close(target)


def _link(tree: int, parents: Sequence[int], path: bytes, target: bytes, made: dict[bytes, bytes]) -> None:
    """`made` are the paths of the copies so far, by what they are copies of: further names of one are links to it."""
    directory, name = _parent(tree, path)
    try:
        before = os.fstat(directory)
        if target in made:
            there, first = _parent(tree, made[target])
            try:
                os.link(first, name, src_dir_fd=there, dst_dir_fd=directory, follow_symlinks=False)
            finally:
                os.close(there)
        else:
            _copy_below(parents, target, directory, name)
            made[target] = path
        os.utime(descriptors.path(directory), ns=(before.st_atime_ns, before.st_mtime_ns))  # it is the layer's own
    finally:
        os.close(directory)


def _parent(tree: int, path: bytes) -> tuple[int, bytes]:
    """An O_PATH descriptor of the directory that `path` is in, and its name there."""
    above, _, name = path.rpartition(b"/")
    resolve = paths.RESOLVE_BENEATH | paths.RESOLVE_NO_SYMLINKS
    return paths.openat2(tree, above or b".", os.O_PATH | os.O_DIRECTORY, 0, resolve), name


def _copy_below(parents: Sequence[int], target: bytes, directory: int, name: bytes) -> None:
    found = _below(parents, target)
    if found is None:
        raise Invalid(f"hard link to a file that does not exist: {quoted(target)}")
    try:
        if not stat.S_ISREG(os.fstat(found).st_mode):
            raise Invalid(f"hard link to a lower layer's {quoted(target)}, which is no regular file")
        _copy_file(found, directory, name)
    finally:
        os.close(found)


def _copy_file(source: int, directory: int, name: bytes) -> None:
    data = paths.reopen(source, os.O_RDONLY)
    try:
        copy = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=directory)
        try:
            content.copy(data, copy)
            _describe(copy, data)
        finally:
            os.close(copy)
    finally:
        os.close(data)


def _describe(made: int, model: int) -> None:
    status = os.fstat(model)
    found = xattr.all_of(descriptors.path(model))
    attributes.describe(made, status, (status.st_uid, status.st_gid), found)
