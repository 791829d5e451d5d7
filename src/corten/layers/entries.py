"""A tar stream as entries: headers, long names and PAX records put together, with data still in the source.

for entry in entries(source, limits):
    source.copy(fd, entry.size)        # or as much of it as is wanted; the rest is skipped
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import NamedTuple

from corten.errors import Invalid
from corten.layers import header as tar
from corten.layers import sparse
from corten.layers.header import BLOCK, Header, Pax
from corten.layers.limits import LONGEST_PATH, quoted
from corten.layers.source import Source

_XATTR = b"SCHILY.xattr."
_MAX_XATTR = 255  # XATTR_NAME_MAX of linux/limits.h
_MAX_ID = 0xFFFFFFFE  # 0xFFFFFFFF means "leave it" to chown(2)
_MAX_TIME = (1 << 34) * 10**9  # the year 2514; ext4 ends in 2446, and utimensat must not overflow


class Limits(NamedTuple):
    """Bounds of one layer: bytes of the stream, bytes of one file, files and directories, bytes of a path."""

    bytes: int = 1 << 40
    file: int = 1 << 43
    inodes: int = 10_000_000
    path: int = LONGEST_PATH


class Entry(NamedTuple):
    """`name` and `link` are raw; `size` is what is stored, `real` what the file measures; mtime in nanoseconds.

    `type` is one of header's REGULAR, LINK, SYMLINK, CHAR, BLOCK_DEVICE, DIRECTORY, FIFO. `parts` is None for a file
    without holes.
    """

    name: bytes
    type: bytes
    mode: int
    uid: int
    gid: int
    size: int
    real: int
    mtime: int
    link: bytes
    major: int
    minor: int
    xattrs: dict[bytes, bytes]
    parts: sparse.Map | None

    @property
    def device(self) -> int:
        """A device's number. Raises Invalid for one that Linux cannot have (12 bits of major, 20 of minor)."""
        if not (0 <= self.major < 1 << 12 and 0 <= self.minor < 1 << 20):
            raise Invalid(f"device number {self.major}:{self.minor} does not exist")
        return os.makedev(self.major, self.minor)


_NO_PAX = Pax({}, ())
_NO_XATTRS: dict[bytes, bytes] = {}
_KNOWN = {
    tar.REGULAR: tar.REGULAR,
    tar.OLD_REGULAR: tar.REGULAR,
    tar.CONTIGUOUS: tar.REGULAR,
    tar.GNU_SPARSE: tar.REGULAR,
    tar.LINK: tar.LINK,
    tar.SYMLINK: tar.SYMLINK,
    tar.CHAR: tar.CHAR,
    tar.BLOCK_DEVICE: tar.BLOCK_DEVICE,
    tar.DIRECTORY: tar.DIRECTORY,
    tar.FIFO: tar.FIFO,
}


def entries(source: Source, limits: Limits) -> Iterator[Entry]:
    """Every entry of the archive. Ends at the end mark or at the end of the stream.

    Raises Invalid for what is no tar.
    """
    pax, name, link = _NO_PAX, b"", b""
    while (block := source.block()) is not None:
        head = tar.parse_header(block)
        if head is None:
            return
        kind = head.type
        if kind in (tar.PAX, tar.PAX_SOLARIS):
            pax = tar.parse_pax(_extension(source, head))
        elif kind == tar.GNU_NAME:
            name = _extension(source, head).split(b"\0", 1)[0]
        elif kind == tar.GNU_LINK:
            link = _extension(source, head).split(b"\0", 1)[0]
        elif kind in (tar.PAX_GLOBAL, tar.GNU_VOLUME):
            _extension(source, head)  # as Docker: git-archive writes one for its commit id, nothing acts on it
        else:
            entry = _entry(source, block, head, pax, name, link, limits)
            end = source.offset + entry.size + -entry.size % BLOCK
            yield entry
            source.skip(end - source.offset)
            if source.offset > limits.bytes:
                raise Invalid(f"layer is larger than the limit of {limits.bytes} bytes")
            pax, name, link = _NO_PAX, b"", b""


