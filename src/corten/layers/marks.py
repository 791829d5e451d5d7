"""What stands, while a layer is applied, for a hard link to something that only the layers below may have: a socket, of
which a tar has none. So a later entry meets it, replaces it and links to it as it does with anything else."""

from __future__ import annotations

import os
import stat

from corten.layers.directories import plain


def put(dirfd: int, name: bytes) -> None:
    """FileExistsError when something is there."""
    os.mknod(name, stat.S_IFSOCK, dir_fd=dirfd)


def is_mark(status: os.stat_result) -> bool:
    return stat.S_ISSOCK(status.st_mode)


def take(root: int, path: bytes) -> bool:
    """Remove the mark at a path without links. False when a later entry has taken its place."""
    parent, _, name = path.rpartition(b"/")
    fd = plain(root, parent)
    if fd is None:
        return False
    try:
        if not is_mark(os.stat(name, dir_fd=fd, follow_symlinks=False)):
            return False
        os.unlink(name, dir_fd=fd)
    except FileNotFoundError:
        return False
    finally:
        os.close(fd)
    return True
