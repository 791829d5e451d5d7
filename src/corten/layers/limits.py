"""What the kernel takes at all, and how names of any bytes are shown."""

from __future__ import annotations

LONGEST_PATH = 4095  # bytes, PATH_MAX without its NUL: what lies deeper has no path that a system call takes
UNKNOWN_DIGEST = bytes(32)  # in place of the SHA-256 of a content: it was not hashed
_SHOWN = 200  # bytes


def quoted(name: bytes) -> str:
    """A path in quotes for an error, shortened; bytes that are no UTF-8, and what no terminal should get, escaped."""
    return repr(name[:_SHOWN].decode(errors="backslashreplace"))
