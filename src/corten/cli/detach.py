"""Detach keys: their spelling ("ctrl-p,ctrl-q"), and finding them in what is typed."""

from __future__ import annotations

from corten.cli.errors import CommandError

DEFAULT = "ctrl-p,ctrl-q"
SPECIAL = {"@": 0, "[": 27, "\\": 28, "]": 29, "^": 30, "_": 31}


def parse(text: str) -> bytes:
    """The bytes that the keys send. CommandError for a name that is none."""
    return bytes(_key(name) for name in text.split(","))


def _key(name: str) -> int:
    if name.startswith("ctrl-") and len(name) == 6:
        letter = name[5]
        if "a" <= letter <= "z":
            return ord(letter) - ord("a") + 1
        if letter in SPECIAL:
            return SPECIAL[letter]
    if len(name) == 1 and name.isascii():
        return ord(name)
    raise CommandError(f"invalid detach keys: unknown character: '{name}'")


class Watcher:
    """Bytes typed go in, bytes to pass on come out; `found` once the whole sequence was typed.

    A beginning of the sequence is held back until it is finished or turns out to be something else.
    """

    def __init__(self, keys: bytes) -> None:
        self._keys = keys
        self._held = 0
        self.found = False

    def feed(self, data: bytes) -> bytes:
        passed = bytearray()
        for byte in data:
            if self._keys and byte == self._keys[self._held]:
                self._held += 1
                if self._held == len(self._keys):
                    self.found = True
                    return bytes(passed)
                continue
            passed += self._keys[: self._held]
            self._held = 0
            if self._keys and byte == self._keys[0]:
                self._held = 1
            else:
                passed.append(byte)
        return bytes(passed)
