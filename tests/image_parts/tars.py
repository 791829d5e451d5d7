"""Tars for tests, made header by header, so that they can be wrong in every way."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypedDict, Unpack

from corten.layers import header as tar
from corten.layers import write


class Fields(TypedDict, total=False):
    """What else a header may say."""

    mode: int
    uid: int
    gid: int
    mtime: int
    xattrs: Mapping[bytes, bytes]


def file(name: str | bytes, data: bytes = b"x", **fields: Unpack[Fields]) -> bytes:
    raw = name.encode() if isinstance(name, str) else name
    return write.header(raw, tar.REGULAR, size=len(data), **fields) + data + write.padding(len(data))


def directory(name: str, **fields: Unpack[Fields]) -> bytes:
    known: Fields = {"mode": 0o755, **fields}
    return write.header(name.encode() + b"/", tar.DIRECTORY, **known)


def symlink(name: str, target: str) -> bytes:
    return write.header(name.encode(), tar.SYMLINK, mode=0o777, link=target.encode())


def link(name: str, target: str) -> bytes:
    return write.header(name.encode(), tar.LINK, link=target.encode())


def fifo(name: str) -> bytes:
    return write.header(name.encode(), tar.FIFO)


def block_device(name: str, major: int, minor: int) -> bytes:
    return write.header(name.encode(), tar.BLOCK_DEVICE, major=major, minor=minor)


def archive(*entries: bytes) -> bytes:
    return b"".join(entries) + write.END
