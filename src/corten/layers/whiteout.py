"""Deletions in layers: `.wh.NAME` and `.wh..wh..opq` in tars (OCI image specification, layer.md, "Whiteouts"),
character devices 0:0 and an opaque attribute in overlay's upper directories (kernel, overlayfs.rst)."""

from __future__ import annotations

import os
import stat
from collections.abc import Container, Iterable, Sequence

from corten.kernel.xattr import OPAQUE, is_opaque_at
from corten.layers.directories import plain

PREFIX = b".wh."
OPAQUE_MARK = b".wh..wh..opq"
META_PREFIX = b".wh..wh."  # aufs' own book-keeping; nothing of it means anything here, but what follows
LINKS = b".wh..wh.plnk"  # in the root: files that hard links of the same layer may lead to, not to be kept themselves
PRIVATE_XATTRS = (b"trusted.overlay.", b"user.overlay.")  # redirects and metacopies are overlay's, never an image's


def make(dirfd: int, name: bytes) -> None:
    """mknod of a whiteout. FileExistsError when something is there."""
    os.mknod(name, stat.S_IFCHR, os.makedev(0, 0), dir_fd=dirfd)


def is_meta(parts: Sequence[bytes]) -> bool:
    """Whether the components of an entry's path lead to book-keeping, of which nothing is made."""
    kept = {OPAQUE_MARK, LINKS} if len(parts) > 1 and parts[0] == LINKS else {OPAQUE_MARK}
    return any(part.startswith(META_PREFIX) and part not in kept for part in parts)


def is_whiteout(status: os.stat_result) -> bool:
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0


def make_opaque(fd: int) -> None:
    """Hide everything that lies below this directory in an overlay. `fd` may not be O_PATH."""
    os.setxattr(fd, OPAQUE, b"y")


def clear(root: int, hiding: Iterable[bytes], opaque: Container[bytes]) -> None:
    """Remove the whiteouts of the directories `hiding` that are, or lie in, opaque ones.

    There is nothing for them to hide, and the kernel lists them: names that cannot be looked up. `opaque` are paths
    without links that were made so, and may have been replaced since.
    """
    for path in hiding:
        parts = path.split(b"/") if path else []
        above = [b"/".join(parts[:length]) for length in range(len(parts) + 1)]
        if any(each in opaque and _is_opaque(root, each) for each in above):
            _clear(root, path)


def _is_opaque(root: int, path: bytes) -> bool:
    fd = plain(root, path)
    if fd is None:
        return False
    try:
        return is_opaque_at(fd, b".")
    finally:
        os.close(fd)


def _clear(root: int, path: bytes) -> None:
    fd = plain(root, path, os.O_RDONLY)
    if fd is None:
        return
    try:
        for name in os.listdir(fd):
            if is_whiteout(os.stat(name, dir_fd=fd, follow_symlinks=False)):
                os.unlink(name, dir_fd=fd)
    finally:
        os.close(fd)
