"""Numbers of bytes: go-units' RAMInBytes, HumanSize and BytesSize."""

from __future__ import annotations

DECIMAL = ("B", "kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB")
BINARY = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB")

_LETTERS = " kmgtp"
_SUFFIXES = frozenset(("", "b", *(letter + end for letter in "kmgtp" for end in ("", "b", "ib"))))
_MAX, _MAX_DIGITS = 2**63 - 1, 40


def parse_bytes(text: str) -> int:
    """Bytes of "512", "64k", "1.5 g", "2GiB", "10MB"; every letter means a power of 1024.

    Raises ValueError in go-units' words for anything else, for a sign, and for more than an int64 holds.
    """
    lower = text.strip().lower()
    number = lower.rstrip("bikmgtp")
    suffix = lower[len(number) :]
    whole, _, fraction = number.removesuffix(" ").partition(".")
    digits = whole + fraction
    if suffix not in _SUFFIXES or not (digits.isascii() and digits.isdigit()) or len(digits) > _MAX_DIGITS:
        raise ValueError(f"invalid size: '{text}'")
    power = 0 if suffix == "b" else _LETTERS.index(suffix[:1] or " ")
    denominator: int = 10 ** len(fraction)
    size = (int(digits) << 10 * power) // denominator
    if size > _MAX:
        raise ValueError(f"invalid size: '{text}'")
    return size


def human_size(size: float, digits: int = 4) -> str:
    """1.234MB: powers of 1000. Docker shows 4 digits of images and 3 in most other places."""
    return _scaled(float(size), 1000.0, DECIMAL, digits)


def bytes_size(size: float) -> str:
    """1.205GiB: powers of 1024."""
    return _scaled(float(size), 1024.0, BINARY, 4)


def _scaled(size: float, base: float, names: tuple[str, ...], digits: int) -> str:
    index = 0
    while size >= base and index < len(names) - 1:
        size /= base
        index += 1
    return f"{size:.{digits}g}{names[index]}"
