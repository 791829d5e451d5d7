"""Errors of a full disk: write(2) knows no name, and which disk is full is what their reader has to know."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager

FULL = (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def writing(path: str | os.PathLike[str]) -> Iterator[None]:
    """An OSError of a full disk that names no file names this one."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL and error.filename is None:
            error.filename = os.fspath(path)
        raise
