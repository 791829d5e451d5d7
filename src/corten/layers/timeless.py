"""A digest of a tar that does not depend on when it was made: of everything in it but the times.

For tars that `layers.pack` wrote: a PAX header before an entry that needs one (it may be there for a time alone), and
no other extension.
"""

from __future__ import annotations

import hashlib

from corten.layers.blocks import Blocks
from corten.layers.header import Header, Pax

_TIME = slice(136, 156)  # of a header block: mtime, and the checksum over all of it


class Timeless(Blocks):
    """Takes the tar in pieces of any length. Invalid for what is no tar."""

    def __init__(self) -> None:
        super().__init__()
        self._hash = hashlib.sha256()

    @property
    def digest(self) -> str:
        return "sha256:" + self._hash.hexdigest()

    def header(self, block: bytes, found: Header | None) -> None:
        self._hash.update(block[: _TIME.start])
        self._hash.update(block[_TIME.stop :])

    def records(self, head: bytes, data: bytes, found: Pax) -> None:
        for key, value in sorted(found.records.items()):
            if key != b"mtime":
                self._hash.update(b"%d %s %d %s" % (len(key), key, len(value), value))

    def content(self, data: memoryview) -> None:
        self._hash.update(data)
