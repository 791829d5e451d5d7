"""QEMU's qcow2 images (docs/interop/qcow2.txt of QEMU): their header, and an empty image. Pure.

    header = parse(first_bytes)             # Invalid for what is none
    header.backing                          # the name of another file that it is based on; b"" without one
    for offset, data in empty(1 << 30): ... # what an image of a GiB has, where nothing is written yet

An empty image may be based on another one: what it has not got is read there. Of that its header has the name, which
tells a person what belongs together; who opens it says which file is meant.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from corten.errors import Invalid

MAGIC = b"QFI\xfb"
HEAD = 4096  # bytes at the beginning that `parse` is to be given: what a header can name is in them, or is refused
MAX_SIZE = 64 << 40  # bytes of a disk
_CLUSTER_BITS = 16
_CLUSTER = 1 << _CLUSTER_BITS
_HEADER = struct.Struct(">4sIQIIQIIQQIIQ")  # version 2
_FEATURES = struct.Struct(">QQQII")  # version 3: incompatible, compatible, automatically cleared, refcounts, length
_LENGTH = 104
_DATA_FILE = 1 << 2  # incompatible: the content is in another file
_KNOWN = 0b11111  # incompatible features that are defined
_BACKING_FORMAT, _END = 0xE2792ACA, 0
_MAX_NAME = 1023


class Header(NamedTuple):
    """`size` in bytes. `backing` and `data_file`: that another file is needed."""

    version: int
    size: int
    backing: bytes
    data_file: bool
    encrypted: bool
    snapshots: int


def parse(head: bytes) -> Header:
    """`head`: the first bytes of the file, `HEAD` where it has as many. Invalid for what is no qcow2, or a broken
    one."""
    if len(head) < _HEADER.size or not head.startswith(MAGIC):
        raise Invalid("not a qcow2 image")
    (_, version, name_at, name_size, bits, size, method, _, _, _, _, snapshots, _) = _HEADER.unpack_from(head)
    if version not in (2, 3):
        raise Invalid(f"a qcow2 image of version {version}, where 2 and 3 are known")
    if not 9 <= bits <= 21:
        raise Invalid(f"a qcow2 image with clusters of 2^{bits} bytes")
    if not 0 < size <= MAX_SIZE:
        raise Invalid(f"a qcow2 image of a disk of {size} bytes, where 1 to {MAX_SIZE} are possible")
    incompatible = 0
    if version == 3:
        if len(head) < _HEADER.size + _FEATURES.size:
            raise Invalid("a qcow2 image that is cut off in its header")
        incompatible = _FEATURES.unpack_from(head, _HEADER.size)[0]
        if incompatible & ~_KNOWN:
            raise Invalid(f"a qcow2 image with features that are not known: {incompatible:#x}")
    return Header(
        version, size, _name(head, name_at, name_size), bool(incompatible & _DATA_FILE), method != 0, snapshots
    )


def _name(head: bytes, at: int, size: int) -> bytes:
    if not at:
        return b""
    if not 0 < size <= _MAX_NAME or at + size > len(head):
        raise Invalid("a qcow2 image whose header names a file where none can be named")
    return head[at : at + size]


def empty(size: int, backing: bytes = b"", backing_format: bytes = b"") -> list[tuple[int, bytes]]:
    """(offset, bytes) of an image of a disk of `size` bytes; what is between them is zeros, up to the last one's end.

    Cluster 0 is the header, 1 the table of refcounts, 2 its only block, and from 3 on there is the table of tables
    (L1), of which each entry stands for 512 MiB.
    """
    if not 0 < size <= MAX_SIZE or size % 512:
        raise Invalid(f"a disk of {size} bytes: 512 to {MAX_SIZE} are possible, in steps of 512")
    entries = -(-size // (_CLUSTER // 8 * _CLUSTER))
    tables = -(-entries * 8 // _CLUSTER)
    count = 3 + tables
    extensions = b""
    if backing:
        padded = backing_format + bytes(-len(backing_format) % 8)
        extensions += struct.pack(">II", _BACKING_FORMAT, len(backing_format)) + padded
    extensions += struct.pack(">II", _END, 0)
    name_at = _LENGTH + len(extensions) if backing else 0
    header = _HEADER.pack(
        MAGIC, 3, name_at, len(backing), _CLUSTER_BITS, size, 0, entries, 3 * _CLUSTER, _CLUSTER, 1, 0, 0
    )
    features = _FEATURES.pack(0, 0, 0, 4, _LENGTH)  # 2^4 bits a refcount
    refcounts = struct.pack(f">{count}H", *[1] * count)
    return [
        (0, header + features + extensions + backing),
        (_CLUSTER, struct.pack(">Q", 2 * _CLUSTER)),
        (2 * _CLUSTER, refcounts),
        (count * _CLUSTER - 8, bytes(8)),
    ]
