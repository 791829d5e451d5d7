"""One thing that is no directory, copied: its kind, its content with holes, where a link leads. How the copy looks is
the caller's to say, who gets it while it is held."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable

from corten.kernel import descriptors, paths
from corten.layers import attributes, content

NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC

# The copy and its model, each a descriptor or a path of `kernel.descriptors`; the status of the model.
Describe = Callable[[int | bytes, int | bytes, os.stat_result], None]


def copy(into: int, name: bytes, seen: int, status: os.stat_result, describe: Describe) -> None:
    """Make `name` in the directory `into` what `seen` is, an O_PATH descriptor of this status.

    Raises FileExistsError when the name is taken, FileNotFoundError when another process has exchanged what was made.
    """
    kind = stat.S_IFMT(status.st_mode)
    if kind == stat.S_IFREG:
        _file(into, name, seen, status, describe)
        return
    if kind == stat.S_IFLNK:
        os.symlink(os.readlink(b"", dir_fd=seen), name, dir_fd=into)
    else:
        os.mknod(name, kind | 0o600, status.st_rdev, dir_fd=into)
    made = attributes.hold(into, name, kind)
    try:
        describe(descriptors.path(made), descriptors.path(seen), status)
    finally:
        os.close(made)


def _file(into: int, name: bytes, seen: int, status: os.stat_result, describe: Describe) -> None:
    data = paths.reopen(seen, os.O_RDONLY)
    try:
        made = os.open(name, NEW_FILE, 0o600, dir_fd=into)
        try:
            content.copy(data, made)
            describe(made, data, status)
        finally:
            os.close(made)
    finally:
        os.close(data)
