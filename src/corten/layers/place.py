"""A tar put into a tree that is in use: what `cp` sends into a container.

Unlike a layer it has no whiteouts, and it may meet links that processes of the container exchange meanwhile. Every
path is resolved by openat2 inside the tree's root, as the container itself would, and what is done is done to one
component in the directory that was found: wherever a link leads, it leads to a place in the same tree.
"""

from __future__ import annotations

import errno
import os
import stat

from corten.errors import Exhausted, Forbidden, Invalid
from corten.kernel import descriptors, paths
from corten.layers import attributes, tree
from corten.layers import header as tar
from corten.layers.apply import clean
from corten.layers.entries import Entry, Limits, entries
from corten.layers.owners import AS_THEY_ARE, Owners
from corten.layers.source import Source

_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY
_NODES = {tar.CHAR: stat.S_IFCHR, tar.BLOCK_DEVICE: stat.S_IFBLK, tar.FIFO: stat.S_IFIFO}
_FULL = (errno.ENOSPC, errno.EDQUOT)


class Placing:
    """`owner` replaces the tar's owners; `strict` refuses to exchange a directory for something else or back.

    `owners` says what ids are on the disk.
    """

    def __init__(
        self,
        root: int,
        target: bytes,
        limits: Limits,
        strict: bool,
        owner: tuple[int, int] | None = None,
        owners: Owners = AS_THEY_ARE,
    ) -> None:
        self._root = root
        self._target = target.strip(b"/")
        self._limits = limits
        self._strict = strict
        self._owner = owner
        self._owners = owners
        self._parent: tuple[bytes, int] | None = None
        self._times: dict[bytes, int] = {}

    def run(self, source: Source) -> None:
        """Write everything in the tar; what was written before an error stays.

        Raises Invalid for a bad entry, Forbidden for a read-only tree, Exhausted on a full disk.
        """
        try:
            for entry in entries(source, self._limits):
                self._guarded(entry, source)
            for path, mtime in reversed(self._times.items()):
                self._touch(path, mtime)
        finally:
            self._leave()
        source.drain()

    def _guarded(self, entry: Entry, source: Source) -> None:
        shown = entry.name[:200].decode(errors="backslashreplace")
        try:
            self._add(entry, source)
        except OSError as error:
            if error.errno in _FULL:
                raise Exhausted(f"no space left on device, writing {shown!r}") from error
            if error.errno == errno.EROFS:
                raise Forbidden(f"container rootfs or volume is marked read-only: {shown!r}") from error
            raise Invalid(f"cannot write {shown!r}: {os.strerror(error.errno or 0)}") from error

    def _add(self, entry: Entry, source: Source) -> None:
        parts = clean(entry.name, self._limits.path)
        if not parts:
            if entry.type != tar.DIRECTORY:
                raise Invalid("the archive's root is not a directory")
            return  # the extraction point is there and keeps its looks
        name, parent = parts[-1], b"/".join(parts[:-1])
        dirfd = self._directory(parent)
        there = paths.status(dirfd, name)
        if there is not None and not self._keep(entry, there, dirfd, name):
            there = None
        match entry.type:
            case tar.DIRECTORY:
                self._make_directory(dirfd, name, entry, there is not None)
                self._times[b"/".join(parts)] = entry.mtime
            case tar.REGULAR:
                self._make_file(dirfd, name, entry, source)
            case tar.SYMLINK:
                os.symlink(entry.link, name, dir_fd=dirfd)
                self._describe(dirfd, name, entry)
            case tar.LINK:
                self._make_link(dirfd, name, entry)
            case _:
                os.mknod(name, _NODES[entry.type] | 0o600, entry.device, dir_fd=dirfd)
                self._describe(dirfd, name, entry)

    def _keep(self, entry: Entry, there: os.stat_result, dirfd: int, name: bytes) -> bool:
        """Whether what exists there stays. What conflicts is removed."""
        old, new = stat.S_ISDIR(there.st_mode), entry.type == tar.DIRECTORY
        if old and new:
            return True
        shown = os.fsdecode(name)
        if self._strict and old:
            raise Invalid(f"cannot overwrite directory {shown!r} with non-directory")
        if self._strict and new:
            raise Invalid(f"cannot overwrite non-directory {shown!r} with directory")
        tree.remove(dirfd, name)
        return False

    def _directory(self, parent: bytes) -> int:
        """Where an entry goes; made when it is missing. The last one is kept, entries come directory by directory."""
        if self._parent is not None and self._parent[0] == parent:
            return self._parent[1]
        self._leave()
        path = self._target + b"/" + parent
        try:
            fd = paths.open_in(self._root, path, _DIRECTORY)
        except FileNotFoundError:
            fd = paths.make_directories(self._root, path)
        self._parent = (parent, fd)
        return fd

    def _leave(self) -> None:
        if self._parent is not None:
            os.close(self._parent[1])
            self._parent = None

    def _make_directory(self, dirfd: int, name: bytes, entry: Entry, there: bool) -> None:
        if not there:
            os.mkdir(name, 0o700, dir_fd=dirfd)
        fd = tree.open_directory(name, dirfd)
        try:
            os.fchown(fd, *self._ids(entry))
            os.fchmod(fd, entry.mode)
            _set_xattrs(fd, entry)
        finally:
            os.close(fd)

    def _make_file(self, dirfd: int, name: bytes, entry: Entry, source: Source) -> None:
        fd = os.open(name, _NEW_FILE, 0o600, dir_fd=dirfd)
        try:
            if entry.parts is None:
                source.copy(fd, entry.size)
            else:
                for offset, length in entry.parts:
                    os.lseek(fd, offset, os.SEEK_SET)
                    source.copy(fd, length)
                os.ftruncate(fd, entry.real)
            os.fchown(fd, *self._ids(entry))
            os.fchmod(fd, entry.mode)
            _set_xattrs(fd, entry)
            os.utime(fd, ns=(entry.mtime, entry.mtime))
        finally:
            os.close(fd)

    def _make_link(self, dirfd: int, name: bytes, entry: Entry) -> None:
        target = clean(entry.link, self._limits.path)
        if not target:
            raise Invalid("hard link to the archive's root")
        above = paths.open_in(self._root, self._target + b"/" + b"/".join(target[:-1]), os.O_PATH | os.O_DIRECTORY)
        try:
            os.link(target[-1], name, src_dir_fd=above, dst_dir_fd=dirfd, follow_symlinks=False)
        finally:
            os.close(above)

    def _describe(self, dirfd: int, name: bytes, entry: Entry) -> None:
        try:
            made = attributes.hold(dirfd, name, _NODES.get(entry.type, stat.S_IFLNK))
        except FileNotFoundError:
            return  # gone again, by the container's own doing
        try:
            held = descriptors.path(made)
            os.chown(held, *self._ids(entry))
            if entry.type != tar.SYMLINK:
                os.chmod(held, entry.mode)
            os.utime(held, ns=(entry.mtime, entry.mtime))
        finally:
            os.close(made)

    def _ids(self, entry: Entry) -> tuple[int, int]:
        return self._owners.outside(*(self._owner if self._owner is not None else (entry.uid, entry.gid)))

    def _touch(self, path: bytes, mtime: int) -> None:
        above, _, name = path.rpartition(b"/")
        try:
            parent = paths.open_in(self._root, self._target + b"/" + above, os.O_PATH | os.O_DIRECTORY)
            try:
                fd = os.open(name, _DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
            finally:
                os.close(parent)
        except OSError:
            return  # gone again, by the container's own doing, or replaced by a later entry
        try:
            os.utime(fd, ns=(mtime, mtime))
        finally:
            os.close(fd)


def _set_xattrs(fd: int, entry: Entry) -> None:
    """Only what users may set themselves, and capabilities."""
    for key, value in entry.xattrs.items():
        if key == b"security.capability" or (key.startswith(b"user.") and not key.startswith(b"user.overlay.")):
            try:
                os.setxattr(fd, key, value)
            except OSError as error:
                if error.errno != errno.ENOTSUP:
                    raise
