"""Files that are read whole. A checkout of others may have a link to an endless device in the place of any of them."""

from __future__ import annotations

import errno

MOST = 4 << 20  # bytes, as the engine takes of a Dockerfile


def content(path: str) -> bytes:
    """All of a file. Raises OSError, EFBIG for one that is larger than `MOST`."""
    with open(path, "rb") as file:
        data = file.read(MOST + 1)
    if len(data) > MOST:
        raise OSError(errno.EFBIG, f"larger than {MOST} bytes", path)
    return data
