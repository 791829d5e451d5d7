"""Copying a tree onto another, for the driver that has no overlay: hard links, holes, owners, attributes and times are
kept, and what overlay's form marks as deleted is deleted."""

from __future__ import annotations

import errno
import os
import stat

from corten.kernel import xattr
from corten.layers import tree, whiteout

_CHUNK = 1 << 24
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def merge(source: int, target: int) -> None:
    """Put the tree at `source`, which is in overlay's form, over the one at `target`."""
    links: dict[tuple[int, int], bytes] = {}
    times: list[tuple[bytes, os.stat_result]] = []
    open_directories: dict[bytes, int] = {b"": os.dup(target)}
    try:
        _describe(open_directories[b""], b".", os.fstat(source), xattr.all_at(source, b"."))
        times.append((b".", os.fstat(source)))
        for found in tree.walk(source):
            parent = found.path.rpartition(b"/")[0]
            _leave(open_directories, parent)
            into = open_directories[parent]
            if stat.S_ISDIR(found.status.st_mode):
                open_directories[found.path] = _directory(found, into)
                times.append((found.path, found.status))
            else:
                _thing(found, into, target, links)
    finally:
        for fd in open_directories.values():
            os.close(fd)
    for path, status in reversed(times):
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns), dir_fd=target, follow_symlinks=False)


def _leave(open_directories: dict[bytes, int], parent: bytes) -> None:
    """Close what the walk has left behind: everything that is not on the way to `parent`."""
    for path in list(open_directories):
        if path and path != parent and not parent.startswith(path + b"/"):
            os.close(open_directories.pop(path))


def _directory(found: tree.Found, into: int) -> int:
    attributes = xattr.all_at(found.dirfd, found.name)
    there = _status(into, found.name)
    if there is not None and (attributes.get(xattr.OPAQUE) == b"y" or not stat.S_ISDIR(there.st_mode)):
        tree.remove(into, found.name)
        there = None
    if there is None:
        os.mkdir(found.name, 0o700, dir_fd=into)
    _describe(into, found.name, found.status, attributes)
    return tree.open_directory(found.name, into)


def _thing(found: tree.Found, into: int, target: int, links: dict[tuple[int, int], bytes]) -> None:
    status, name = found.status, found.name
    tree.remove(into, name)
    if whiteout.is_whiteout(status):
        return
    key = (status.st_dev, status.st_ino)
    if key in links:
        os.link(links[key], name, src_dir_fd=target, dst_dir_fd=into, follow_symlinks=False)
        return
    if status.st_nlink > 1:
        links[key] = found.path
    if stat.S_ISREG(status.st_mode):
        _file(found, into)
    elif stat.S_ISLNK(status.st_mode):
        os.symlink(os.readlink(name, dir_fd=found.dirfd), name, dir_fd=into)
    else:
        os.mknod(name, status.st_mode, status.st_rdev, dir_fd=into)
    _describe(into, name, status, xattr.all_at(found.dirfd, name))
    os.utime(name, ns=(status.st_atime_ns, status.st_mtime_ns), dir_fd=into, follow_symlinks=False)


def _file(found: tree.Found, into: int) -> None:
    data = os.open(found.name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=found.dirfd)
    try:
        copy = os.open(found.name, _NEW_FILE, 0o600, dir_fd=into)
        try:
            _copy_data(data, copy, found.status.st_size)
        finally:
            os.close(copy)
    finally:
        os.close(data)


def _copy_data(data: int, copy: int, size: int) -> None:
    """The parts that hold data; holes stay holes."""
    os.ftruncate(copy, size)
    at = 0
    while at < size:
        try:
            begin = os.lseek(data, at, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # only a hole is left
                return
            raise
        at = os.lseek(data, begin, os.SEEK_HOLE)
        while begin < at:
            done = os.copy_file_range(data, copy, min(_CHUNK, at - begin), begin, begin)
            if not done:
                return
            begin += done


def _describe(dirfd: int, name: bytes, status: os.stat_result, attributes: dict[bytes, bytes]) -> None:
    """Owner, mode and attributes, in the order in which none undoes another."""
    os.chown(name, status.st_uid, status.st_gid, dir_fd=dirfd, follow_symlinks=False)
    if not stat.S_ISLNK(status.st_mode):
        os.chmod(xattr.path_at(dirfd, name), stat.S_IMODE(status.st_mode))
    for key, value in attributes.items():
        if not key.startswith(whiteout.PRIVATE_XATTRS):
            xattr.set_at(dirfd, name, key, value)


def _status(dirfd: int, name: bytes) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=dirfd, follow_symlinks=False)
    except FileNotFoundError:
        return None
