"""Trees as tars: what is found on directory descriptors, one entry after the other, onto a pipe.

Nothing is followed and nothing is opened twice: what is read is what was described, or, when it was exchanged between
the two, what was described is padded or left out.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import Any

from corten.kernel import xattr
from corten.layers import tree, whiteout, write
from corten.layers.header import BLOCK_DEVICE, CHAR, DIRECTORY, FIFO, LINK, REGULAR, SYMLINK
from corten.layers.owners import AS_THEY_ARE, CAPABILITY, Owners

_FLUSH = 1 << 20
_SMALL = 1 << 16  # bytes of a file that are worth a copy
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_KINDS = {stat.S_IFCHR: CHAR, stat.S_IFBLK: BLOCK_DEVICE, stat.S_IFIFO: FIFO}


class Packer:
    """One tar, written to the descriptor `out` (a pipe or file, the caller's), ids as `owners` has them inside.

    BrokenPipeError when nobody reads.
    """

    def __init__(self, out: int, owners: Owners = AS_THEY_ARE) -> None:
        self._out = out
        self._owners = owners
        self._buffer = bytearray()
        self._links: dict[tuple[int, int], bytes] = {}

    def tree(self, top: int, prefix: bytes = b"") -> None:
        """Everything below the directory `top`, names behind `prefix` (which ends with a slash or is empty)."""
        for found in tree.walk(top):
            self.add(found.dirfd, found.name, prefix + found.path, found.status)

    def add(self, dirfd: int, name: bytes, path: bytes, status: os.stat_result) -> None:
        """`name` in `dirfd`, called `path` in the tar. Sockets are left out, and so is what has vanished."""
        mode = status.st_mode
        try:
            if stat.S_ISDIR(mode):
                self._entry(dirfd, name, path.rstrip(b"/") + b"/", status, DIRECTORY)
            elif self._linked(path, status):
                return
            elif stat.S_ISREG(mode):
                self._file(dirfd, name, path, status)
            elif stat.S_ISLNK(mode):
                self._entry(dirfd, name, path, status, SYMLINK, link=os.readlink(name, dir_fd=dirfd))
            elif (kind := _KINDS.get(stat.S_IFMT(mode))) is not None:
                self._entry(dirfd, name, path, status, kind)
        except FileNotFoundError:
            return
        except OSError as error:
            if error.errno != errno.EINVAL or not stat.S_ISLNK(mode):
                raise  # readlink(2): it is no link any more

    def whiteout(self, path: bytes) -> None:
        """A deletion, in a layer's form."""
        above, slash, name = path.rpartition(b"/")
        self._put(write.header(above + slash + whiteout.PREFIX + name, REGULAR, mode=0))

    def end(self) -> None:
        self._put(write.END)
        self._flush()

    def _linked(self, path: bytes, status: os.stat_result) -> bool:
        """A further name of a file that is in the tar already."""
        if status.st_nlink < 2:
            return False
        first = self._links.setdefault((status.st_dev, status.st_ino), path)
        if first == path:
            return False
        self._put(write.header(path, LINK, link=first, **self._owner(status)))
        return True

    def _entry(
        self, dirfd: int, name: bytes, path: bytes, status: os.stat_result, kind: bytes, link: bytes = b""
    ) -> None:
        device: dict[str, Any] = {}
        if kind in (CHAR, BLOCK_DEVICE):
            device = {"major": os.major(status.st_rdev), "minor": os.minor(status.st_rdev)}
        self._put(
            write.header(
                path, kind, link=link, xattrs=self._kept(xattr.all_at(dirfd, name)), **device, **self._owner(status)
            )
        )

    def _file(self, dirfd: int, name: bytes, path: bytes, status: os.stat_result) -> None:
        try:
            fd = os.open(name, _READ, dir_fd=dirfd)
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.ENXIO, errno.EACCES):
                return  # exchanged for a link, a socket, a device (which no view of a tree lets anybody open)
            raise
        try:
            now = os.fstat(fd)
            if not stat.S_ISREG(now.st_mode):
                return
            head = write.header(path, REGULAR, size=now.st_size, xattrs=self._kept(_xattrs(fd)), **self._owner(now))
            self._put(head)
            self._data(fd, now.st_size)
            self._put(write.padding(now.st_size))
        finally:
            os.close(fd)

    def _data(self, fd: int, size: int) -> None:
        left = size
        if size <= _SMALL:
            data = os.read(fd, size)
            self._put(data)
            left -= len(data)
        else:
            self._flush()
            while left and (done := os.sendfile(self._out, fd, None, min(left, _FLUSH))):
                left -= done
        while left:  # it became shorter
            zeros = bytes(min(left, _FLUSH))
            self._put(zeros)
            left -= len(zeros)

    def _owner(self, status: os.stat_result) -> dict[str, Any]:
        uid, gid = self._owners.inside(status.st_uid, status.st_gid)
        return {
            "mode": stat.S_IMODE(status.st_mode),
            "uid": uid,
            "gid": gid,
            "mtime": status.st_mtime_ns // 10**9 * 10**9,  # whole seconds, as Docker: no PAX record for each entry
        }

    def _kept(self, attributes: dict[bytes, bytes]) -> dict[bytes, bytes]:
        """What travels: neither overlay's own attributes nor labels that mean something on this machine only."""
        return self._owners.attributes({key: value for key, value in attributes.items() if _travels(key)})

    def _put(self, data: bytes) -> None:
        self._buffer += data
        if len(self._buffer) >= _FLUSH:
            self._flush()

    def _flush(self) -> None:
        view = memoryview(bytes(self._buffer))
        self._buffer.clear()
        while view:
            view = view[os.write(self._out, view) :]


def _xattrs(fd: int) -> dict[bytes, bytes]:
    try:
        return {os.fsencode(key): os.getxattr(fd, key) for key in os.listxattr(fd)}
    except OSError as error:
        if error.errno == errno.ENOTSUP:
            return {}
        raise


def _travels(key: bytes) -> bool:
    return key == CAPABILITY or not key.startswith((b"security.", b"trusted.", *whiteout.PRIVATE_XATTRS))