def _extension(source: Source, head: Header) -> bytes:
    if head.size > tar.MAX_PAX:
        raise Invalid(f"tar extension header of {head.size} bytes is larger than {tar.MAX_PAX}")
    data = source.exactly(head.size)
    source.skip(-head.size % BLOCK)
    return data


def _entry(source: Source, block: bytes, head: Header, pax: Pax, name: bytes, link: bytes, limits: Limits) -> Entry:
    kind = _KNOWN.get(head.type)
    if kind is None:
        raise Invalid(f"tar entry {quoted(head.name)} has unknown type {quoted(head.type)}")
    records = pax.records
    name = records.get(b"path") or name or head.name
    link = records.get(b"linkpath") or link or head.link
    size = tar.decimal(records[b"size"]) if b"size" in records else head.size
    if kind == tar.REGULAR and name.endswith(b"/"):
        kind = tar.DIRECTORY  # old tars mark a directory so
    if kind != tar.REGULAR:
        size = 0  # as Go's reader has it: only files have data, whatever size a writer put there
    if b"\0" in name or b"\0" in link:
        raise Invalid(f"tar entry name with a NUL byte: {quoted(name)}")
    parts, real, size, stored_name = _sparse(source, block, head, pax, size, limits)
    if size > limits.file or (size > limits.bytes and kind == tar.REGULAR):
        raise Invalid(f"tar entry {quoted(name)} of {size} bytes is larger than the limit")
    mtime = tar.seconds(records[b"mtime"]) if b"mtime" in records else head.mtime * 10**9
    return Entry(
        stored_name or name,
        kind,
        head.mode,
        _id(records.get(b"uid"), head.uid),
        _id(records.get(b"gid"), head.gid),
        size,
        real,
        max(-_MAX_TIME, min(mtime, _MAX_TIME)),
        link,
        head.major,
        head.minor,
        _xattrs(records) if records else _NO_XATTRS,
        parts,
    )


def _id(text: bytes | None, value: int) -> int:
    if text is not None:
        value = tar.decimal(text)
    if not 0 <= value <= _MAX_ID:
        raise Invalid(f"tar entry has an owner that does not exist: {value}")
    return value


def _xattrs(records: dict[bytes, bytes]) -> dict[bytes, bytes]:
    found = {key[len(_XATTR) :]: value for key, value in records.items() if key.startswith(_XATTR)}
    for key in found:
        if not 0 < len(key) <= _MAX_XATTR or b"\0" in key:
            raise Invalid(f"tar entry has an extended attribute that cannot be: {quoted(key)}")
    return found


def _sparse(
    source: Source, block: bytes, head: Header, pax: Pax, size: int, limits: Limits
) -> tuple[sparse.Map | None, int, int, bytes]:
    """(parts, real size, stored size, name): a file without holes is (None, size, size, b"")."""
    records = pax.records
    if head.type == tar.GNU_SPARSE:
        parts, real = sparse.gnu_old(block, source.exactly)
    elif b"GNU.sparse.major" in records:
        if (records[b"GNU.sparse.major"], records.get(b"GNU.sparse.minor")) != (b"1", b"0"):
            raise Invalid("unknown GNU sparse format")
        parts, taken = sparse.from_data(source.exactly)
        size -= taken
        real = tar.decimal(records.get(b"GNU.sparse.realsize", b""))
    elif b"GNU.sparse.map" in records:
        parts, real = sparse.from_text(records[b"GNU.sparse.map"]), tar.decimal(records.get(b"GNU.sparse.size", b""))
    elif pax.sparse:
        parts, real = sparse.from_numbers(pax.sparse), tar.decimal(records.get(b"GNU.sparse.size", b""))
    else:
        return None, size, size, b""
    sparse.check(parts, size, real, limits.file)
    return parts, real, size, records.get(b"GNU.sparse.name", b"")
