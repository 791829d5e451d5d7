"""A CD with some files in its root (ECMA-119, and Joliet's second directory, which has names as they are). Pure.

    image = write("cidata", {"user-data": b"...", "meta-data": b"..."})

Sectors: 16 the volume, 17 Joliet's, 18 their end, 19 to 22 tables of paths, 23 and 24 the directories, then files.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import NamedTuple

SECTOR = 2048
_FILES = 25
_DIRECTORY = 2
_NO_DATE = bytes(7)  # of a record: none is given, so that equal files make equal images
_NO_TIME = b"0" * 16 + b"\0"
_ESCAPE = b"%/E"  # UCS-2, level 3
_MOST = 40  # files: their records are in one sector


class _Volume(NamedTuple):
    kind: int
    label: bytes
    escape: bytes
    tables: int  # the sector of the first of two
    root: int


def write(label: str, files: Mapping[str, bytes]) -> bytes:
    """`label` has at most 16 characters, names are of letters, digits, -, _ and dots. ValueError for too many files."""
    if len(files) > _MOST:
        raise ValueError(f"{len(files)} files, where {_MOST} have room")
    places, sector = {}, _FILES
    for name, content in files.items():
        places[name] = sector
        sector += max(1, -(-len(content) // SECTOR))
    primary = _Volume(1, label.encode("ascii").ljust(32), b"", 19, 23)
    joliet = _Volume(2, label.encode("utf-16-be").ljust(32, b"\0"), _ESCAPE, 21, 24)
    image = bytearray(sector * SECTOR)

    def put(at: int, data: bytes) -> None:
        image[at * SECTOR : at * SECTOR + len(data)] = data

    for index, volume in enumerate((primary, joliet)):
        put(16 + index, _descriptor(volume, sector))
        put(volume.tables, _path_table(volume.root, "<"))
        put(volume.tables + 1, _path_table(volume.root, ">"))
        put(volume.root, _records(volume, files, places))
    put(18, b"\xffCD001\x01")
    for name, content in files.items():
        put(places[name], content)
    return bytes(image)


def _records(volume: _Volume, files: Mapping[str, bytes], places: Mapping[str, int]) -> bytes:
    own = [_record(b"\0", volume.root, SECTOR, _DIRECTORY), _record(b"\1", volume.root, SECTOR, _DIRECTORY)]
    named = sorted((_name(volume, name), places[name], len(content)) for name, content in files.items())
    data = b"".join([*own, *(_record(*each, 0) for each in named)])
    if len(data) > SECTOR:
        raise ValueError("the names of the files have no room in one sector")
    return data


def _name(volume: _Volume, name: str) -> bytes:
    if volume.escape:
        return name.encode("utf-16-be")
    return (name.upper() + ("" if "." in name else ".") + ";1").encode("ascii")


def _record(name: bytes, sector: int, size: int, flags: int) -> bytes:
    pad = b"" if len(name) % 2 else b"\0"
    length = 33 + len(name) + len(pad)
    head = struct.pack("BB", length, 0) + _both(sector) + _both(size) + _NO_DATE
    return (
        head
        + struct.pack("BBB", flags, 0, 0)
        + struct.pack("<H", 1)
        + struct.pack(">H", 1)
        + bytes((len(name),))
        + name
        + pad
    )


def _path_table(root: int, order: str) -> bytes:
    return struct.pack(f"{order}BBIH", 1, 0, root, 1) + b"\0\0"


def _both(value: int) -> bytes:
    return struct.pack("<I", value) + struct.pack(">I", value)


def _descriptor(volume: _Volume, sectors: int) -> bytes:
    short = struct.pack("<H", 1) + struct.pack(">H", 1)
    size = struct.pack("<H", SECTOR) + struct.pack(">H", SECTOR)
    blank = bytes if volume.escape else (lambda count: b" " * count)
    data = bytes((volume.kind,)) + b"CD001\x01\0" + blank(32) + volume.label + bytes(8) + _both(sectors)
    data += volume.escape.ljust(32, b"\0") + short + short + size + _both(10)
    data += struct.pack("<II", volume.tables, 0) + struct.pack(">II", volume.tables + 1, 0)
    data += _record(b"\0", volume.root, SECTOR, _DIRECTORY) + blank(128) * 4 + blank(37) * 3 + _NO_TIME * 4 + b"\1\0"
    return data.ljust(SECTOR, b"\0")
