"""Modes of files as Go has them (pkg.go.dev/io/fs#FileMode): on the wire of Docker's API and of fsutil's transfer."""

from __future__ import annotations

import stat

_TYPES = {stat.S_IFDIR: 1 << 31, stat.S_IFLNK: 1 << 27, stat.S_IFBLK: 1 << 26, stat.S_IFIFO: 1 << 25,
          stat.S_IFSOCK: 1 << 24, stat.S_IFCHR: 1 << 26 | 1 << 21}  # fmt: skip
_BITS = ((stat.S_ISUID, 1 << 23), (stat.S_ISGID, 1 << 22), (stat.S_ISVTX, 1 << 20))


def of(mode: int) -> int:
    """Of a st_mode."""
    return (mode & 0o777) | _TYPES.get(stat.S_IFMT(mode), 0) | sum(go for bit, go in _BITS if mode & bit)
