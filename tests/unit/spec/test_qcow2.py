"""Headers of qcow2 images: ours, and those of QEMU's that lead elsewhere."""

from __future__ import annotations

import struct

import pytest

from corten.errors import Invalid
from corten.spec import qcow2


def image(size: int, backing: bytes = b"", format: bytes = b"") -> bytes:
    data = bytearray()
    for offset, piece in qcow2.empty(size, backing, format):
        data = data.ljust(offset, b"\0")
        data[offset : offset + len(piece)] = piece
    return bytes(data)


@pytest.mark.parametrize("size", [512, 1 << 20, 10 << 30, 5 << 40, 64 << 40])
def test_an_empty_one_has_its_size(size: int) -> None:
    made = image(size)
    assert qcow2.parse(made) == qcow2.Header(3, size, b"", False, False, 0)
    tables = -(-(-(-size // (512 << 20)) * 8) // 65536)
    assert len(made) == (3 + tables) * 65536


def test_one_that_is_based_on_another_names_it() -> None:
    assert qcow2.parse(image(1 << 30, b"../../base/_data/disk.raw", b"raw")).backing == b"../../base/_data/disk.raw"


@pytest.mark.parametrize("size", [0, -512, 511, (64 << 40) + 512])
def test_sizes_that_cannot_be(size: int) -> None:
    with pytest.raises(Invalid, match="a disk of"):
        qcow2.empty(size)


def header(**changes: int) -> bytes:
    fields = {
        "version": 3,
        "name_at": 0,
        "name_size": 0,
        "bits": 16,
        "size": 1 << 30,
        "method": 0,
        "features": 0,
        "snapshots": 0,
    }
    fields |= changes
    data = struct.pack(
        ">4sIQIIQIIQQIIQ", qcow2.MAGIC, fields["version"], fields["name_at"], fields["name_size"], fields["bits"],
        fields["size"], fields["method"], 2, 65536 * 3, 65536, 1, fields["snapshots"], 0,
    )  # fmt: skip
    return (data + struct.pack(">QQQII", fields["features"], 0, 0, 4, 104)).ljust(4096, b"\0")


def test_a_data_file_and_encryption_are_seen() -> None:
    assert qcow2.parse(header(features=4)).data_file
    assert qcow2.parse(header(method=2)).encrypted


@pytest.mark.parametrize(
    "changes",
    [
        {"version": 1}, {"version": 4}, {"bits": 8}, {"bits": 22}, {"size": 0}, {"size": 1 << 63},
        {"features": 1 << 40},
        {"name_at": 4000, "name_size": 200}, {"name_at": 200, "name_size": 0}, {"name_at": 1 << 60, "name_size": 9},
        {"name_at": 200, "name_size": 1024},
    ],
    ids=str,
)  # fmt: skip
def test_broken_headers(changes: dict[str, int]) -> None:
    with pytest.raises(Invalid):
        qcow2.parse(header(**changes))


@pytest.mark.parametrize("length", [0, 4, 71, 80])
def test_headers_that_are_cut_off(length: int) -> None:
    with pytest.raises(Invalid):
        qcow2.parse(header()[:length])
