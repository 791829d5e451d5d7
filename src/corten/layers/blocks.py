"""A tar taken apart while it passes: headers, PAX records and contents, in pieces of any length.

class Names(Blocks):
    def header(self, block, found): ...         # 512 bytes, and what is in them
    def records(self, head, data, found): ...   # a PAX header's own block, its records, and these parsed
    def content(self, data): ...                # contents with their padding

for piece in pieces: names.update(piece)
"""

from __future__ import annotations

from corten.errors import Invalid
from corten.layers import header as tar
from corten.layers.header import BLOCK, Header, Pax

_WITHOUT_CONTENT = (tar.LINK, tar.SYMLINK, tar.CHAR, tar.BLOCK_DEVICE, tar.DIRECTORY, tar.FIFO)


class Blocks:
    """Takes the tar in pieces. Invalid for what is no tar."""

    def __init__(self) -> None:
        self._rest = b""  # the beginning of what can only be read as a whole
        self._left = 0  # bytes until the next header
        self._head = b""  # the block of a PAX header whose records come next
        self._records = 0  # their bytes
        self._size: int | None = None  # of the next entry, when a record has it
        self.size = 0  # bytes of the content behind the last header, without its padding

    def header(self, block: bytes, found: Header | None) -> None:
        """`found` None: one of the blocks at the end."""
        raise NotImplementedError

    def records(self, head: bytes, data: bytes, found: Pax) -> None:
        raise NotImplementedError

    def content(self, data: memoryview) -> None:
        raise NotImplementedError

    def update(self, more: bytes | bytearray) -> None:
        piece, self._rest = (self._rest + more if self._rest else more), b""
        at, end, view = 0, len(piece), memoryview(piece)
        while at < end:
            if self._left:
                data = view[at : at + self._left]
                self.content(data)
                self._left -= len(data)
                at += len(data)
                continue
            whole = padded(self._records) if self._records else BLOCK
            if end - at < whole:
                self._rest = bytes(view[at:])
                return
            (self._extended if self._records else self._header)(bytes(view[at : at + whole]))
            at += whole

    def _header(self, block: bytes) -> None:
        found = tar.parse_header(block)
        if found is not None and found.type == tar.PAX:
            if not 0 < found.size <= tar.MAX_PAX:
                raise Invalid(f"a tar has a PAX header of {found.size} bytes")
            self._head, self._records = block, found.size
            return
        if found is not None:
            size, self._size = found.size if self._size is None else self._size, None
            self.size = 0 if found.type in _WITHOUT_CONTENT else size
            self._left = padded(self.size)
        self.header(block, found)

    def _extended(self, block: bytes) -> None:
        data, self._records = block[: self._records], 0
        found = tar.parse_pax(data)
        if b"size" in found.records:
            self._size = tar.decimal(found.records[b"size"])
        self.records(self._head, data, found)


def padded(size: int) -> int:
    return size + -size % BLOCK
