"""A digest of what a COPY would bring: names, contents, kinds, modes, owners, link targets and attributes; no times.

Contents are hashed once: `Memory` knows a file again by what the kernel says of it. A change that comes within the
clock's tick of the first hash could go unseen, so what changed that lately is not remembered.
"""

from __future__ import annotations

import hashlib
import os
import stat
import struct
import time
from collections.abc import Sequence

from corten.kernel import descriptors, paths, xattr
from corten.layers import attributes
from corten.layers.sources import Level, base, opened, walk
from corten.layers.whiteout import is_whiteout
from corten.spec.dockerfile.ignore import Patterns

_ENTRY = struct.Struct("=QQqq32s")  # inode, size, mtime and ctime in nanoseconds, SHA-256
_TICK = 50_000_000  # nanoseconds
_PIECE = 1 << 20

_Known = tuple[int, int, int, int]


def entry(status: os.stat_result, digest: bytes) -> bytes:
    """What `Memory` keeps of a file whose content is known."""
    return _ENTRY.pack(status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns, digest)


class Written:
    """Hashes of files that are hashed while they are written: `data`, of so many bytes at `most`, is for a `Memory`."""

    def __init__(self, most: int) -> None:
        self.data = bytearray()
        self._most = most

    def begin(self) -> hashlib._Hash | None:
        """The hash of one more file; None when there is no room for it."""
        return hashlib.sha256() if len(self.data) < self._most else None

    def end(self, fd: int, hash_: hashlib._Hash) -> None:
        """The file is as it stays."""
        self.data += entry(os.fstat(fd), hash_.digest())

    def forget(self) -> None:
        """Something was removed: its inode may be another file's within the same tick."""
        self.data.clear()


class Memory:
    """Hashes of the files of one file system, as bytes that can be kept: `data`, `packed`."""

    def __init__(self, data: bytes = b"") -> None:
        whole = len(data) - len(data) % _ENTRY.size
        self._known: dict[_Known, bytes] = {entry[:4]: entry[4] for entry in _ENTRY.iter_unpack(data[:whole])}
        self._seen: dict[_Known, bytes] = {}

    def packed(self, most: int) -> bytes:
        """What was seen in this run, and what was known before, up to so many bytes."""
        both = {**self._seen, **self._known}
        return b"".join(_ENTRY.pack(*key, both[key]) for key in list(both)[: most // _ENTRY.size])

    def digest(self, seen: int, status: os.stat_result) -> bytes:
        """SHA-256 of the regular file held by `seen`, an O_PATH descriptor."""
        key = status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
        found = self._known.get(key)
        if found is None:
            found = _hash(seen)
            if time.time_ns() - max(status.st_mtime_ns, status.st_ctime_ns) < _TICK:
                return found
        self._seen[key] = found
        return found


def _hash(seen: int) -> bytes:
    fd = paths.reopen(seen, os.O_RDONLY)
    try:
        hash_ = hashlib.sha256()
        while piece := os.read(fd, _PIECE):
            hash_.update(piece)
        return hash_.digest()
    finally:
        os.close(fd)


class Sum:
    """`owned`: owners count. The same things in the same order have the same `digest`."""

    def __init__(self, memory: Memory, owned: bool, exclude: Patterns) -> None:
        self._memory = memory
        self._owned = owned
        self._exclude = exclude
        self._hash = hashlib.sha256()

    @property
    def digest(self) -> str:
        return "sha256:" + self._hash.hexdigest()

    def one(self, root: int, name: bytes) -> None:
        """What `Bringing.one` brings."""
        seen = opened(root, name)
        try:
            status = os.fstat(seen)
            if stat.S_ISDIR(status.st_mode):
                self._add(b"", seen, status)
                self._walk(seen, None)
            elif not self._exclude.excludes(os.fsdecode(base(name))):
                self._add(base(name), seen, status)
        finally:
            os.close(seen)

    def parts(self, root: int, name: bytes, wanted: Patterns) -> bool:
        """What `Bringing.parts` brings; whether there is anything."""
        seen = opened(root, name)
        try:
            return self._walk(seen, wanted)
        finally:
            os.close(seen)

    def content(self, name: str, data: bytes) -> None:
        """A file that is in no tree."""
        self._record(os.fsencode(name), (b"content", hashlib.sha256(data).digest()))

    def _walk(self, seen: int, wanted: Patterns | None) -> bool:
        found = False
        for step in walk(seen, self._exclude, wanted):
            if step.what == "out":
                continue
            found = True
            if wanted is not None:
                self._levels(step.level.above if step.what == "in" else step.level)
            if step.what == "in":
                step.level.place = True
            self._add(os.fsencode(step.path), step.seen, step.status)
        return found

    def _levels(self, level: Level | None) -> None:
        """Directories that are not wanted themselves come with what is in them."""
        waiting = []
        while level is not None and level.above is not None and level.place is None:
            waiting.append(level)
            level = level.above
        for each in reversed(waiting):
            each.place = True
            self._add(os.fsencode(each.prefix), each.fd, each.status)

    def _add(self, path: bytes, seen: int, status: os.stat_result) -> None:
        kind = stat.S_IFMT(status.st_mode)
        if kind == stat.S_IFSOCK or is_whiteout(status):
            return  # not copied
        owner = (status.st_uid, status.st_gid) if self._owned else (0, 0)
        look = b"%d %d %d" % (status.st_mode, *owner)
        content = b""
        if kind == stat.S_IFREG:
            content = self._memory.digest(seen, status)
        elif kind == stat.S_IFLNK:
            content = os.readlink(b"", dir_fd=seen)
        elif kind in (stat.S_IFCHR, stat.S_IFBLK):
            content = b"%d" % status.st_rdev
        kept = xattr.all_of(descriptors.path(seen)) if kind != stat.S_IFLNK else {}
        values = [part for item in sorted(attributes.travelling(kept).items()) for part in item]
        self._record(path, (look, content, *values))

    def _record(self, path: bytes, fields: Sequence[bytes]) -> None:
        for field in (path, *fields):
            self._hash.update(b"%d:%s" % (len(field), field))
        self._hash.update(b"\n")
