"""Users and groups that are named by a number: ASCII digits, at most the kernel's largest. All else is a name."""

from __future__ import annotations

_LARGEST = (1 << 32) - 2  # the one above means none (chown(2))


def number(text: str) -> int | None:
    """None for a name, which an image may choose: digits of other scripts, or more of them than any number has."""
    if not (text.isascii() and text.isdecimal() and len(text) <= 10):
        return None
    found = int(text)
    return found if found <= _LARGEST else None
