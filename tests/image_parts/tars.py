"""Tars for tests, made header by header, so that they can be wrong in every way."""

from __future__ import annotations

from corten.layers import header as tar
from corten.layers import write


def file(name: str | bytes, data: bytes = b"x", **fields: object) -> bytes:
    raw = name.encode() if isinstance(name, str) else name
    return write.header(raw, tar.REGULAR, size=len(data), **fields) + data + write.padding(len(data))  # type: ignore[arg-type]


def directory(name: str, mode: int = 0o755, **fields: object) -> bytes:
    return write.header(name.encode() + b"/", tar.DIRECTORY, mode=mode, **fields)  # type: ignore[arg-type]


def symlink(name: str, target: str) -> bytes:
    return write.header(name.encode(), tar.SYMLINK, mode=0o777, link=target.encode())


def link(name: str, target: str) -> bytes:
    return write.header(name.encode(), tar.LINK, link=target.encode())


def archive(*entries: bytes) -> bytes:
    return b"".join(entries) + write.END
