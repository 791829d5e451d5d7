"""The receiving side of fsutil's transfer (`moby.filesync.v1.FileSync/DiffCopy`), without a socket.

Theory. The sender walks its tree and says a STAT for each entry, and one without an entry at the end. Entries count
from 0; a regular file's content is asked for by a REQ with its number, while the walk goes on, and comes as DATA pieces
and an empty one at its end, several files at once. When all has come we say FIN, and so does the sender.

The order is that of a walk: names of a directory by their bytes, a directory before what is in it. What is not said so
is refused: names that lead elsewhere, parents that were not said, content that was not asked for, and more of anything
than there may be.

    feed(bytes) ──> Sink.entry ──> True: REQ   ──> Sink.data ... Sink.end
                                                                          all here: Sink.done, FIN
"""

from __future__ import annotations

from typing import Protocol

from corten.errors import Failed, Invalid
from corten.http2.grpc import Cut, framed
from corten.spec.protobuf.codec import number, parts, varint
from corten.spec.protobuf.session import DATA, ERROR, FINISH, STAT, Packet, Stat

ENTRIES = 2_000_000  # of one transfer, as of a context's tar
BYTES = 128 << 30
STATS = 256 << 20  # bytes of all names, links and attributes, which are in memory until their files have come
_PATH, _NAME, _DEPTH = 4095, 255, 200
_OPEN = 64  # files whose content is under way; clients have four
_PACKET = 4 << 20  # bytes of a message; clients send 32 KiB of content

DIRECTORY, SYMLINK, DEVICE, FIFO, SOCKET = 1 << 31, 1 << 27, 1 << 26, 1 << 25, 1 << 24
SETUID, SETGID, CHARACTER, STICKY, IRREGULAR = 1 << 23, 1 << 22, 1 << 21, 1 << 20, 1 << 19
TYPES = DIRECTORY | SYMLINK | DEVICE | FIFO | SOCKET | CHARACTER | IRREGULAR


class Sink(Protocol):
    """What keeps a tree. It raises CortenError or OSError, and is not called again then."""

    def entry(self, number: int, stat: Stat) -> bool:
        """The next of the walk; whether its content is wanted, which is asked only of a regular file."""

    def data(self, number: int, piece: bytes) -> None: ...

    def end(self, number: int) -> None: ...

    def done(self) -> None:
        """Everything is here."""


class Receiver:
    """`feed` what comes; `requests` are messages for the sender, `finished` when it has said all."""

    def __init__(self, sink: Sink, entries: int = ENTRIES, most: int = BYTES, stats: int = STATS) -> None:
        self._sink = sink
        self._cut = Cut(_PACKET)
        self._walk = Walk(entries)
        self._left, self._stats_left = most, stats
        self._walked = False
        self._wanted: set[int] = set()
        self._open: set[int] = set()
        self._said = False  # our FIN
        self.finished = False
        self.received = 0  # bytes of contents

    def feed(self, data: bytes) -> bytes:
        """Packets for the sender. Raises Invalid for what is refused, Failed for the sender's own error, and what the
        sink raises."""
        out: list[bytes] = []
        for message in self._cut.feed(data):
            self._packet(message, out)
        if self._walked and not self._wanted and not self._said:
            self._sink.done()
            self._said = True
            out.append(framed(Packet(FINISH).encode()))
        return b"".join(out)

    def _packet(self, message: bytes, out: list[bytes]) -> None:
        kind, stat, id, content = _read(message)
        if kind == DATA:
            self._data(id, content)
        elif kind == STAT:
            self._stat(stat, out)
        elif kind == FINISH:
            if not self._said:
                raise Invalid("the sender of the context ended before everything was there")
            self.finished = True
        elif kind == ERROR:
            raise Failed(f"error from sender: {content[:1000].decode('utf-8', 'replace')}")
        else:
            raise Invalid(f"the sender of the context sent a packet of the type {kind}")

    def _stat(self, data: bytes | None, out: list[bytes]) -> None:
        if self._walked:
            raise Invalid("the sender of the context went on behind its end")
        if data is None:
            self._walked = True
            return
        self._stats_left -= len(data)
        if self._stats_left < 0:
            raise Invalid("the context has too much of names, links and attributes")
        stat = Stat.decode(data)
        at = self._walk.next(stat)
        wants = self._sink.entry(at, stat)
        if wants and not stat.mode & TYPES and not stat.link:
            self._wanted.add(at)
            out.append(_request(at))

    def _data(self, at: int, content: bytes) -> None:
        if at not in self._wanted:
            raise Invalid(f"the sender of the context sent the file {at}, which was not asked for")
        if at not in self._open:
            if len(self._open) >= _OPEN:
                raise Invalid(f"the sender of the context sent more than {_OPEN} files at a time")
            self._open.add(at)
        if content:
            self.received += len(content)
            self._left -= len(content)
            if self._left < 0:
                raise Invalid("the context is too large")
            self._sink.data(at, content)
            return
        self._sink.end(at)
        self._open.discard(at)
        self._wanted.discard(at)


