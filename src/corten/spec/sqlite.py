"""Tables of an SQLite database, read by its file format alone (sqlite.org/fileformat2.html): no statement is executed,
no journal is played back, every page is read once.

    for rowid, values in Database(read, size).rows("Packages"):

`read(offset, size)` gives bytes of the file. What a write-ahead log has committed takes the place of pages of the file
(`logged`).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

Read = Callable[[int, int], bytes]
Value = int | bytes | None
_MAGIC = b"SQLite format 3\0"
_LEAF, _INTERIOR = 0x0D, 0x05
_MOST_VALUE = 64 << 20  # bytes of one row
_COLUMNS = 2000  # of one, as SQLite itself bounds them
_WAL_MAGIC = 0x377F0682
_FRAME = 24


class Corrupted(ValueError):
    """The file is no database, or a damaged one."""


class Database:
    """Raises Corrupted, here and in `rows`. `pages` replace those of the file."""

    def __init__(self, read: Read, size: int, pages: Mapping[int, bytes] | None = None) -> None:
        self._read = read
        self._pages = pages or {}
        head = self._pages.get(1) or read(0, 100)
        if len(head) < 100 or not head.startswith(_MAGIC):
            raise Corrupted("it does not begin as an SQLite database")
        self.page_size = int.from_bytes(head[16:18], "big")
        self.page_size = 65536 if self.page_size == 1 else self.page_size
        if self.page_size < 512 or self.page_size & (self.page_size - 1):
            raise Corrupted(f"its pages have {self.page_size} bytes")
        self._usable = self.page_size - head[20]
        if self._usable < 480:
            raise Corrupted(f"of its pages {self._usable} bytes are in use")
        self._count = max(size // self.page_size, max(self._pages, default=0))
        there = size // self.page_size + len(self._pages)  # a log may have numbers far above those
        self._left = 2 * there  # pages that may be read: those of the schema, and those of a table
        self._bytes = 2 * there * self.page_size  # of all rows: cells of a damaged page may lie upon one another

    def rows(self, table: str) -> Iterator[tuple[int, list[Value]]]:
        """Row ids and values: numbers, texts and blobs as bytes. Nothing when there is no such table."""
        for _, values in self._tree(1):
            kind, name, root = (*values[:2], values[3] if len(values) > 3 else None)
            if kind == b"table" and name == table.encode() and isinstance(root, int):
                yield from self._tree(root)
                return

    def _tree(self, root: int) -> Iterator[tuple[int, list[Value]]]:
        waiting, seen = [root], set[int]()
        while waiting:
            number = waiting.pop()
            if number in seen:
                raise Corrupted(f"page {number} is in a table twice")
            seen.add(number)
            page, start = self._page(number), 100 if number == 1 else 0
            kind, cells = page[start], int.from_bytes(page[start + 3 : start + 5], "big")
            header = start + (12 if kind == _INTERIOR else 8)
            if kind not in (_LEAF, _INTERIOR) or header + 2 * cells > len(page):
                raise Corrupted(f"page {number} is no page of a table")
            places = struct.unpack_from(f">{cells}H", page, header)
            if kind == _INTERIOR:
                waiting.append(int.from_bytes(page[start + 8 : start + 12], "big"))
                waiting += [int.from_bytes(page[at : at + 4], "big") for at in reversed(places)]
            else:
                for at in places:
                    yield self._row(page, at)

    def _page(self, number: int) -> bytes:
        self._left -= 1
        if not 0 < number <= self._count or self._left < 0:
            raise Corrupted(f"page {number} is not one of its {self._count}")
        page = self._pages.get(number) or self._read((number - 1) * self.page_size, self.page_size)
        if len(page) != self.page_size:
            raise Corrupted(f"page {number} is cut off")
        return page

    def _row(self, page: bytes, at: int) -> tuple[int, list[Value]]:
        size, at = _varint(page, at)
        id, at = _varint(page, at)
        self._bytes -= size
        if size > _MOST_VALUE or self._bytes < 0:
            raise Corrupted(f"a row of {size} bytes")
        local = self._local(size)
        payload = bytearray(page[at : at + local])
        following = int.from_bytes(page[at + local : at + local + 4], "big") if local < size else 0
        while len(payload) < size:
            more = self._page(following)
            following = int.from_bytes(more[:4], "big")
            payload += more[4 : min(self._usable, 4 + size - len(payload))]
        return id, _record(bytes(payload))

    def _local(self, size: int) -> int:
        """How much of a row is on its leaf."""
        most = self._usable - 35
        if size <= most:
            return size
        least = (self._usable - 12) * 32 // 255 - 23
        rest = least + (size - least) % (self._usable - 4)
        return rest if rest <= most else least


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for count in range(9):
        if at >= len(data):
            raise Corrupted("a number is cut off")
        byte, at = data[at], at + 1
        if count == 8:
            return value << 8 | byte, at
        value = value << 7 | byte & 0x7F
        if not byte & 0x80:
            break
    return value, at


def _record(payload: bytes) -> list[Value]:
    end, at = _varint(payload, 0)
    values, body = list[Value](), end
    while at < end:
        kind, at = _varint(payload, at)
        size = _SIZES[kind] if kind < 12 else (kind - 12) // 2
        if body + size > len(payload):
            raise Corrupted("a row is cut off")
        raw, body = payload[body : body + size], body + size
        values.append(raw if kind >= 12 else _number(kind, raw))
        if len(values) > _COLUMNS:
            raise Corrupted(f"a row of more than {_COLUMNS} values")
    return values


_SIZES = (0, 1, 2, 3, 4, 6, 8, 8, 0, 0, 0, 0)  # by serial type


def _number(kind: int, raw: bytes) -> Value:
    if kind in (8, 9):
        return kind - 8
    return int.from_bytes(raw, "big", signed=True) if 0 < kind < 7 else None


class _Sums(NamedTuple):
    first: int
    second: int

    def over(self, data: bytes, order: str) -> _Sums:
        first, second = self
        for one, two in struct.iter_unpack(f"{order}II", data):
            first = (first + one + second) & 0xFFFFFFFF
            second = (second + two + first) & 0xFFFFFFFF
        return _Sums(first, second)


def logged(wal: bytes) -> dict[int, bytes]:
    """Pages by number, as the transactions leave them that a write-ahead log has to their end."""
    if len(wal) < 32 or int.from_bytes(wal[:4], "big") & ~1 != _WAL_MAGIC:
        return {}
    order = ">" if wal[3] & 1 else "<"
    size, salts = int.from_bytes(wal[8:12], "big"), wal[16:24]
    sums = _Sums(0, 0).over(wal[:24], order)
    committed: dict[int, bytes] = {}
    waiting: dict[int, bytes] = {}
    if size < 512 or sums != struct.unpack_from(">II", wal, 24):
        return {}
    for at in range(32, len(wal) - _FRAME - size + 1, _FRAME + size):
        number, pages = struct.unpack_from(">II", wal, at)
        page = wal[at + _FRAME : at + _FRAME + size]
        sums = sums.over(wal[at : at + 8], order).over(page, order)
        if wal[at + 8 : at + 16] != salts or sums != struct.unpack_from(">II", wal, at + 16):
            break  # what an earlier log has left behind
        waiting[number] = page
        if pages:
            committed.update(waiting)
            waiting.clear()
    return committed
