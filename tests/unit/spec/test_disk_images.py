"""What a file is by its first bytes, and what is no disk."""

from __future__ import annotations

import struct

import pytest

from corten.errors import Invalid
from corten.spec import iso9660
from corten.spec.disk_images import Image, recognize
from unit.spec.test_qcow2 import header, image

VDI = (
    b"<<< a disk >>>\n".ljust(0x40, b"\0")
    + struct.pack("<I", 0xBEDA107F)
    + bytes(0x170 - 0x44)
    + struct.pack("<Q", 7 << 20)
)
VMDK = b"KDMV" + struct.pack("<IIQ", 1, 3, 2048)


@pytest.mark.parametrize(
    ("head", "length", "found"),
    [
        (image(1 << 30), 262144, Image("qcow2", 1 << 30)),
        (VMDK.ljust(512, b"\0"), 4096, Image("vmdk", 1 << 20)),
        (VDI.ljust(1024, b"\0"), 4096, Image("vdi", 7 << 20)),
        (b"vhdxfile".ljust(512, b"\0"), 4096, Image("vhdx", 0)),
        (bytes(510) + b"\x55\xaa", 1 << 20, Image("raw", 1 << 20)),
    ],
    ids=["qcow2", "vmdk", "vdi", "vhdx", "raw"],
)
def test_formats(head: bytes, length: int, found: Image) -> None:
    assert recognize(head, length) == found


def test_a_cd() -> None:
    cd = iso9660.write("cidata", {"user-data": b""})
    assert recognize(cd, len(cd)) == Image("raw", len(cd), iso=True)


@pytest.mark.parametrize(
    ("head", "reason"),
    [
        (image(1 << 30, b"/etc/shadow", b"raw"), r"based on another file \(/etc/shadow\), which is not followed"),
        (image(1 << 30, b'json:{"driver":"nbd"}', b"raw"), "based on another file"),
        (header(features=4), "content is in another file"),
        (header(method=1), "encrypted"),
        (b'# Disk DescriptorFile\nRW 1 FLAT "/etc/shadow" 0', "only describes other files"),
        (VMDK[:14], "cut off"),
        (b"\x1f\x8b\x08", "decompress"),
        (b"", "empty"),
    ],
)
def test_what_is_refused(head: bytes, reason: str) -> None:
    with pytest.raises(Invalid, match=reason):
        recognize(head, len(head))


def test_snapshots_without_number() -> None:
    """QEMU would read all of them, for minutes."""
    assert recognize(header(snapshots=1024), 1 << 20).format == "qcow2"
    with pytest.raises(Invalid, match="65536 snapshots"):
        recognize(header(snapshots=65536), 1 << 20)
