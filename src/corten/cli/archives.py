"""Tars on their way to the daemon and from it."""

from __future__ import annotations

import os

from corten.cli.errors import CommandError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

BLOCK = 1 << 18


def input_parts(path: str, shown: str) -> Iterator[bytes]:
    """The bytes of a file, or of STDIN when `path` is empty. The file is opened at once. CommandError."""
    if not path:
        return _parts(0)
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise CommandError(f"open {shown}: {(error.strerror or str(error)).lower()}") from None
    return _parts(fd)


def _parts(fd: int) -> Iterator[bytes]:
    try:
        while data := os.read(fd, BLOCK):
            yield data
    finally:
        if fd:
            os.close(fd)
