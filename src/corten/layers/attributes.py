"""Owner, mode, attributes and times of things in trees: which of them travel, and how a thing that was just made gets
them. All of it is done on what is held open, never by a name that may be another thing's by then."""

from __future__ import annotations

import errno
import os
import stat

from corten.layers import whiteout
from corten.layers.owners import CAPABILITY


def hold(dirfd: int, name: bytes, kind: int) -> int:
    """An O_PATH descriptor of `name`, which was made a moment ago as S_IFMT `kind`.

    Raises FileNotFoundError when another process has removed or exchanged it.
    """
    fd = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=dirfd)
    if stat.S_IFMT(os.fstat(fd).st_mode) == kind:
        return fd
    os.close(fd)
    raise FileNotFoundError(errno.ENOENT, "exchanged by another process", os.fsdecode(name))


def describe(
    held: int | bytes,
    status: os.stat_result,
    owner: tuple[int, int],
    attributes: dict[bytes, bytes],
    mode: int | None = None,
    times: tuple[int, int] | None = None,
) -> None:
    """Give what is held (a descriptor, or a path of `kernel.descriptors`) these owners and attributes, and mode and
    times (nanoseconds), where they are None those of `status`. The order is the one in which none undoes another."""
    os.chown(held, *owner)
    if not stat.S_ISLNK(status.st_mode):
        os.chmod(held, stat.S_IMODE(status.st_mode) if mode is None else mode)
    put(held, attributes)
    os.utime(held, ns=(status.st_atime_ns, status.st_mtime_ns) if times is None else times)


def put(target: int | bytes, attributes: dict[bytes, bytes], follow: bool = True) -> None:
    """Only what a tree may say about its own files: overlay's and the security modules' names are not among it.

    What a file system has not, or this kind of file cannot have, is left out, as dockerd does.
    """
    for key, value in attributes.items():
        if not _travels(key):
            continue
        try:
            os.setxattr(target, key, value, follow_symlinks=follow)
        except OSError as error:
            if error.errno not in (errno.ENOTSUP, errno.EPERM):
                raise


def travelling(attributes: dict[bytes, bytes]) -> dict[bytes, bytes]:
    """Those that `put` gives to a copy."""
    return {key: value for key, value in attributes.items() if _travels(key)}


def _travels(key: bytes) -> bool:
    return key == CAPABILITY or not key.startswith((b"security.", *whiteout.PRIVATE_XATTRS))
