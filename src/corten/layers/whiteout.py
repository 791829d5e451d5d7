"""Deletions in layers: `.wh.NAME` and `.wh..wh..opq` in tars (OCI image specification, layer.md, "Whiteouts"),
character devices 0:0 and an opaque attribute in overlay's upper directories (kernel, overlayfs.rst)."""

from __future__ import annotations

import os
import stat

from corten.kernel.xattr import OPAQUE

PREFIX = b".wh."
OPAQUE_MARK = b".wh..wh..opq"
META_PREFIX = b".wh..wh."  # aufs' own book-keeping; nothing of it means anything here
PRIVATE_XATTRS = (b"trusted.overlay.", b"user.overlay.")  # redirects and metacopies are overlay's, never an image's


def make(dirfd: int, name: bytes) -> None:
    """mknod of a whiteout. FileExistsError when something is there."""
    os.mknod(name, stat.S_IFCHR, os.makedev(0, 0), dir_fd=dirfd)


def is_whiteout(status: os.stat_result) -> bool:
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0


def make_opaque(fd: int) -> None:
    """Hide everything that lies below this directory in an overlay. `fd` may not be O_PATH."""
    os.setxattr(fd, OPAQUE, b"y")
