"""Errors of a full disk: write(2) knows no name, and which disk is full is what their reader has to know."""

from __future__ import annotations

import errno
import os

FULL = (errno.ENOSPC, errno.EDQUOT)


def writing(path: str | os.PathLike[str]) -> _Writing:
    """In its `with` block an OSError of a full disk that names no file names this one."""
    return _Writing(path)


class _Writing:
    __slots__ = ("_path",)

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = path

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, OSError) and error.errno in FULL and error.filename is None:
            error.filename = os.fspath(self._path)
