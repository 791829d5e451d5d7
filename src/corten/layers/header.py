"""The tar header block and the PAX extended header, as pure functions from bytes (POSIX.1-2017 pax; GNU tar manual).

Every number and length is checked here, because a layer is hostile input. Raises Invalid for what is no tar.
"""

from __future__ import annotations

from functools import lru_cache
from struct import Struct
from typing import NamedTuple
from zlib import adler32

from corten.errors import Invalid

BLOCK = 512
MAX_PAX = 1 << 20
_MAX_NUMBER = 1 << 62
_FIELDS = Struct("100s8s8s8s12s12s8sc100s8s32s32s8s8s155s12s")
_ZERO = bytes(BLOCK)

REGULAR, OLD_REGULAR, LINK, SYMLINK, CHAR, BLOCK_DEVICE, DIRECTORY, FIFO, CONTIGUOUS = (
    b"0",
    b"\0",
    b"1",
    b"2",
    b"3",
    b"4",
    b"5",
    b"6",
    b"7",
)
PAX, PAX_SOLARIS, PAX_GLOBAL, GNU_NAME, GNU_LINK, GNU_SPARSE, GNU_VOLUME = b"x", b"X", b"g", b"L", b"K", b"S", b"V"


class Header(NamedTuple):
    """One header block as it stands. Sizes in bytes, mtime in seconds; names are raw bytes up to the first NUL."""

    name: bytes
    mode: int
    uid: int
    gid: int
    size: int
    mtime: int
    type: bytes
    link: bytes
    major: int
    minor: int


class Pax(NamedTuple):
    """A PAX header: the records (the last of a key wins), and GNU sparse 0.0's repeated keys in order."""

    records: dict[bytes, bytes]
    sparse: tuple[int, ...]


def parse_header(block: bytes) -> Header | None:
    """None for a block of zeros, which ends an archive."""
    name, mode, uid, gid, size, mtime, checksum, type, link, magic, _, _, major, minor, prefix, _ = _FIELDS.unpack(
        block
    )
    stated = checksum.split(b"\0", 1)[0].strip()
    if not stated.isdigit() or int(stated, 10) == 0 or not _sum_matches(block, stated):
        if block == _ZERO:
            return None
        raise Invalid("not a tar archive: header checksum is wrong")
    name = name.split(b"\0", 1)[0]
    if magic[:6] == b"ustar\0" and prefix[0]:
        name = prefix.split(b"\0", 1)[0] + b"/" + name
    device = type in (CHAR, BLOCK_DEVICE)
    return Header(
        name,
        number(mode) & 0o7777,
        number(uid),
        number(gid),
        _size(size),
        number(mtime),
        type,
        link.split(b"\0", 1)[0],
        number(major) if device else 0,
        number(minor) if device else 0,
    )


def checksum(block: bytes | bytearray) -> int:
    """The sum of the bytes of a header block, whose halves have less than what adler32 sums modulo (65521)."""
    return (adler32(block[:256], 0) & 0xFFFF) + (adler32(block[256:], 0) & 0xFFFF)


def _sum_matches(block: bytes, stated: bytes) -> bool:
    try:
        wanted = int(stated, 8)
    except ValueError:
        return False
    unsigned = checksum(block) - sum(block[148:156]) + 256
    if unsigned == wanted:
        return True
    signed = sum(b - 256 if b > 127 else b for b in block[:148] + block[156:]) + 256
    return signed == wanted


@lru_cache(1024)  # modes, owners and most times are those of thousands of entries
def number(field: bytes) -> int:
    """Octal digits, or GNU's base-256 when the first bit is set (then it may be negative)."""
    if field[0] & 0x80:
        value = int.from_bytes(field, "big")
        bits = len(field) * 8
        value = value - (1 << bits) if field[0] == 0xFF else value & ((1 << (bits - 1)) - 1)
        if not -_MAX_NUMBER < value < _MAX_NUMBER:
            raise Invalid("tar header has an absurd number")
        return value
    return _octal(field)


def _octal(field: bytes) -> int:
    digits = field.split(b"\0", 1)[0].strip(b" ")
    if not digits:
        return 0
    try:
        if digits.isdigit():
            return int(digits, 8)
    except ValueError:
        pass
    raise Invalid("tar header has a malformed number")


def _size(field: bytes) -> int:
    size = number(field)
    if size < 0:
        raise Invalid("tar header has a negative size")
    return size


def parse_pax(data: bytes) -> Pax:
    """The records `LENGTH KEY=VALUE\\n` of an extended header."""
    records: dict[bytes, bytes] = {}
    sparse: list[int] = []
    at = 0
    while at < len(data):
        if data[at] == 0 and not data[at:].strip(b"\0"):
            break  # some writers pad with NUL
        space = data.find(b" ", at, at + 21)
        digits = data[at:space] if space > 0 else b""
        end = at + int(digits) if digits.isdigit() else 0
        if end <= space + 2 or end > len(data) or data[end - 1] != 0x0A:
            raise Invalid("malformed PAX header")
        key, equals, value = data[space + 1 : end - 1].partition(b"=")
        if not equals or not key:
            raise Invalid("malformed PAX header")
        if key in (b"GNU.sparse.offset", b"GNU.sparse.numbytes"):
            sparse.append(decimal(value))
        records[key] = value
        at = end
    return Pax(records, tuple(sparse))


def decimal(value: bytes) -> int:
    """A non-negative decimal below 2**62."""
    if not value.isdigit() or len(value) > 19 or int(value) >= _MAX_NUMBER:
        raise Invalid("PAX header has a malformed number")
    return int(value)


def seconds(value: bytes) -> int:
    """A PAX time, `[-]SECONDS[.FRACTION]`, in nanoseconds."""
    whole, _, fraction = value.lstrip(b"-").partition(b".")
    if not (whole or b"0").isdigit() or not (fraction or b"0").isdigit() or len(whole) > 18:
        raise Invalid("PAX header has a malformed time")
    nanoseconds = int(whole or b"0") * 10**9 + int(fraction[:9].ljust(9, b"0"))
    return -nanoseconds if value[:1] == b"-" else nanoseconds
