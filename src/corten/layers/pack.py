"""Trees as tars: what is found on directory descriptors, one entry after the other, onto a pipe.

Nothing is followed and nothing is opened twice: what is read is what was described, or, when it was exchanged between
the two, what was described is padded or left out. What lies so deep that no path leads to it is left out, as dockerd
leaves it out: no program could unpack it.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from typing import Any, NamedTuple

from corten.errors import Invalid
from corten.kernel import paths, xattr
from corten.layers import holes, sparse, tree, whiteout, write
from corten.layers.directory_stack import Name
from corten.layers.header import BLOCK_DEVICE, CHAR, DIRECTORY, FIFO, LINK, REGULAR, SYMLINK
from corten.layers.limits import LONGEST_PATH, UNKNOWN_DIGEST, quoted
from corten.layers.owners import AS_THEY_ARE, CAPABILITY, Owners

_FLUSH = 1 << 20
_ROOM = 1 << 18  # bytes that are written at once: what is read into them is still in the processor's cache
SMALL = 1 << 16  # bytes of a file that are read and written at once
_COPIED = 1 << 13  # bytes of a file up to which a copy of them costs less than a call of its own
# Holes are sent as zeros, as dockerd sends them, up to so many bytes in one file and in one tar; a file with more is a
# sparse entry. dockerd reads those, but cannot save or push an image that has one (tar-split), and busybox reads none.
_SPARSE = 64 << 20
_ZEROS = 1 << 30
READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
# Gone, or exchanged: for a link, a socket, no link, a device (EACCES where a view of a tree has none).
_EXCHANGED = (errno.ENOENT, errno.ELOOP, errno.ENXIO, errno.EINVAL, errno.EACCES)
_KINDS = {stat.S_IFLNK: SYMLINK, stat.S_IFCHR: CHAR, stat.S_IFBLK: BLOCK_DEVICE, stat.S_IFIFO: FIFO}


class Looks(NamedTuple):
    """What of an `os.stat_result` is in the entry of a file."""

    st_mode: int
    st_uid: int
    st_gid: int
    st_size: int
    st_mtime_ns: int

    @classmethod
    def of(cls, status: os.stat_result) -> Looks:
        return cls(status.st_mode, status.st_uid, status.st_gid, status.st_size, status.st_mtime_ns)


class Packer:
    """One tar, written to the descriptor `out` (a pipe or file, the caller's), ids as `owners` has them inside.

    `epoch`, in seconds, takes the place of all times. `left_out` is how many things had paths that are too long.
    `digests`: a file, the caller's, that gets what `layers.timeless.Digests` reads. BrokenPipeError without a reader.
    """

    def __init__(self, out: int, owners: Owners = AS_THEY_ARE, epoch: int | None = None, digests: int = -1) -> None:
        self._out = out
        self._digests = digests
        self._known = bytearray()  # digests that wait
        self._owners = owners
        self._epoch = epoch
        self._waiting = memoryview(bytearray(_ROOM))  # one for all: memory that is taken anew is cleared, page by page
        self._size = 0  # bytes that wait
        self._links: dict[tuple[int, int], bytes] = {}
        self._zeros = 0
        self.left_out = 0

    def tree(self, top: int, prefix: bytes = b"", opener: Callable[[Name, int], int] = tree.open_directory) -> None:
        """Everything below the directory `top`, names behind `prefix` (which ends with a slash or is empty). What is
        not to be entered `opener` says, see `tree.walk`."""
        for found in tree.walk(top, LONGEST_PATH - len(prefix), opener):
            self.add(found.dirfd, found.name, prefix + found.path, found.status)

    def add(self, dirfd: int, name: bytes, path: bytes, status: os.stat_result, digest: bytes = b"") -> None:
        """`name` in `dirfd`, called `path` in the tar. Sockets are left out, and so is what has vanished. `digest` is
        the SHA-256 of a file's content, where it is known."""
        mode = status.st_mode
        if len(path) > LONGEST_PATH:
            self.left_out += 1
        elif stat.S_ISREG(mode):
            if status.st_nlink == 1 or not self._linked(path, status):
                self._file(dirfd, name, path, status, digest)
        elif stat.S_ISDIR(mode):
            self._entry(dirfd, name, path.rstrip(b"/") + b"/", status, DIRECTORY)
        elif not self._linked(path, status) and (kind := _KINDS.get(stat.S_IFMT(mode))) is not None:
            self._entry(dirfd, name, path, status, kind)

    def written(self, path: bytes, fd: int, data: bytes, digest: bytes = b"") -> None:
        """The regular file `fd`, which has one name and was just given the content `data`, without holes."""
        if len(path) > LONGEST_PATH:
            self.left_out += 1
            return
        looks = self._owner(os.fstat(fd))
        self._has(len(data), digest)
        self._put(write.header(path, REGULAR, size=len(data), xattrs=self._kept(xattr.all_of(fd)), **looks))
        self._put(data)
        self._put(write.padding(len(data)))

    def same(self, path: bytes, fd: int, looks: Looks, digest: bytes = b"") -> None:
        """The content of the regular file `fd`, which has no attributes that travel, in an entry that looks so."""
        if len(path) > LONGEST_PATH:
            self.left_out += 1
            return
        self._has(looks.st_size, digest)
        self._put(self._regular(path, looks))
        self._data(fd, 0, looks.st_size)
        self._put(write.padding(looks.st_size))

    def copied(self, path: bytes, fd: int, made: int, looks: Looks, digest: bytes = b"") -> None:
        """The same of a file of at most `SMALL` bytes, with a path that fits, whose content the new file `made`
        gets too. Raises Invalid for one that is shorter than it looks."""
        size = looks.st_size
        self._has(size, digest)
        self._put(self._regular(path, looks))
        if size > _COPIED or self._size + size > _ROOM:
            self._flush()
        content = self._waiting[self._size : self._size + size]
        if size and os.preadv(fd, [content], 0) < size:
            raise Invalid(f"changed while it was read: {quoted(path)}")
        self._write(content, made)
        if size > _COPIED:
            self._data(fd, 0, size)
        else:
            self._size += size
        self._put(write.padding(size))

    def further(self, path: bytes, status: os.stat_result) -> None:
        """What is in the tar as `path` gets names that it has not got yet."""
        self._links.setdefault((status.st_dev, status.st_ino), path)

    def directory(self, path: bytes) -> None:
        """One that is in no tree, root's."""
        self._put(write.header(path + b"/", DIRECTORY, mode=0o755, mtime=(self._epoch or 0) * 10**9))

    def file(self, path: bytes, data: bytes) -> None:
        """The same, with a content."""
        self._has(len(data))
        self._put(write.header(path, REGULAR, mode=0o600, size=len(data), mtime=(self._epoch or 0) * 10**9))
        self._put(data + write.padding(len(data)))

    def whiteout(self, path: bytes) -> None:
        """A deletion, in a layer's form."""
        above, slash, name = path.rpartition(b"/")
        marked = above + slash + whiteout.PREFIX + name
        if len(marked) > LONGEST_PATH:
            self.left_out += 1
        else:
            self._put(write.header(marked, REGULAR, mode=0))

    def end(self) -> None:
        self._put(write.END)
        self._flush()

    def _linked(self, path: bytes, status: os.stat_result) -> bool:
        """A further name of something that is in the tar already."""
        first = self._links.get((status.st_dev, status.st_ino)) if status.st_nlink > 1 else None
        if first is None:
            return False
        self._put(write.header(path, LINK, link=first, **self._owner(status)))
        return True

    def _written(self, path: bytes, status: os.stat_result) -> None:
        """It is in the tar: further names of it are links."""
        if status.st_nlink > 1 and not stat.S_ISDIR(status.st_mode):
            self._links[status.st_dev, status.st_ino] = path

    def _entry(self, dirfd: int, name: bytes, path: bytes, status: os.stat_result, kind: bytes) -> None:
        device: dict[str, Any] = {}
        if kind in (CHAR, BLOCK_DEVICE):
            device = {"major": os.major(status.st_rdev), "minor": os.minor(status.st_rdev)}
        try:
            link = os.readlink(name, dir_fd=dirfd) if kind == SYMLINK else b""
            kept = self._kept(xattr.all_at(dirfd, name))
        except OSError as error:
            if error.errno in _EXCHANGED:
                return
            raise
        self._put(write.header(path, kind, link=link, xattrs=kept, **device, **self._owner(status)))
        self._written(path, status)

    def _file(self, dirfd: int, name: bytes, path: bytes, status: os.stat_result, digest: bytes) -> None:
        try:
            fd = open_file(dirfd, name)
        except OSError as error:
            if error.errno in _EXCHANGED:
                return
            raise
        try:
            now = os.fstat(fd)
            if stat.S_ISREG(now.st_mode):
                self._content(fd, path, now, digest if now.st_size == status.st_size else b"")
                if status.st_nlink > 1:
                    self._written(path, status)
        finally:
            os.close(fd)

    def _content(self, fd: int, path: bytes, now: os.stat_result, digest: bytes) -> None:
        size, kept, owner = now.st_size, self._kept(xattr.all_of(fd)), self._owner(now)
        parts = self._parts(fd, now) if now.st_blocks * 512 < size else None
        if parts is None:
            self._has(size, digest)
            head = write.header(path, REGULAR, size=size, xattrs=kept, **owner) if kept else self._regular(path, now)
            self._put(head)
            self._data(fd, 0, size)
            self._put(write.padding(size))
            return
        lead = write.sparse_map(parts)
        stored = len(lead) + sum(length for _, length in parts)
        self._has(stored)
        self._put(write.header(path, REGULAR, size=stored, real=size, xattrs=kept, **owner) + lead)
        for offset, length in parts:
            self._data(fd, offset, length)
        self._put(write.padding(stored))

    def _parts(self, fd: int, status: os.stat_result) -> list[tuple[int, int]] | None:
        """Where the data of a file with holes is, when it is sent as a sparse one."""
        hole = status.st_size - status.st_blocks * 512
        if hole < _SPARSE and self._zeros + hole < _ZEROS:
            self._zeros += hole
            return None
        parts = holes.few(holes.data(fd, status.st_size), sparse.MAX_PARTS - 1)
        if parts == [(0, status.st_size)]:  # compressed on the disk
            return None
        if not parts or sum(parts[-1]) < status.st_size:
            parts.append((status.st_size, 0))  # as GNU tar ends a map behind which a hole follows
        return parts

    def _data(self, fd: int, offset: int, size: int) -> None:
        """`size` bytes of the file from `offset` on."""
        left = size
        if size <= _COPIED:
            if self._size + size > _ROOM:
                self._flush()
            done = os.preadv(fd, [self._waiting[self._size : self._size + size]], offset) if size else 0
            self._size += done
            left -= done
        else:
            self._flush()
            while left and (done := os.sendfile(self._out, fd, offset + size - left, min(left, _FLUSH))):
                left -= done
        while left:  # it became shorter
            zeros = bytes(min(left, _ROOM))
            self._put(zeros)
            left -= len(zeros)

    def _owner(self, status: os.stat_result | Looks) -> dict[str, Any]:
        uid, gid = self._owners.inside(status.st_uid, status.st_gid)
        return {
            "mode": stat.S_IMODE(status.st_mode),
            "uid": uid,
            "gid": gid,
            # Whole seconds, as Docker: no PAX record for each entry.
            "mtime": (status.st_mtime_ns // 10**9 if self._epoch is None else self._epoch) * 10**9,
        }

    def _regular(self, path: bytes, looks: os.stat_result | Looks) -> bytes:
        """The header of a file without attributes."""
        uid, gid = self._owners.inside(looks.st_uid, looks.st_gid)
        seconds = looks.st_mtime_ns // 10**9 if self._epoch is None else self._epoch
        return write.regular(path, looks.st_mode, uid, gid, looks.st_size, seconds)

    def _kept(self, attributes: dict[bytes, bytes]) -> dict[bytes, bytes]:
        """What travels: neither overlay's own attributes nor labels that mean something on this machine only."""
        if not attributes:
            return attributes
        return self._owners.attributes({key: value for key, value in attributes.items() if travels(key)})

    def _has(self, size: int, digest: bytes = b"") -> None:
        """The next header is one of a content of `size` bytes."""
        if size and self._digests >= 0:
            self._known += digest or UNKNOWN_DIGEST

    def _put(self, data: bytes) -> None:
        if self._size + len(data) > _ROOM:
            self._flush()
        if len(data) > _ROOM:
            self._write(memoryview(data))
            return
        end = self._size + len(data)
        self._waiting[self._size : end] = data
        self._size = end

    def _flush(self) -> None:
        if self._known:
            self._write(memoryview(bytes(self._known)), self._digests)
            self._known.clear()
        self._write(self._waiting[: self._size])
        self._size = 0

    def _write(self, view: memoryview, out: int | None = None) -> None:
        while view:  # more than once when a signal came, or the disk is full: then the next call says so
            view = view[os.write(self._out if out is None else out, view) :]


def travels(key: bytes) -> bool:
    """Whether an attribute means something on another machine."""
    return key == CAPABILITY or not key.startswith((b"security.", b"trusted.", *whiteout.PRIVATE_XATTRS))


def open_file(dirfd: int, name: bytes) -> int:
    """A file for reading. A lease that another process has on it (fcntl(2)) is waited for: the kernel ends it in 45 s.

    Nothing else is waited for, as the opening of a FIFO would be.
    """
    try:
        return os.open(name, READ, dir_fd=dirfd)
    except BlockingIOError:
        held = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=dirfd)
        try:
            if not stat.S_ISREG(os.fstat(held).st_mode):
                raise
            return paths.reopen(held, os.O_RDONLY)
        finally:
            os.close(held)