class Walk:
    """Checks the order and the names of a walk."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._count = 0
        self._last = b""
        self._within: list[str] = []  # the directories that the last entry is in, or is, as prefixes with their slash

    def next(self, stat: Stat) -> int:
        """The entry's number. Raises Invalid."""
        path = stat.path
        if self._count >= self._most:
            raise Invalid(f"the context has more than {self._most} entries")
        names = path.split("/")
        if not all(map(_good, names)) or len(path) > _PATH or len(names) > _DEPTH:
            raise Invalid(f"the context has the name {path[:200]!r}, which is refused")
        if len(stat.link) > _PATH:
            raise Invalid(f"the context has {path[:200]!r} as a link to more than {_PATH} characters")
        key = path.encode().replace(b"/", b"\0")
        if key <= self._last:
            raise Invalid(f"the context has {path[:200]!r} behind {_name(self._last)!r}, which is the wrong order")
        self._last = key
        within = self._within
        while within and not path.startswith(within[-1]):
            within.pop()
        if path.count("/") != (within[-1].count("/") if within else 0):
            raise Invalid(f"the context has {path[:200]!r}, but not the directory it is in")
        if stat.mode & DIRECTORY:
            within.append(path + "/")
        elif stat.link and not stat.mode & TYPES and not _earlier(stat.link, key):
            raise Invalid(f"the context has {path[:200]!r} as a link to {stat.link[:200]!r}, which was not there")
        self._count += 1
        return self._count - 1


def _earlier(path: str, key: bytes) -> bool:
    return all(map(_good, path.split("/"))) and path.encode().replace(b"/", b"\0") < key


def _good(name: str) -> bool:
    return name not in ("", ".", "..") and "\0" not in name and len(name) <= _NAME


def _name(key: bytes) -> str:
    return key[:200].replace(b"\0", b"/").decode("utf-8", "replace")


def _request(at: int) -> bytes:
    """Packet(REQUEST, id=at)"""
    message = b"\x08\x01\x18" + number(at) if at else b"\x08\x01"
    return framed(message)


def _read(message: bytes) -> tuple[int, bytes | None, int, bytes]:
    """Type, stat, id and data of a packet: the fields that all clients send in one byte of a tag each, read directly as
    there are several packets for each file."""
    kind, stat, id, content = STAT, None, 0, b""
    at, size = 0, len(message)
    try:
        while at < size:
            tag = message[at]
            at += 1
            if tag in (0x12, 0x22):
                count = message[at]
                at += 1
                if count & 0x80:
                    count, at = varint(message, at - 1)
                end = at + count
                if end > size:
                    raise Invalid("a packet of the context ends in a field")
                if tag == 0x12:
                    stat = message[at:end]
                else:
                    content = message[at:end]
                at = end
            elif tag in (0x08, 0x18):
                value, at = varint(message, at)
                if tag == 0x08:
                    kind = value
                else:
                    id = value
            else:
                return _slowly(message)
    except IndexError:
        raise Invalid("a packet of the context ends in a field") from None
    return kind, stat, id, content


def _slowly(message: bytes) -> tuple[int, bytes | None, int, bytes]:
    found: dict[int, int | bytes] = {}
    for key, _, value in parts(message):
        found[key] = value
    kind, stat, id, content = (found.get(key, default) for key, default in ((1, STAT), (2, None), (3, 0), (4, b"")))
    if not isinstance(kind, int) or not isinstance(id, int) or isinstance(stat, int) or not isinstance(content, bytes):
        raise Invalid("a packet of the context has a field of another type")
    return kind, stat, id, content


class Small:
    """A sink for a few small files: `found` by the names they were asked for by, through links."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._paths: dict[int, str] = {}
        self._contents: dict[str, bytearray] = {}
        self._links: dict[str, str] = {}

    def entry(self, number: int, stat: Stat) -> bool:
        if stat.mode & SYMLINK or (stat.link and not stat.mode & TYPES):
            self._links[stat.path] = stat.link if stat.mode & SYMLINK else "/" + stat.link
            return False
        if stat.mode & TYPES:
            return False
        if stat.size > self._limit:
            raise Invalid(f"{stat.path} is larger than {self._limit} bytes")
        self._paths[number] = stat.path
        self._contents[stat.path] = bytearray()
        return True

    def data(self, number: int, piece: bytes) -> None:
        content = self._contents[self._paths[number]]
        content += piece
        if len(content) > self._limit:
            raise Invalid(f"{self._paths[number]} is larger than {self._limit} bytes")

    def end(self, number: int) -> None:
        return

    def done(self) -> None:
        return

    def found(self, name: str) -> bytes | None:
        """None for a name that is not there, or leads nowhere."""
        done: list[str] = []
        waiting = [part for part in name.split("/") if part not in ("", ".")][::-1]
        for _ in range(_DEPTH):
            if not waiting:
                content = self._contents.get("/".join(done))
                return bytes(content) if content is not None else None
            part = waiting.pop()
            if part == "..":
                done = done[:-1]
                continue
            link = self._links.get("/".join([*done, part]))
            if link is None:
                done.append(part)
                continue
            done = [] if link.startswith("/") else done
            waiting += [each for each in link.split("/") if each not in ("", ".")][::-1]
        return None
