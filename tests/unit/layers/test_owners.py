from __future__ import annotations

import struct

from corten.layers.owners import AS_THEY_ARE, CAPABILITY, Owners

MAPPED = Owners([[0, 100_000, 1000], [1000, 300_000, 5]], [[0, 200_000, 1000]])


def test_ids() -> None:
    assert MAPPED.inside(100_000, 200_999) == (0, 999)
    assert MAPPED.inside(300_004, 0) == (1004, 0)
    assert MAPPED.inside(300_005, 201_000) == (300_005, 201_000)  # unmapped there: as on the disk
    assert MAPPED.outside(1004, 7) == (300_004, 200_007)
    assert AS_THEY_ARE.inside(5, 6) == AS_THEY_ARE.outside(5, 6) == (5, 6)


def test_capabilities_of_the_namespaces_root_name_no_root() -> None:
    theirs = struct.pack("<IIIIII", 0x03000001, 0x400, 0, 0, 0, 100_000)
    assert MAPPED.attributes({CAPABILITY: theirs, b"user.x": b"y"}) == {
        CAPABILITY: struct.pack("<IIIII", 0x02000001, 0x400, 0, 0, 0),
        b"user.x": b"y",
    }
    others = {CAPABILITY: struct.pack("<IIIIII", 0x03000001, 0x400, 0, 0, 0, 100_001)}
    assert MAPPED.attributes(others) == others and AS_THEY_ARE.attributes(others) == others
