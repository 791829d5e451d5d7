"""CDs: read back by the file system's rules, both directories."""

from __future__ import annotations

import struct

import pytest

from corten.spec.iso9660 import SECTOR, write

FILES = {"user-data": b"#cloud-config\n", "meta-data": b"m" * 5000, "network-config": b""}


def listed(image: bytes, sector: int, decode: str) -> dict[str, bytes]:
    """Names and contents, by the descriptor in `sector`."""
    root = struct.unpack_from("<I", image, sector * SECTOR + 156 + 2)[0]
    at, found = root * SECTOR, {}
    while length := image[at]:
        place, _, size, _ = struct.unpack_from("<IIII", image, at + 2)
        name = image[at + 33 : at + 33 + image[at + 32]]
        if name not in (b"\0", b"\1"):
            found[name.decode(decode)] = image[place * SECTOR :][:size]
        at += length
    return found


def test_both_directories() -> None:
    image = write("cidata", FILES)
    assert len(image) % SECTOR == 0
    assert listed(image, 17, "utf-16-be") == FILES
    assert listed(image, 16, "ascii") == {f"{name.upper()}.;1": content for name, content in FILES.items()}
    assert image[16 * SECTOR + 40 : 16 * SECTOR + 72].rstrip() == b"cidata"


def test_both_ends_of_a_number_agree() -> None:
    image = write("cidata", FILES)
    little, big = (
        struct.unpack_from("<I", image, 16 * SECTOR + 80)[0],
        struct.unpack_from(">I", image, 16 * SECTOR + 84)[0],
    )
    assert little == big == len(image) // SECTOR


def test_too_many_files() -> None:
    with pytest.raises(ValueError, match="41 files"):
        write("cidata", {f"f{n}": b"" for n in range(41)})
