"""Whose a file is, for trees of containers in a user namespace: ids on the disk and ids as the container has them."""

from __future__ import annotations

import struct
from collections.abc import Sequence

CAPABILITY = b"security.capability"
_REVISION_2, _REVISION_3, _REVISION = 0x02000000, 0x03000000, 0xFF000000  # linux/capability.h
_V3 = struct.Struct("<IIIIII")

Map = Sequence[Sequence[int]]  # lines of uid_map: first id inside, first id outside, how many


class Owners:
    """What no line maps stays as it is: layers of images are on the disk with the container's ids."""

    def __init__(self, uids: Map = (), gids: Map = ()) -> None:
        self._uids = uids
        self._gids = gids

    def inside(self, uid: int, gid: int) -> tuple[int, int]:
        """Ids of a file on the disk, as the container has them."""
        return _mapped(self._uids, uid, 1, 0), _mapped(self._gids, gid, 1, 0)

    def outside(self, uid: int, gid: int) -> tuple[int, int]:
        """The container's ids as they are on the disk."""
        return _mapped(self._uids, uid, 0, 1), _mapped(self._gids, gid, 0, 1)

    def attributes(self, attributes: dict[bytes, bytes]) -> dict[bytes, bytes]:
        """Extended attributes for outside: capabilities that were given inside a user namespace name its root
        (capabilities(7), "File capability extensions"); in a layer they name no root."""
        value = attributes.get(CAPABILITY, b"")
        if not self._uids or len(value) != _V3.size:
            return attributes
        magic, *sets, root = _V3.unpack(value)
        if magic & _REVISION != _REVISION_3 or self.inside(root, 0)[0] != 0:
            return attributes
        plain = struct.pack("<IIIII", (magic & ~_REVISION) | _REVISION_2, *sets)
        return {**attributes, CAPABILITY: plain}


def _mapped(lines: Map, id: int, source: int, target: int) -> int:
    for line in lines:
        if line[source] <= id < line[source] + line[2]:
            return id - line[source] + line[target]
    return id


AS_THEY_ARE = Owners()
