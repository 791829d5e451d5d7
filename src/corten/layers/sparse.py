"""Maps of sparse files in tar: GNU's old format and PAX 0.0, 0.1, 1.0 (GNU tar manual, "Storing Sparse Files").

A map is ((offset, length), ...) of the parts that the archive holds; everything else up to the real size is a hole.
"""

from __future__ import annotations

from collections.abc import Callable

from corten.errors import Invalid
from corten.layers.header import BLOCK, decimal, number

Map = tuple[tuple[int, int], ...]
MAX_PARTS = 1 << 17
Read = Callable[[int], bytes]


def gnu_old(block: bytes, read: Read) -> tuple[Map, int]:
    """(map, real size) of an `S` entry; `read` gives the extension blocks that follow the header."""
    numbers = _pairs(block[386:482])
    more, real = block[482], number(block[483:495])
    while more:
        extension = read(BLOCK)
        numbers += _pairs(extension[:504])
        more = extension[504]
        _bound(len(numbers))
    return _parts(numbers), real


def _pairs(data: bytes) -> list[int]:
    """Offsets and lengths of 12 bytes each, up to the first empty pair."""
    numbers: list[int] = []
    for at in range(0, len(data) - 23, 24):
        if not data[at]:
            break
        numbers += (number(data[at : at + 12]), number(data[at + 12 : at + 24]))
    return numbers


def from_text(text: bytes) -> Map:
    """PAX 0.1: `GNU.sparse.map` is a comma-separated list."""
    words = text.split(b",") if text else []
    return _parts([decimal(word) for word in words])


def from_numbers(numbers: tuple[int, ...]) -> Map:
    """PAX 0.0: the repeated keys in their order."""
    return _parts(list(numbers))


def from_data(read: Read) -> tuple[Map, int]:
    """PAX 1.0: the map is the start of the data, as decimal lines padded to a block; also how many bytes it took."""
    text, taken, wanted = b"", 0, 1
    while True:
        lines = text.split(b"\n")
        if len(lines) > 1:
            wanted = 1 + 2 * decimal(lines[0])
            _bound(wanted)
        if len(lines) > wanted:
            return _parts([decimal(word) for word in lines[1:wanted]]), taken
        # Read on in one go: splitting after each block would be quadratic. A number takes two bytes at least.
        blocks = max(1, (2 * (wanted - len(lines) + 1)) // BLOCK)
        text += read(blocks * BLOCK)
        taken += blocks * BLOCK


def _bound(numbers: int) -> None:
    if numbers > 2 * MAX_PARTS + 1:
        raise Invalid("sparse map has too many parts")


def _parts(numbers: list[int]) -> Map:
    _bound(len(numbers))
    if len(numbers) % 2:
        raise Invalid("sparse map has an offset without a length")
    return tuple(zip(numbers[::2], numbers[1::2]))


def check(parts: Map, stored: int, real: int, limit: int) -> None:
    """Parts ascend, do not overlap, add up to what is stored, and end within the real size (bytes)."""
    end = total = 0
    for offset, length in parts:
        if offset < end or length < 0:
            raise Invalid("sparse map is not in order")
        end = offset + length
        total += length
    if total != stored or end > real or real < 0:
        raise Invalid("sparse map does not fit the file")
    if real > limit:
        raise Invalid(f"sparse file of {real} bytes is larger than the limit of {limit}")
