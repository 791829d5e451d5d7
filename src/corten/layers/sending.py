"""The sending side of fsutil's transfer (`moby.filesync.v1.FileSend/DiffCopy`), over two pipes.

Theory. A walk is said as one STAT for each entry, numbered from 0, and one without an entry at its end. The receiver
asks for contents by number while the walk goes on; each comes as DATA pieces and an empty one. What was asked for goes
before the walk, so that few requests wait. When the receiver has everything it says so, and so do we.

    asked (numbers, 4 bytes each, little-endian; its end: the receiver has all) ──> Sending ──> out (packets, framed)

The pipe `out` is never waited for alone: a receiver that does not read before its requests were taken would wait for
ever. Further names of a file are links; sockets are left out, and holes are zeros.
"""

from __future__ import annotations

import os
import select
import stat
from collections import deque
from collections.abc import Iterator

from corten.errors import Invalid
from corten.kernel import paths, xattr
from corten.layers.collected import Above, Beside, Entry, Own
from corten.layers.pack import READ, travels
from corten.spec import go_modes
from corten.spec.protobuf.codec import BYTES, VARINT, number
from corten.spec.protobuf.session import DATA, FINISH, STAT

_PIECE = 32 << 10  # bytes of a file in one packet, as clients have it
_BUFFER = 1 << 18
_DIRECTORY, _EXTRA = stat.S_IFDIR | 0o755, stat.S_IFREG | 0o600
_TYPE, _STAT, _ID, _DATA = (field << 3 | wire for field, wire in ((1, VARINT), (2, BYTES), (3, VARINT), (4, BYTES)))
_PATH, _LINK, _ATTRIBUTE = (bytes((field << 3 | BYTES,)) for field in (1, 7, 10))
_NUMBERS = (2, 3, 4, 5, 6, 8, 9)  # fields: mode, uid, gid, size, modified, major, minor

_Content = tuple[int, bytes] | Beside  # a tree's directory, and the path in it


