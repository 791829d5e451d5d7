"""Extended attributes behind an inode. What a second file has as well is written once, and referred to from then on."""

from __future__ import annotations

import struct
from collections.abc import Mapping

from corten.errors import Unsupported
from corten.layers.erofs.space import Space
from corten.layers.erofs.structures import BLOCK
from corten.layers.limits import quoted

# By the kernel's index (fs/erofs/erofs_fs.h); the two of POSIX ACLs are whole names.
_WHOLE = {b"system.posix_acl_access": 2, b"system.posix_acl_default": 3}
_PREFIXES = {b"user": 1, b"trusted": 4, b"security": 6}
_ENTRY = struct.Struct("<BBH")
_HEADER = struct.Struct("<IB7x")
_MOST_SHARED = 255  # of one inode
_REMEMBERED, _LONGEST = 1024, 1024  # so many attributes of at most so many bytes are looked for in other files
_MOST = 0xFFFF * 4 + 8  # bytes of an area


class Attributes:
    """Of one image."""

    def __init__(self, space: Space) -> None:
        self._space = space
        self._seen: dict[bytes, int] = {}  # to its place in units of four bytes; 0: it was written inline
        self._pool = self._pool_end = 0

    def area(self, found: Mapping[bytes, bytes], name: bytes) -> bytes:
        """What is behind the inode of `name`. Raises Unsupported for what the format cannot have."""
        if not found:
            return b""
        shared, inline = list[int](), list[bytes]()
        for key, value in sorted(found.items()):
            entry = _entry(key, value, name)
            place = self._shared(entry) if len(shared) < _MOST_SHARED else 0
            if place:
                shared.append(place)
            else:
                inline.append(entry)
        area = b"".join((_HEADER.pack(0, len(shared)), struct.pack(f"<{len(shared)}I", *shared), *inline))
        if len(area) > _MOST:
            raise Unsupported(f"the attributes of {quoted(name)} are too large for an EROFS image: {len(area)} bytes")
        return area

    def _shared(self, entry: bytes) -> int:
        if len(entry) > _LONGEST:
            return 0
        place = self._seen.get(entry)
        if place is None:
            if len(self._seen) < _REMEMBERED:
                self._seen[entry] = 0
            return 0
        if not place:
            place = self._seen[entry] = self._write(entry)
        return place

    def _write(self, entry: bytes) -> int:
        """0 where no reference reaches it: behind 16 GiB."""
        if self._pool + len(entry) > self._pool_end:
            self._pool = self._space.inode(BLOCK, together=True)
            self._pool_end = self._pool + BLOCK
        if self._pool_end > 1 << 34:
            return 0
        at = self._pool
        self._space.put(at, entry)
        self._pool += len(entry)
        return at // 4


def _entry(key: bytes, value: bytes, name: bytes) -> bytes:
    prefix, _, rest = key.partition(b".")
    index = _WHOLE.get(key)
    if index is not None:
        rest = b""
    elif prefix in _PREFIXES:
        index = _PREFIXES[prefix]
    else:
        raise Unsupported(f"an EROFS image cannot have the attribute {quoted(key)} of {quoted(name)}")
    if len(value) > 0xFFFF:
        raise Unsupported(f"the attribute {quoted(key)} of {quoted(name)} is too large for an EROFS image")
    entry = _ENTRY.pack(len(rest), index, len(value)) + rest + value
    return entry + bytes(-len(entry) % 4)
