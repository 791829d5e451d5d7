"""fsutil's transfer (`moby.filesync.v1.FileSync/DiffCopy`), without a socket.

Theory. The sender walks its tree and says a STAT for each entry, and one without an entry at the end. Entries count
from 0; a regular file's content is asked for by a REQ with its number, while the walk goes on, and comes as DATA pieces
and an empty one at its end, several files at once. When all has come we say FIN, and so does the sender.
"""

from __future__ import annotations

from corten.build.transfer.receiving import BYTES, STATS, Receiver, Sink
from corten.build.transfer.walk import ENTRIES
from corten.errors import Failed, Invalid
from corten.http2.grpc import Cut, framed
from corten.spec.protobuf.codec import number, parts, varint
from corten.spec.protobuf.session import DATA, ERROR, FINISH, STAT, Packet, Stat

_PATH_TAG = 0x0A  # the field 1, bytes
_NUMBERS = {0x10: "mode", 0x18: "uid", 0x20: "gid", 0x28: "size", 0x30: "modified"}  # the fields 2 to 6, numbers
_BITS = 1 << 64
_PACKET = 4 << 20  # bytes of a message; clients send 32 KiB of content


class Packets:
    """`feed` what comes; what it answers is for the sender, `finished` when that has said all."""

    def __init__(self, sink: Sink, entries: int = ENTRIES, most: int = BYTES, stats: int = STATS) -> None:
        self._receiver = Receiver(sink, entries, most, stats)
        self._cut = Cut(_PACKET)
        self.finished = False

    @property
    def received(self) -> int:
        """Bytes of contents."""
        return self._receiver.received

    def feed(self, data: bytes) -> bytes:
        """Packets for the sender. Raises Invalid for what is refused, Failed for the sender's own error, and what the
        sink raises."""
        out: list[bytes] = []
        before = self._receiver.complete
        for message in self._cut.feed(data):
            self._packet(message, out)
        if self._receiver.finish() and not before:
            out.append(framed(Packet(FINISH).encode()))
        return b"".join(out)

    def _packet(self, message: bytes, out: list[bytes]) -> None:
        kind, stat, id, content = _read(message)
        if kind == DATA:
            if content:
                self._receiver.data(id, content)
            else:
                self._receiver.end(id)
        elif kind == STAT:
            self._stat(stat, out)
        elif kind == FINISH:
            if not self._receiver.complete:
                raise Invalid("the sender of the context ended before everything was there")
            self.finished = True
        elif kind == ERROR:
            raise Failed(f"error from sender: {bytes(content[:1000]).decode('utf-8', 'replace')}")
        else:
            raise Invalid(f"the sender of the context sent a packet of the type {kind}")

    def _stat(self, data: bytes | None, out: list[bytes]) -> None:
        if data is None:
            self._receiver.walked()
        elif (at := self._receiver.entry(read_stat(data), len(data))) is not None:
            out.append(_request(at))


def _request(at: int) -> bytes:
    """Packet(REQUEST, id=at)"""
    message = b"\x08\x01\x18" + number(at) if at else b"\x08\x01"
    return framed(message)


def _read(message: bytes) -> tuple[int, bytes | None, int, bytes | memoryview]:
    """Type, stat, id and data of a packet: the fields that all clients send in one byte of a tag each, read directly as
    there are several packets for each file."""
    kind, stat, id = STAT, None, 0
    content: bytes | memoryview = b""
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
                    content = memoryview(message)[at:end]
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


def read_stat(data: bytes) -> Stat:
    """Stat.decode(data). What clients send of most files is read directly; all else, and what is wrong, as others."""
    found, at, size = Stat(), 0, len(data)
    try:
        while at < size:
            tag = data[at]
            if tag == _PATH_TAG:
                count, at = varint(data, at + 1)
                if at + count > size:
                    return Stat.decode(data)
                found.path = str(data[at : at + count], "utf-8")
                at += count
            elif (name := _NUMBERS.get(tag)) is not None:
                value, at = varint(data, at + 1)
                setattr(found, name, value - _BITS if value >> 63 else value)
            else:
                return Stat.decode(data)
    except UnicodeDecodeError:
        return Stat.decode(data)
    return found


def _slowly(message: bytes) -> tuple[int, bytes | None, int, bytes]:
    found: dict[int, int | bytes] = {}
    for key, _, value in parts(message):
        found[key] = value
    kind, stat, id, content = (found.get(key, default) for key, default in ((1, STAT), (2, None), (3, 0), (4, b"")))
    if not isinstance(kind, int) or not isinstance(id, int) or isinstance(stat, int) or not isinstance(content, bytes):
        raise Invalid("a packet of the context has a field of another type")
    return kind, stat, id, content
