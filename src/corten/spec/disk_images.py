"""What a file is that is to be a machine's disk, by its first bytes; QEMU gets it by name, and never guesses. Pure.

A guest that has a raw disk may write the header of another format to its beginning, and what guesses would then open
the files that it names. So a format is looked at once, when a file from elsewhere is taken in.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from corten.errors import Invalid
from corten.spec import qcow2

HEAD = 40960  # bytes at the beginning that `recognize` is to be given, where there are as many
_SECTOR = 512
_SNAPSHOTS = 1024  # QEMU reads all of them when it opens an image, which takes minutes with the most that it allows
_VDI_AT, _VDI = 0x40, 0xBEDA107F
_ISO_AT, _ISO = 0x8001, b"CD001"
_REFUSED = {
    b"# Disk DescriptorFile": "a VMDK that only describes other files: give the one with the data, or convert it first",
    b"COWD": "a VMDK of an old kind (COWD)",
    b"conectix": "a dynamic VHD: convert it to qcow2 or VHDX first",
    b"\x1f\x8b": "compressed by gzip: decompress it first",
    b"\xfd7zXZ\0": "compressed by xz: decompress it first",
    b"\x28\xb5\x2f\xfd": "compressed by zstd: decompress it first",
    b"BZh": "compressed by bzip2: decompress it first",
    b"PK\x03\x04": "a zip archive: unpack it first",
}


class Image(NamedTuple):
    """`format` is QEMU's word. `size`: bytes of the disk, 0 where only QEMU can say. `iso`: a CD."""

    format: str
    size: int
    iso: bool = False


def recognize(head: bytes, length: int) -> Image:
    """`head`: the first bytes of a file of `length` bytes. Invalid for what cannot be a disk, or needs other files."""
    for begin, what in _REFUSED.items():
        if head.startswith(begin):
            raise Invalid(what)
    if head.startswith(qcow2.MAGIC):
        return _qcow2(head)
    if head.startswith(b"KDMV"):
        return Image("vmdk", _bounded(_at(head, "<Q", 12, "VMDK") * _SECTOR))
    if len(head) > 0x180 and _at(head, "<I", _VDI_AT, "VDI") == _VDI:
        return Image("vdi", _bounded(_at(head, "<Q", 0x170, "VDI")))
    if head.startswith(b"vhdxfile"):
        return Image("vhdx", 0)
    if not length:
        raise Invalid("an empty file")
    return Image("raw", _bounded(length), head[_ISO_AT : _ISO_AT + len(_ISO)] == _ISO)


def _qcow2(head: bytes) -> Image:
    header = qcow2.parse(head[: qcow2.HEAD])
    if header.backing:
        name = header.backing[:100].decode("ascii", "backslashreplace")
        raise Invalid(f"a qcow2 image that is based on another file ({name}), which is not followed: flatten it first")
    if header.data_file:
        raise Invalid("a qcow2 image whose content is in another file, which is not followed: convert it first")
    if header.encrypted:
        raise Invalid("an encrypted qcow2 image")
    if header.snapshots > _SNAPSHOTS:
        raise Invalid(f"a qcow2 image with {header.snapshots} snapshots, of which none is taken: remove them first")
    return Image("qcow2", header.size)


def _at(head: bytes, format: str, offset: int, what: str) -> int:
    if len(head) < offset + struct.calcsize(format):
        raise Invalid(f"a {what} image that is cut off in its header")
    (value,) = struct.unpack_from(format, head, offset)
    return int(value)


def _bounded(size: int) -> int:
    if not 0 < size <= qcow2.MAX_SIZE:
        raise Invalid(f"an image of a disk of {size} bytes, where 1 to {qcow2.MAX_SIZE} are possible")
    return size
