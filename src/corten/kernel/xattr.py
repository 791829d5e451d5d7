"""Extended attributes (xattr(7)) of what a descriptor, or a single name in a directory descriptor, stands for.

xattr calls have no dirfd form before Linux 6.13, so a name goes by a path through the descriptor of its directory
(`kernel.descriptors`), and is not followed.
"""

from __future__ import annotations

import errno
import os

from corten.kernel.descriptors import path_in

OPAQUE = b"trusted.overlay.opaque"  # Documentation/filesystems/overlayfs.rst, "whiteouts and opaque directories"


def all_at(dirfd: int, name: bytes) -> dict[bytes, bytes]:
    """Every attribute of `name` in `dirfd`; empty where the file system has none."""
    return _all(path_in(dirfd, name), follow=False)


def all_of(held: int | bytes) -> dict[bytes, bytes]:
    """Every attribute of a descriptor, or of what a path of `kernel.descriptors` is."""
    return _all(held, follow=True)


def _all(target: int | bytes, follow: bool) -> dict[bytes, bytes]:
    found: dict[bytes, bytes] = {}
    try:
        names = os.listxattr(target, follow_symlinks=follow)
    except OSError as error:
        if error.errno == errno.ENOTSUP:
            return found
        raise
    for name in names:
        try:
            found[os.fsencode(name)] = os.getxattr(target, name, follow_symlinks=follow)
        except OSError as error:
            if error.errno != errno.ENODATA:  # removed since it was listed
                raise
    return found


def is_opaque_at(dirfd: int, name: bytes) -> bool:
    """Does this directory hide what lies below it in an overlay? Needs CAP_SYS_ADMIN to be seen."""
    try:
        return os.getxattr(path_in(dirfd, name), OPAQUE, follow_symlinks=False) == b"y"
    except OSError as error:
        if error.errno in (errno.ENODATA, errno.ENOTSUP):
            return False
        raise
