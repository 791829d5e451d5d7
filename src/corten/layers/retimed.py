"""A tar in which nothing is younger than a given time. All else stays as it is, extensions of any kind too."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from corten.errors import Invalid
from corten.layers import write
from corten.layers.blocks import Blocks
from corten.layers.header import BLOCK, Header, Pax, checksum, seconds

_SIZE, _TIME, _SUM = slice(124, 136), slice(136, 148), slice(148, 156)  # of a header block
_TIMES = (b"mtime", b"atime", b"ctime")


def retimed(pieces: Iterable[bytes], epoch: int) -> Iterator[bytes]:
    """The tar in `pieces` with times of at most `epoch` (seconds, up to the year 2242). Raises Invalid for no tar."""
    found = _Retimed(epoch)
    for piece in pieces:
        found.update(piece)
        yield found.taken()
    yield found.rest()


class _Retimed(Blocks):
    def __init__(self, epoch: int) -> None:
        super().__init__()
        self._epoch = epoch
        self._out: list[bytes] = []

    def taken(self) -> bytes:
        data = b"".join(self._out)
        self._out.clear()
        return data

    def rest(self) -> bytes:
        """What is left at the end: a tar may be followed by less than a block of zeros."""
        if self._rest.strip(b"\0"):
            raise Invalid("a tar ends in the middle of a header")
        return self._rest

    def header(self, block: bytes, found: Header | None) -> None:
        late = found is not None and found.mtime > self._epoch
        self._out.append(_changed(block, _TIME, self._epoch) if late else block)

    def records(self, head: bytes, data: bytes, found: Pax) -> None:
        late = [key for key in _TIMES if key in found.records and seconds(found.records[key]) > self._epoch * 10**9]
        if late:
            data = b"".join(self._record(key, raw, key in late) for key, raw in _split(data))
            head = _changed(head, _SIZE, len(data))
        self._out.append(head)
        self._out.append(data + write.padding(len(data)))

    def _record(self, key: bytes, raw: bytes, late: bool) -> bytes:
        return write.record(key, b"%d" % self._epoch) if late else raw

    def content(self, data: memoryview) -> None:
        self._out.append(bytes(data))


def _split(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Each record's key, and all of it; `data` was parsed."""
    at = 0
    while at < len(data) and data[at : at + 1].isdigit():
        end = at + int(data[at : data.index(b" ", at)])
        yield data[data.index(b" ", at) + 1 : end].partition(b"=")[0], data[at:end]
        at = end


def _changed(block: bytes, field: slice, value: int) -> bytes:
    """The header block with another number, and the checksum of that."""
    changed = bytearray(block)
    changed[field] = b"%011o\0" % value
    changed[_SUM] = b" " * 8
    changed[_SUM] = b"%06o\0 " % checksum(changed)
    assert len(changed) == BLOCK
    return bytes(changed)
