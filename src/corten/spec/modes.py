"""Modes as chmod(1) writes them: octal, or symbolic."""

from __future__ import annotations

import re
from typing import NamedTuple

from corten.errors import Invalid

_OCTAL = re.compile(r"[0-7]{1,4}\Z")
_CLAUSE = re.compile(r"([ugoa]*)((?:[-+=](?:[ugo]|[rwxXst]*))+)\Z")
_ACTION = re.compile(r"([-+=])([ugo]|[rwxXst]*)")
_WHO = {"u": 0o4700, "g": 0o2070, "o": 0o1007}
_SHIFT = {"u": 6, "g": 3, "o": 0}
_BITS = {"r": 0o444, "w": 0o222, "x": 0o111, "s": 0o6000, "t": 0o1000}


class Mode(NamedTuple):
    """`fixed` is an octal mode, None for a symbolic one: (whose bits, "-+=", permissions) in order."""

    fixed: int | None
    changes: tuple[tuple[str, str, str], ...] = ()

    def of(self, mode: int, directory: bool) -> int:
        """What becomes of permission bits."""
        if self.fixed is not None:
            return self.fixed
        for who, action, permissions in self.changes:
            mode = _changed(mode, directory, who, action, permissions)
        return mode


def parse(text: str) -> Mode:
    """Invalid for what is neither."""
    if _OCTAL.match(text):
        return Mode(int(text, 8))
    changes: list[tuple[str, str, str]] = []
    for clause in text.split(","):
        found = _CLAUSE.match(clause)
        if found is None:
            raise Invalid(f"invalid chmod parameter: '{text}'. it should be octal string and between 0 and 07777")
        changes += [(found[1], action, permissions) for action, permissions in _ACTION.findall(found[2])]
    return Mode(None, tuple(changes))


def _changed(mode: int, directory: bool, who: str, action: str, permissions: str) -> int:
    whose = 0o7777 if not who or "a" in who else 0
    for letter in who.replace("a", ""):
        whose |= _WHO[letter]
    if permissions in _SHIFT:
        bits = (mode >> _SHIFT[permissions] & 0o7) * 0o111
    else:
        bits = 0
        for letter in permissions:
            if letter == "X":
                bits |= 0o111 if directory or mode & 0o111 else 0
            else:
                bits |= _BITS[letter]
    bits &= whose
    if action == "+":
        return mode | bits
    if action == "-":
        return mode & ~bits
    return mode & ~(whose & 0o777 if directory else whose) | bits  # chmod(1) keeps a directory's set-ID bits
