"""Writing tar: headers that every reader understands, PAX records only where a value does not fit.

Deterministic: the bytes depend on the arguments alone. `header` gives what precedes an entry's data, `padding` what
follows it, `END` ends an archive.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from struct import Struct
from zlib import adler32

from corten.layers.header import BLOCK, LINK, PAX, REGULAR, SYMLINK, checksum

_FIELDS = Struct("100s8s8s8s12s12s8sc100s8s32s32s8s8s155s12s")
END = bytes(2 * BLOCK)
_MAX_OCTAL_7, _MAX_OCTAL_11 = 0o7777777, 0o77777777777


def header(
    name: bytes,
    type: bytes = REGULAR,
    *,
    mode: int = 0o644,
    uid: int = 0,
    gid: int = 0,
    size: int = 0,
    mtime: int = 0,
    link: bytes = b"",
    major: int = 0,
    minor: int = 0,
    xattrs: Mapping[bytes, bytes] = {},
    real: int | None = None,
) -> bytes:
    """The header of one entry. mtime in nanoseconds; `size` is how many bytes of data follow (REGULAR only).

    `real` is what a sparse file measures: its data begins with `sparse_map` (GNU tar manual, "PAX Format, Version
    1.0").
    """
    records: dict[bytes, bytes] = {}
    if real is not None:
        records[b"GNU.sparse.major"], records[b"GNU.sparse.minor"] = b"1", b"0"
        records[b"GNU.sparse.name"], records[b"GNU.sparse.realsize"] = name, b"%d" % real
    if len(name) > 100 or not name.isascii():
        records[b"path"] = name
    if len(link) > 100 or not link.isascii():
        records[b"linkpath"] = link
    if size > _MAX_OCTAL_11:
        records[b"size"] = b"%d" % size
    for key, owner in ((b"uid", uid), (b"gid", gid)):
        if owner > _MAX_OCTAL_7:
            records[key] = b"%d" % owner
    seconds, fraction = divmod(mtime, 10**9)
    if fraction or not 0 <= seconds <= _MAX_OCTAL_11:
        records[b"mtime"] = _time(mtime)
    for key, value in sorted(xattrs.items()):
        records[b"SCHILY.xattr." + key] = value
    shown = name if real is None else _sparse_name(name)
    block = _block(shown, type, mode, uid, gid, size, max(0, seconds), link, major, minor)
    return _pax(name, records) + block if records else block


def regular(name: bytes, mode: int, uid: int, gid: int, size: int, seconds: int) -> bytes:
    """`header` of a file without attributes, of which a tar has thousands; its mtime in whole seconds."""
    if (
        len(name) > 100
        or not name.isascii()
        or size > _MAX_OCTAL_11
        or not 0 <= seconds <= _MAX_OCTAL_11
        or max(uid, gid) > _MAX_OCTAL_7
    ):
        return header(name, mode=mode, uid=uid, gid=gid, size=size, mtime=seconds * 10**9)
    head = b"%b%b%011o\0%011o\0" % (name.ljust(100, b"\0"), _owned(mode, uid, gid), size, seconds)
    return b"%b%06o\0 %b" % (head, (adler32(head, 0) & 0xFFFF) + _REST, _TAIL)


@lru_cache(1024)
def _owned(mode: int, uid: int, gid: int) -> bytes:
    return b"%07o\0%07o\0%07o\0" % (mode & 0o7777, uid, gid)


def _sparse_name(name: bytes) -> bytes:
    """The name for a reader without support of these records."""
    above, slash, base = name.rpartition(b"/")
    return above + slash + b"GNUSparseFile.0/" + base


def sparse_map(parts: Sequence[tuple[int, int]]) -> bytes:
    """What precedes the data of a sparse file: (offset, length) of what follows, in blocks."""
    lines = b"".join(b"%d\n%d\n" % part for part in parts)
    text = b"%d\n%s" % (len(parts), lines)
    return text + padding(len(text))


def _time(nanoseconds: int) -> bytes:
    sign, magnitude = (b"-", -nanoseconds) if nanoseconds < 0 else (b"", nanoseconds)
    whole, fraction = divmod(magnitude, 10**9)
    return b"%s%d" % (sign, whole) + (b".%09d" % fraction if fraction else b"").rstrip(b"0")


def _pax(name: bytes, records: dict[bytes, bytes]) -> bytes:
    data = b"".join(record(key, value) for key, value in sorted(records.items()))
    base = name.rstrip(b"/").rpartition(b"/")[2][:80]
    shown = base if base.isascii() else b"entry"
    head = _block(b"PaxHeaders.0/" + shown, PAX, 0o644, 0, 0, len(data), 0, b"", 0, 0)
    return head + data + padding(len(data))


def record(key: bytes, value: bytes) -> bytes:
    """A PAX record, `LENGTH KEY=VALUE\\n`, where the length counts its own digits."""
    body = b" %s=%s\n" % (key, value)
    length = len(body) + len(str(len(body)))
    length = len(body) + len(str(length))
    return b"%d%s" % (length, body)


def _block(
    name: bytes, type: bytes, mode: int, uid: int, gid: int, size: int, mtime: int, link: bytes, major: int, minor: int
) -> bytes:
    fields = (
        name[:100],
        b"%07o\0" % (mode & 0o7777),
        b"%07o\0" % min(uid, _MAX_OCTAL_7),
        b"%07o\0" % min(gid, _MAX_OCTAL_7),
        b"%011o\0" % min(size, _MAX_OCTAL_11),
        b"%011o\0" % min(mtime, _MAX_OCTAL_11),
        b" " * 8,
        type,
        link[:100] if type in (LINK, SYMLINK) else b"",
        b"ustar\x0000",
        b"",
        b"",
        b"%07o\0" % major,
        b"%07o\0" % minor,
        b"",
        b"",
    )
    block = _FIELDS.pack(*fields)
    return block[:148] + b"%06o\0 " % checksum(block) + block[156:]


def padding(size: int) -> bytes:
    """Zeros up to the next block."""
    return bytes(-size % BLOCK)


_TAIL = _block(b"", REGULAR, 0, 0, 0, 0, 0, b"", 0, 0)[156:]  # what is behind the checksum of a regular file's header
_REST = sum(_TAIL) + sum(b" " * 8)
