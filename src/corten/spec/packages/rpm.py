"""A header of rpm's database (rpm's documentation, "RPM V4 package format": header, without the lead-in magic)."""

from __future__ import annotations

import struct

from corten.spec.packages.package import Package, clean

_ENTRY = struct.Struct(">iiiI")  # tag, type, offset, count
_MOST = 1 << 16  # entries, as rpm itself bounds them
_INT32, _STRING, _ARRAY, _I18N = 4, 6, 8, 9
_NAME, _VERSION, _RELEASE, _EPOCH, _VENDOR, _LICENSE, _ARCH, _SOURCE = 1000, 1001, 1002, 1003, 1011, 1014, 1022, 1044
_KEY = "gpg-pubkey"  # not software: what signatures are checked with


def header(blob: bytes, place: str) -> Package | None:
    """None for what is no package. Raises ValueError for what is no header."""
    if len(blob) < 8:
        raise ValueError("an rpm header of less than 8 bytes")
    count, length = struct.unpack_from(">II", blob)
    start = 8 + count * _ENTRY.size
    if count > _MOST or start + length > len(blob):
        raise ValueError(f"an rpm header of {count} entries and {length} bytes has {len(blob)}")
    found = {}
    for tag, kind, offset, _ in _ENTRY.iter_unpack(blob[8:start]):
        if tag in _TAGS and tag not in found and 0 <= offset < length:
            found[tag] = _value(blob, start + offset, start + length, kind)
    name, version, release = found.get(_NAME, ""), found.get(_VERSION, ""), found.get(_RELEASE, "")
    if not (name and version) or name == _KEY:
        return None
    return Package(
        "rpm",
        name,
        f"{version}-{release}" if release else version,
        found.get(_ARCH, ""),
        found.get(_LICENSE, ""),
        found.get(_VENDOR, ""),
        found.get(_SOURCE, ""),
        found.get(_EPOCH, ""),
        place,
    )


_TAGS = frozenset((_NAME, _VERSION, _RELEASE, _EPOCH, _VENDOR, _LICENSE, _ARCH, _SOURCE))


def _value(blob: bytes, at: int, end: int, kind: int) -> str:
    """A text, the first of several, or a number."""
    if kind in (_STRING, _ARRAY, _I18N):
        stop = blob.find(b"\0", at, end)
        return clean(blob[at : end if stop < 0 else stop].decode("utf-8", "replace"))
    if kind == _INT32 and at + 4 <= end:
        return str(int.from_bytes(blob[at : at + 4], "big"))
    return ""
