"""A digest of a tar that does not depend on when it was made: of everything in it but the times.

For tars that `layers.pack` wrote: a PAX header before an entry that needs one (it may be there for a time alone), and
no other extension. What is hashed, one behind the other:

    "r" records of a PAX header, by their keys: LENGTH " " KEY " " LENGTH " " VALUE
    "h" 492 bytes of a header block: all of it but the time and the checksum
    "d" 32 bytes: the SHA-256 of the content, where there is any

So a content whose own digest is known need not be hashed again (`Digests`).
"""

from __future__ import annotations

import hashlib
import os

from corten.errors import Invalid
from corten.layers.blocks import Blocks, padded
from corten.layers.header import REGULAR, Header, Pax
from corten.layers.limits import UNKNOWN_DIGEST

_TIME = slice(136, 156)  # of a header block: mtime, and the checksum over all of it
_SIZE, _KIND, _MAGIC = slice(124, 135), slice(156, 157), slice(257, 265)  # of one; the size in octal digits
_USTAR = b"ustar\x0000"
_DIGEST = len(UNKNOWN_DIGEST)
_AT_ONCE = 1024


class Digests:
    """SHA-256 of the contents in a tar, in their order, as `layers.pack.Packer` writes them to the file `fd`, the
    caller's: each is there before the header is that it is of. `next` is b"" for one that is not known."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._data = b""
        self._at = self._read = 0

    def next(self) -> bytes:
        if self._at + _DIGEST > len(self._data):
            self._data = os.pread(self._fd, _AT_ONCE * _DIGEST, self._read)
            self._data = self._data[: len(self._data) - len(self._data) % _DIGEST]
            self._at = 0
        found = self._data[self._at : self._at + _DIGEST]
        self._at += _DIGEST
        self._read += _DIGEST
        return found if found != UNKNOWN_DIGEST else b""


class Timeless(Blocks):
    """Takes the tar in pieces of any length. Invalid for what is no tar. `known` are the digests of its contents."""

    def __init__(self, known: Digests | None = None) -> None:
        super().__init__()
        self._hash = hashlib.sha256()
        self._known = known
        self._content: hashlib._Hash | None = None  # of a content whose digest is not known
        self._missing = 0  # bytes of it

    @property
    def digest(self) -> str:
        return "sha256:" + self._hash.hexdigest()

    def _header(self, block: bytes) -> None:
        """Where digests are known a `Packer` wrote it: without a look at what does not matter then, of which there are
        thousands."""
        plain = self._known is not None and block[_KIND] == REGULAR and block[_MAGIC] == _USTAR
        if not (plain and block[_SIZE].isdigit()):
            super()._header(block)
            return
        size, self._size = self._size, None
        try:
            self.size = int(block[_SIZE], 8) if size is None else size
        except ValueError:
            raise Invalid("not a tar archive: a size is no number") from None
        self._left = padded(self.size)
        self._add(block)

    def header(self, block: bytes, found: Header | None) -> None:
        if found is None:
            self.size = 0
        self._add(block)

    def _add(self, block: bytes) -> None:
        self._hash.update(b"h" + block[: _TIME.start] + block[_TIME.stop :])
        if not self.size:
            return
        if self._known is not None and (digest := self._known.next()):
            self._hash.update(b"d" + digest)
        else:
            self._content, self._missing = hashlib.sha256(), self.size

    def records(self, head: bytes, data: bytes, found: Pax) -> None:
        for key, value in sorted(found.records.items()):
            if key != b"mtime":
                self._hash.update(b"r%d %s %d %s" % (len(key), key, len(value), value))

    def content(self, data: memoryview) -> None:
        if self._content is None:
            return
        self._content.update(data[: self._missing])
        self._missing -= min(self._missing, len(data))
        if not self._missing:
            self._hash.update(b"d" + self._content.digest())
            self._content = None
