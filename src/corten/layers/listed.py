"""The list of what has changed in a tree, as `supervisor.trees.changes` writes it, from a process that is not believed:
a guest's agent.

    listed = Listed()
    for piece in pieces:
        pass_on(listed.feed(piece))
    listed.end()

Clients of the API take what comes for JSON of Docker's shape. So what is passed on is a list of {"Path", "Kind"} in
ASCII, of paths that a tree can have and kinds that there are, and nothing behind it.
"""

from __future__ import annotations

import re

from corten.errors import Corrupt
from corten.layers.limits import LONGEST_PATH

_ESCAPED = 6  # characters of one byte, as \ufffd
_LONGEST = len('{"Path": "/", "Kind": 0}, ') + _ESCAPED * LONGEST_PATH
_PATH = rb'"/(?:[ !#-\[\]-~]|\\["\\bfnrt]|\\u[0-9a-f]{4})*"'
_CHANGE = rb' ?\{"Path": ?' + _PATH + rb', ?"Kind": ?[012]\}'
_FURTHER = re.compile(rb"(?:" + _CHANGE + rb",)*")
_LAST = re.compile(_CHANGE + rb"\]")


class Listed:
    def __init__(self) -> None:
        self._buffer = bytearray()
        self._begun = self._some = self._ended = False

    def feed(self, data: bytes) -> bytes:
        """What can be passed on. Raises Corrupt for what is no such list."""
        self._buffer += data
        out = self._take(1) if self._buffer and not self._begun else b""
        self._begun = self._begun or bool(out)
        if out not in (b"", b"["):
            raise Corrupt("the guest sends no list of changes")
        if some := self._take(_length(_FURTHER, self._buffer)):
            self._some = True
            out += some
        if not self._ended and (last := self._take(_length(_LAST, self._buffer) or self._none())):
            self._ended = True
            out += last
        if self._buffer and (self._ended or len(self._buffer) > _LONGEST):
            raise Corrupt("the guest sends what is no change of a tree")
        return out

    def _none(self) -> int:
        """The end of a list of nothing."""
        return int(self._begun and not self._some and self._buffer == b"]")

    def _take(self, count: int) -> bytes:
        taken = bytes(self._buffer[:count])
        del self._buffer[:count]
        return taken

    def end(self) -> None:
        """Nothing more comes. Raises Corrupt when something has to."""
        if not self._ended:
            raise Corrupt("the guest has sent half a list of changes")


def _length(pattern: re.Pattern[bytes], data: bytearray) -> int:
    found = pattern.match(data)
    return found.end() if found else 0
