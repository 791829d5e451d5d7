"""Files of this machine, read whole and bounded."""

from __future__ import annotations

import os
import stat

from corten.compose.document.read import SIZE
from corten.compose.errors import ComposeError

_GIVEN = ("/dev/fd/", "/proc/", "/dev/stdin")  # what a shell puts in a pipe's place
_CHUNK = 1 << 20


def read_file(path: str, limit: int = SIZE) -> bytes:
    """At most `limit` bytes and one, by which a caller sees that it is longer; "-" is standard input.

    Raises ComposeError in Go's words.
    """
    if path == "-":
        return _read(0, limit)
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except (OSError, ValueError) as error:
        raise unreadable("open", path, error) from None
    try:
        mode = os.fstat(fd).st_mode
        if stat.S_ISDIR(mode):
            raise ComposeError(f"read {path}: is a directory")
        if not stat.S_ISREG(mode):
            if stat.S_ISFIFO(mode) and not path.startswith(_GIVEN):
                raise ComposeError(f"read {path}: is a named pipe", remedy="use a file, or - for standard input")
            os.set_blocking(fd, True)
        return _read(fd, limit)
    except OSError as error:
        raise unreadable("read", path, error) from None
    finally:
        os.close(fd)


def unreadable(verb: str, path: str, error: OSError | ValueError) -> ComposeError:
    reason = (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
    return ComposeError(f"{verb} {path}: {reason.lower()}")


def _read(fd: int, limit: int) -> bytes:
    found: list[bytes] = []
    left = limit + 1
    while left and (part := os.read(fd, min(left, _CHUNK))):
        found.append(part)
        left -= len(part)
    return b"".join(found)
