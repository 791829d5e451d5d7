"""A digest of a tar that does not depend on when it was made: of everything in it but the times.

For tars that `layers.pack` wrote: a PAX header before an entry that needs one, and no other extension.
"""

from __future__ import annotations

import hashlib

from corten.errors import Invalid
from corten.layers import header as tar
from corten.layers.header import BLOCK

_TIME = slice(136, 156)  # of a header block: mtime, and the checksum over all of it


class Timeless:
    """Takes the tar in pieces of any length. Invalid for what is no tar."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self._rest = b""  # the beginning of what can only be read as a whole
        self._left = 0  # bytes until the next header
        self._records = 0  # bytes of the PAX records that come next
        self._size: int | None = None  # of the next entry, when a record has it

    @property
    def digest(self) -> str:
        return "sha256:" + self._hash.hexdigest()

    def update(self, piece: bytes) -> None:
        piece, self._rest = self._rest + piece, b""
        at, view = 0, memoryview(piece)
        while at < len(piece):
            whole = _padded(self._records) or BLOCK
            if self._left:
                data = view[at : at + self._left]
                self._hash.update(data)
                self._left -= len(data)
                at += len(data)
            elif len(piece) - at < whole:
                self._rest = piece[at:]
                return
            else:
                (self._extended if self._records else self._header)(piece[at : at + whole])
                at += whole

    def _header(self, block: bytes) -> None:
        found = tar.parse_header(block)
        if found is not None and found.type == tar.PAX:  # which may be there for a time alone
            if not 0 < found.size <= tar.MAX_PAX:
                raise Invalid(f"a PAX header of {found.size} bytes is none of ours")
            self._records = found.size
            return
        self._hash.update(block[: _TIME.start])
        self._hash.update(block[_TIME.stop :])
        if found is None:  # the end
            return
        size, self._size = found.size if self._size is None else self._size, None
        self._left = _padded(size) if found.type == tar.REGULAR else 0

    def _extended(self, block: bytes) -> None:
        records = tar.parse_pax(block[: self._records]).records
        self._records = 0
        for key, value in sorted(records.items()):
            if key != b"mtime":
                self._hash.update(b"%d %s %d %s" % (len(key), key, len(value), value))
        if b"size" in records:
            self._size = tar.decimal(records[b"size"])


def _padded(size: int) -> int:
    return size + -size % BLOCK
