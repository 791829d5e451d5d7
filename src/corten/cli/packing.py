"""A local file or directory as a tar, made while it is sent."""

from __future__ import annotations

import io
import os
import stat
import tarfile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Literal

_BLOCK = 1 << 18
_FORMAT: Literal[2] = 2  # tarfile.PAX_FORMAT


def pack(path: str, name: str, follow: bool) -> Iterator[bytes]:
    """`path`, called `name` in the tar ("": a directory's content goes by itself). `follow` is about `path` only."""
    tar = tarfile.TarFile(fileobj=io.BytesIO(), mode="w", format=_FORMAT)
    status = os.stat(path) if follow else os.lstat(path)
    if not stat.S_ISDIR(status.st_mode):
        yield from _entry(tar, os.path.realpath(path) if follow else path, name)
    else:
        if name:
            yield from _entry(tar, os.path.join(path, ""), name)
        for directory, folders, files in os.walk(path):
            folders.sort()
            inside = os.path.relpath(directory, path)
            for each in sorted([*folders, *files]):
                shown = os.path.normpath(os.path.join(name or ".", inside, each))
                yield from _entry(tar, os.path.join(directory, each), shown)
    yield bytes(2 * tarfile.BLOCKSIZE)


def _entry(tar: tarfile.TarFile, path: str, name: str) -> Iterator[bytes]:
    info = tar.gettarinfo(path, name)
    if info is None:  # a socket
        return
    info.uname = info.gname = ""
    if not info.isreg():
        yield info.tobuf(_FORMAT, errors="surrogateescape")
        return
    with open(path, "rb") as file:
        info.size = left = os.fstat(file.fileno()).st_size
        yield info.tobuf(_FORMAT, errors="surrogateescape")
        while left:
            piece = file.read(min(left, _BLOCK)) or bytes(min(left, _BLOCK))  # it became shorter
            left -= len(piece)
            yield piece
        if padding := -info.size % tarfile.BLOCKSIZE:  # nothing at all would end the request's body
            yield bytes(padding)
