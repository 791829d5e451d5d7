"""EROFS on disk (kernel, fs/erofs/erofs_fs.h), as bytes. Everything is little endian.

    block 0        1024 bytes of zeros, the superblock in 128, zeros
    blocks 1 ...   inodes, each at a multiple of 32 bytes, with its attributes and what is kept inline behind it;
                   blocks of files and directories

An inode's number, here `nid`, is its place divided by 32: `meta_blkaddr` is 0, so nids count from the beginning.
"""

from __future__ import annotations

import os
import stat
import struct
from collections.abc import Sequence
from typing import NamedTuple

BLOCK_BITS = 12
BLOCK = 1 << BLOCK_BITS
SLOT = 32
EXTENDED, COMPACT = 64, 32  # bytes of an inode
LONGEST_NAME = 255
MOST_BLOCKS = 0xFFFFFFFF  # the last number is what a hole has

PLAIN, INLINE, CHUNKED = 0, 2, 4  # where the data is: in blocks; the last of it behind the inode; in chunks

_SUPERBLOCK = struct.Struct("<IIIBBHQQIIII16s16sIHHH")
SUPERBLOCK_AT = 1024
_MAGIC = 0xE0F5E1E2
_COMPAT_CHECKSUM, _COMPAT_MTIME = 1, 2
_INCOMPAT_CHUNKED = 4
_EXTENDED = struct.Struct("<HHHHQIIIIQII16x")
_COMPACT = struct.Struct("<HHHHIIIIHHI")
_DIRENT = struct.Struct("<QHBx")
_NAME_AT = _DIRENT.size
_KINDS = {
    stat.S_IFREG: 1, stat.S_IFDIR: 2, stat.S_IFCHR: 3, stat.S_IFBLK: 4, stat.S_IFIFO: 5, stat.S_IFSOCK: 6,
    stat.S_IFLNK: 7,
}  # fmt: skip


# -------------------------------------------------------------------------------------------------------- superblock


class Superblock(NamedTuple):
    """`root` is its nid, `epoch` the time in nanoseconds that compact inodes have; uuid and label: 16 bytes at most."""

    root: int
    inodes: int
    blocks: int
    epoch: int
    uuid: bytes
    label: bytes
    chunked: bool


def first_block(found: Superblock) -> bytes:
    """Block 0. The checksum is of everything in it from the superblock on."""
    seconds, nanoseconds = divmod(found.epoch, 10**9)
    packed = _SUPERBLOCK.pack(
        _MAGIC, 0, _COMPAT_CHECKSUM | _COMPAT_MTIME, BLOCK_BITS, 0, found.root, found.inodes,
        seconds & 0xFFFFFFFFFFFFFFFF, nanoseconds, found.blocks, 0, 0, found.uuid, found.label,
        _INCOMPAT_CHUNKED if found.chunked else 0, 0, 0, 0,
    )  # fmt: skip
    checked = bytearray(packed.ljust(BLOCK - SUPERBLOCK_AT, b"\0"))
    struct.pack_into("<I", checked, 4, crc32c(checked))
    return bytes(SUPERBLOCK_AT) + checked


def read_superblock(block: bytes) -> Superblock | None:
    """The superblock of an image of ours; None when the block is another one, or damaged."""
    if len(block) != BLOCK:
        return None
    values = _SUPERBLOCK.unpack_from(block, SUPERBLOCK_AT)
    _, _, _, _, _, root, inodes, seconds, nanoseconds, blocks, _, _, uuid, label, incompat, _, _, _ = values
    epoch = (seconds if seconds < 1 << 63 else seconds - (1 << 64)) * 10**9 + nanoseconds
    found = Superblock(root, inodes, blocks, epoch, uuid, label.rstrip(b"\0"), incompat == _INCOMPAT_CHUNKED)
    return found if first_block(found) == block else None


def crc32c(data: bytes | bytearray) -> int:
    """As the kernel's `crc32c(~0, data)`: not inverted at the end."""
    table = []
    for number in range(256):
        for _ in range(8):
            number = number >> 1 ^ (0x82F63B78 if number & 1 else 0)
        table.append(number)
    value = 0xFFFFFFFF
    for byte in data:
        value = table[(value ^ byte) & 0xFF] ^ value >> 8
    return value


# ------------------------------------------------------------------------------------------------------------ inodes


class Inode(NamedTuple):
    """`mtime` is in nanoseconds, `attributes` the bytes of the attributes' area. `where` is by layout and kind a block,
    a device's number (`device`), or the size of chunks as a power of two, in blocks."""

    mode: int
    uid: int
    gid: int
    size: int
    mtime: int
    links: int
    number: int
    layout: int = PLAIN
    where: int = 0
    attributes: int = 0


def is_compact(inode: Inode, epoch: int) -> bool:
    """Whether 32 bytes are enough for it."""
    return inode.mtime == epoch and max(inode.uid, inode.gid, inode.links) < 1 << 16 and inode.size < 1 << 32


def inode(found: Inode, compact: bool) -> bytes:
    mode, uid, gid, size, mtime, links, number, layout, where, attributes = found
    # The area's length is in units of four bytes, of which its header of twelve counts as one.
    length = (attributes - 12) // 4 + 1 if attributes else 0
    if compact:
        return _COMPACT.pack(layout << 1, length, mode, links, size, 0, where, number, uid, gid, 0)
    seconds, nanoseconds = divmod(mtime, 10**9)
    return _EXTENDED.pack(
        layout << 1 | 1, length, mode, 0, size, where, number, uid, gid,
        seconds & 0xFFFFFFFFFFFFFFFF, nanoseconds, links,
    )  # fmt: skip


LINKS_AT = 44  # in an extended inode, 4 bytes


def device(number: int) -> int:
    """As the kernel's `new_encode_dev`."""
    major, minor = os.major(number), os.minor(number)
    return minor & 0xFF | major << 8 | (minor & ~0xFF) << 12


# ------------------------------------------------------------------------------------------------------- directories

DIRECTORY = _KINDS[stat.S_IFDIR]


def kind(mode: int) -> int:
    """A name's type in its directory."""
    return _KINDS[stat.S_IFMT(mode)]


def blocks_of_names(names: Sequence[bytes]) -> tuple[list[int], int]:
    """How sorted names fall into blocks: for each block the index of the name behind its last, and the bytes that are
    used of the last block."""
    ends, used = list[int](), 0
    for index, name in enumerate(names):
        size = _NAME_AT + len(name)
        if used + size > BLOCK:
            ends.append(index)
            used = 0
        used += size
    return [*ends, len(names)], used


def block_of_names(names: Sequence[bytes], nids: Sequence[int], kinds: Sequence[int]) -> bytes:
    """One block, as long as what it holds: an entry for each name, then the names without gaps."""
    at = len(names) * _NAME_AT
    packed, entries = _DIRENT.pack, []
    for name, nid, type_ in zip(names, nids, kinds):
        entries.append(packed(nid, at, type_))
        at += len(name)
    return b"".join((*entries, *names))
