"""The names of one directory: how much room they need is known at once, what they stand for comes by and by."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator

from corten.layers.erofs.structures import DIRECTORY, block_of_names, blocks_of_names


class Names:
    """`names` are sorted, without `.` and `..`, which this adds, since EROFS has them among the others.

    `tail` is how many bytes of the last block are used; `size` the directory's.
    """

    def __init__(self, names: list[bytes]) -> None:
        self._names = names
        self._special = []
        for name in (b".", b".."):
            self._special.append(bisect_left(names, name))
            names.insert(self._special[-1], name)
        self._nids = [0] * len(names)
        self._kinds = bytearray(len(names))
        self._next = 0
        self._blocks, self.tail = blocks_of_names(names)

    @property
    def blocks(self) -> int:
        return len(self._blocks)

    def next(self) -> bytes | None:
        """The name to `stand_for` something next; None at the end."""
        while self._next in self._special:
            self._next += 1
        return self._names[self._next] if self._next < len(self._names) else None

    def stand_for(self, nid: int, kind: int) -> None:
        self._nids[self._next] = nid
        self._kinds[self._next] = kind
        self._next += 1

    def encoded(self, own: int, above: int) -> Iterator[bytes]:
        """Block after block, each as long as what it holds."""
        for index, nid in zip(self._special, (own, above)):
            self._nids[index], self._kinds[index] = nid, DIRECTORY
        begin = 0
        for end in self._blocks:
            yield block_of_names(self._names[begin:end], self._nids[begin:end], self._kinds[begin:end])
            begin = end

    @property
    def directories(self) -> int:
        """How many of them are directories, `.` and `..` included once they are `encoded`."""
        return self._kinds.count(DIRECTORY)
