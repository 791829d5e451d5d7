"""Extended attributes (xattr(7)) of what a descriptor, or a single name in a directory descriptor, stands for.

xattr calls have no dirfd form before Linux 6.13, so a name goes through /proc/self/fd/DIRFD/NAME: the magic link leads
to the very directory that is held open, and NAME is one component that is not followed.
"""

from __future__ import annotations

import errno
import os

OPAQUE = b"trusted.overlay.opaque"  # Documentation/filesystems/overlayfs.rst, "whiteouts and opaque directories"


def path_at(dirfd: int, name: bytes) -> bytes:
    """A path of `name` in `dirfd` for the calls here; never to be followed."""
    return b"/proc/self/fd/%d/%s" % (dirfd, name)


def set_at(dirfd: int, name: bytes, attribute: bytes, value: bytes) -> None:
    """lsetxattr(2) on `name` in `dirfd`."""
    os.setxattr(path_at(dirfd, name), attribute, value, follow_symlinks=False)


def get_at(dirfd: int, name: bytes, attribute: bytes) -> bytes:
    return os.getxattr(path_at(dirfd, name), attribute, follow_symlinks=False)


def list_at(dirfd: int, name: bytes) -> list[bytes]:
    return [os.fsencode(a) for a in os.listxattr(path_at(dirfd, name), follow_symlinks=False)]


def all_at(dirfd: int, name: bytes) -> dict[bytes, bytes]:
    """Every attribute of `name` in `dirfd`; empty where the file system has none."""
    try:
        names = list_at(dirfd, name)
    except OSError as error:
        if error.errno == errno.ENOTSUP:
            return {}
        raise
    return {attribute: get_at(dirfd, name, attribute) for attribute in names}


def is_opaque_at(dirfd: int, name: bytes) -> bool:
    """Does this directory hide what lies below it in an overlay? Needs CAP_SYS_ADMIN to be seen."""
    try:
        return get_at(dirfd, name, OPAQUE) == b"y"
    except OSError as error:
        if error.errno in (errno.ENODATA, errno.ENOTSUP):
            return False
        raise
