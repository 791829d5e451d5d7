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
from collections.abc import Callable, Sequence

from corten.kernel import descriptors, paths, xattr
from corten.layers import attributes, holes
from corten.layers.sources import Level, base, opened, walk
from corten.layers.whiteout import is_whiteout
from corten.spec.dockerfile.ignore import Patterns

# Inode, size, mtime and ctime in nanoseconds, SHA-256, and whether it has no attributes that travel.
_ENTRY = struct.Struct("=QQqq32s?")
_TICK = 50_000_000  # nanoseconds
_PIECE = 1 << 20
_HOLES = 1 << 20  # bytes

_Known = tuple[int, int, int, int]


def entry(status: os.stat_result, digest: bytes, plain: bool = False) -> bytes:
    """What `Memory` keeps of a file whose content is known; `plain`: it has no attributes."""
    return _ENTRY.pack(*_key(status), digest, plain)


def _key(status: os.stat_result) -> _Known:
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


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
        self.data += entry(os.fstat(fd), hash_.digest(), not xattr.all_of(fd))

    def forget(self) -> None:
        """Something was removed: its inode may be another file's within the same tick."""
        self.data.clear()


class Memory:
    """Hashes of the files of one file system, as bytes that can be kept: `data`, `packed`."""

    def __init__(self, data: bytes = b"") -> None:
        whole = len(data) - len(data) % _ENTRY.size
        self._known: dict[_Known, tuple[bytes, bool]] = {
            entry[:4]: entry[4:] for entry in _ENTRY.iter_unpack(data[:whole])
        }
        self._seen: dict[_Known, tuple[bytes, bool]] = {}

    def packed(self, most: int) -> bytes:
        """What was seen in this run, and what was known before, up to so many bytes."""
        both = {**self._seen, **{key: value for key, value in self._known.items() if key not in self._seen}}
        return b"".join(_ENTRY.pack(*key, *both[key]) for key in list(both)[: most // _ENTRY.size])

    def known(self, status: os.stat_result) -> bytes:
        """SHA-256 of a regular file that looks so; b"" where it was never hashed, and where `digest` is no SHA-256."""
        found = self._known.get(_key(status))
        return found[0] if found is not None and not _holed(status) else b""

    def plain(self, status: os.stat_result) -> bytes:
        """The same of one that is known to have no attributes that travel: to set one changes its ctime."""
        found = self._known.get(_key(status))
        if found is None or not found[1]:
            return b""
        self._seen[_key(status)] = found
        return found[0]

    def is_plain(self, status: os.stat_result) -> None:
        """A file whose `digest` was asked for has none: it was `settled` before that was looked at."""
        key = _key(status)
        if key in self._seen:
            self._seen[key] = self._seen[key][0], True

    def digest(self, seen: int, status: os.stat_result) -> bytes:
        """Of the content of the regular file held by `seen`, an O_PATH descriptor: SHA-256, but for large holes."""
        found = self._known.get(_key(status))
        if found is None:
            remembered = settled(status)
            found = _hash(seen), False
            if not remembered:
                return found[0]
        self._seen[_key(status)] = found
        return found[0]


def settled(status: os.stat_result) -> bool:
    """Whether a change that comes from now on has another time."""
    return time.time_ns() - max(status.st_mtime_ns, status.st_ctime_ns) >= _TICK


def _holed(status: os.stat_result) -> bool:
    """Whether a file has holes that take long to read: an image may have terabytes of them in a kilobyte."""
    return status.st_size - status.st_blocks * 512 >= _HOLES


def _hash(seen: int) -> bytes:
    fd = paths.reopen(seen, os.O_RDONLY)
    try:
        now = os.fstat(fd)
        if _holed(now):
            return _hash_data(fd, now.st_size)
        hash_ = hashlib.sha256()
        while piece := os.read(fd, _PIECE):
            hash_.update(piece)
        return hash_.digest()
    finally:
        os.close(fd)


def _hash_data(fd: int, size: int) -> bytes:
    """Without reading a hole. Another function than SHA-256, as no content may have a digest of what is none: the same
    content with its holes elsewhere has another one, which is a copy too many and no wrong one."""
    hash_ = hashlib.blake2b(b"%d\n" % size, digest_size=32, person=b"holes")
    for at, length in holes.data(fd, size):
        hash_.update(b"%d %d\n" % (at, length))
        while length and (piece := os.pread(fd, min(_PIECE, length), at)):
            hash_.update(piece)
            at, length = at + len(piece), length - len(piece)
    return hash_.digest()


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
                self._add(b"", status, lambda: seen)
                self._walk(seen, None)
            elif not self._exclude.excludes(os.fsdecode(base(name))):
                self._add(base(name), status, lambda: seen)
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
            self._add(os.fsencode(step.path), step.status, lambda step=step: step.seen)  # type: ignore[misc]
        return found

    def _levels(self, level: Level | None) -> None:
        """Directories that are not wanted themselves come with what is in them."""
        waiting = []
        while level is not None and level.above is not None and level.place is None:
            waiting.append(level)
            level = level.above
        for each in reversed(waiting):
            each.place = True
            self._add(os.fsencode(each.prefix), each.status, lambda fd=each.fd: fd)  # type: ignore[misc]

    def _add(self, path: bytes, status: os.stat_result, held: Callable[[], int]) -> None:
        """`held` gives a descriptor, which few files need."""
        kind = stat.S_IFMT(status.st_mode)
        if kind == stat.S_IFSOCK or is_whiteout(status):
            return  # not copied
        owner = (status.st_uid, status.st_gid) if self._owned else (0, 0)
        look = b"%d %d %d" % (status.st_mode, *owner)
        if kind == stat.S_IFREG and (known := self._memory.plain(status)):
            self._record(path, (look, known))
            return
        seen, content, old = held(), b"", settled(status)
        if kind == stat.S_IFREG:
            content = self._memory.digest(seen, status)
        elif kind == stat.S_IFLNK:
            content = os.readlink(b"", dir_fd=seen)
        elif kind in (stat.S_IFCHR, stat.S_IFBLK):
            content = b"%d" % status.st_rdev
        kept = xattr.all_of(descriptors.path(seen)) if kind != stat.S_IFLNK else {}
        values = [part for item in sorted(attributes.travelling(kept).items()) for part in item]
        if kind == stat.S_IFREG and old and not values:
            self._memory.is_plain(status)
        self._record(path, (look, content, *values))

    def _record(self, path: bytes, fields: Sequence[bytes]) -> None:
        self._hash.update(b"".join([b"%d:%s" % (len(field), field) for field in (path, *fields)]) + b"\n")