class Sending:
    """`run` it to the end. `epoch`, in seconds, takes the place of all times."""

    def __init__(self, out: int, asked: int, entries: Iterator[Entry], epoch: int | None = None) -> None:
        self._out = out
        self._asked = asked
        self._entries: Iterator[Entry] | None = entries
        self._epoch = epoch
        self._buffer = bytearray()
        self._rest = b""  # of a number
        self._count = 0
        self._contents: dict[int, _Content] = {}  # by number, until it is asked for
        self._queue: deque[tuple[int, _Content]] = deque()
        self._links: dict[tuple[int, int], bytes] = {}
        self._reading: _Reading | None = None
        self._finished = False  # the receiver has everything
        self.size = 0  # bytes of contents that were sent

    def run(self) -> None:
        """Raises Invalid for what cannot be asked for, OSError; BrokenPipeError without a reader."""
        os.set_blocking(self._out, False)
        os.set_blocking(self._asked, False)
        while not self._finished or self._buffer:
            self._fill()
            self._turn()
        self._packet(FINISH)
        os.set_blocking(self._out, True)
        self._flush()

    # --------------------------------------------------------------------------------------------------- the two pipes

    def _turn(self) -> None:
        """Wait until something can be written or read, and do that."""
        poll = select.poll()
        if not self._finished:
            poll.register(self._asked, select.POLLIN)
        if self._buffer:
            poll.register(self._out, select.POLLOUT)
        for fd, _ in poll.poll():
            if fd == self._out:
                self._flush()
            else:
                self._take()

    def _flush(self) -> None:
        while self._buffer:
            try:
                done = os.write(self._out, self._buffer)
            except BlockingIOError:
                return
            del self._buffer[:done]

    def _take(self) -> None:
        data = os.read(self._asked, _BUFFER)
        if not data:
            self._finished = True
            if self._rest or self._queue or self._reading is not None or self._entries is not None:
                raise Invalid("the receiver has ended before everything was there")
            return
        data = self._rest + data
        whole = len(data) - len(data) % 4
        self._rest = data[whole:]
        for at in range(0, whole, 4):
            asked = int.from_bytes(data[at : at + 4], "little")
            found = self._contents.pop(asked, None)
            if found is None:
                raise Invalid(f"the receiver asks for the file {asked}, which is none, or was asked for")
            self._queue.append((asked, found))

    # ------------------------------------------------------------------------------------------------- what is to say

    def _fill(self) -> None:
        while len(self._buffer) < _BUFFER:
            if self._reading is not None:
                self._read(self._reading)
            elif self._queue:
                self._open(*self._queue.popleft())
            elif self._entries is not None:
                self._next(self._entries)
            else:
                return

    def _next(self, entries: Iterator[Entry]) -> None:
        entry = next(entries, None)
        match entry:
            case None:
                self._entries = None
                self._packet(STAT)
            case Above():
                self._stat(entry.path, _DIRECTORY)
            case Beside():
                self._contents[self._count] = entry
                self._stat(entry.path, _EXTRA, size=entry.extra.size)
            case Own():
                self._own(entry)

    def _own(self, entry: Own) -> None:
        status, found = entry.found.status, entry.found
        kind = stat.S_IFMT(status.st_mode)
        if kind == stat.S_IFSOCK:
            return
        link, size, device = b"", 0, (0, 0)
        if kind == stat.S_IFLNK:
            link = os.readlink(found.name, dir_fd=found.dirfd)
        elif kind in (stat.S_IFCHR, stat.S_IFBLK):
            device = os.major(status.st_rdev), os.minor(status.st_rdev)
        elif kind == stat.S_IFREG:
            link = self._linked(entry.path, status)
            if not link:
                size = status.st_size
                assert entry.part.root is not None
                self._contents[self._count] = entry.part.root, found.path
        kept = {key: value for key, value in xattr.all_at(found.dirfd, found.name).items() if travels(key)}
        owner = status.st_uid, status.st_gid
        self._stat(entry.path, status.st_mode, owner, size, status.st_mtime_ns, link, device, kept)

    def _linked(self, path: bytes, status: os.stat_result) -> bytes:
        """The first name of a file that has several; b"" when this is it."""
        if status.st_nlink == 1:
            return b""
        first = self._links.setdefault((status.st_dev, status.st_ino), path)
        return b"" if first == path else first

    def _stat(
        self,
        path: bytes,
        mode: int,
        owner: tuple[int, int] = (0, 0),
        size: int = 0,
        modified: int = 0,
        link: bytes = b"",
        device: tuple[int, int] = (0, 0),
        attributes: dict[bytes, bytes] | None = None,
    ) -> None:
        time = modified if self._epoch is None else self._epoch * 10**9
        body = bytearray(_PATH + number(len(path)) + path)
        for field, value in zip(_NUMBERS, (go_modes.of(mode), *owner, size, time, *device)):
            if value:
                body += bytes((field << 3 | VARINT,)) + number(value)
        if link:
            body += _LINK + number(len(link)) + link
        for key, data in (attributes or {}).items():
            item = b"\x0a" + number(len(key)) + key + b"\x12" + number(len(data)) + data
            body += _ATTRIBUTE + number(len(item)) + item
        self._packet(STAT, bytes((_STAT,)) + number(len(body)) + body)
        self._count += 1

    def _open(self, asked: int, found: _Content) -> None:
        if isinstance(found, Beside):
            self._reading = _Reading(asked, os.dup(found.extra.fd), found.extra.offset, found.extra.size)
            return
        fd = paths.open_in(*found, READ)
        self._reading = _Reading(asked, fd, 0, os.fstat(fd).st_size)

    def _read(self, reading: _Reading) -> None:
        data = os.pread(reading.fd, min(_PIECE, reading.left), reading.at)
        content = bytes((_DATA,)) + number(len(data)) + data if data else b""
        self._packet(DATA, (bytes((_ID,)) + number(reading.number) if reading.number else b"") + content)
        reading.at += len(data)
        reading.left -= len(data)
        self.size += len(data)
        if not data:
            os.close(reading.fd)
            self._reading = None

    def _packet(self, kind: int, rest: bytes = b"") -> None:
        body = (bytes((_TYPE, kind)) if kind else b"") + rest
        self._buffer += b"\0" + len(body).to_bytes(4, "big") + body


class _Reading:
    """A file whose content is under way."""

    __slots__ = ("at", "fd", "left", "number")

    def __init__(self, number: int, fd: int, at: int, left: int) -> None:
        self.number = number
        self.fd = fd
        self.at = at
        self.left = left
