"""Docker's detach keys: their spelling ("ctrl-p,ctrl-q"), and finding them in what is typed."""

from __future__ import annotations

DEFAULT = "ctrl-p,ctrl-q"
_CODES = {f"ctrl-{chr(code + 96)}": code for code in range(1, 27)}
_CODES |= {"ctrl-@": 0, "ctrl-[": 27, "ctrl-\\": 28, "ctrl-]": 29, "ctrl-^": 30, "ctrl-_": 31, "DEL": 127}


def parse(text: str) -> bytes:
    """The bytes that the keys send. Raises ValueError with the first unknown name."""
    return bytes(_key(name) for name in text.split(","))


def _key(name: str) -> int:
    if len(name) == 1 and name.isascii():
        return ord(name)
    code = _CODES.get(name)
    if code is None:
        raise ValueError(name)
    return code


class Watcher:
    """Bytes typed go in, bytes to pass on come out; `found` once the whole sequence was typed.

    A beginning of the sequence is held back until it is finished or turns out to be something else. Without keys all
    bytes pass untouched.
    """

    def __init__(self, keys: bytes) -> None:
        self._keys = keys
        self._beginnings = [keys[:length] for length in range(len(keys) - 1, 0, -1)]  # the longest first
        self._held = b""
        self.found = False

    def feed(self, data: bytes) -> bytes:
        if not self._keys:
            return data
        if self._held:
            data = self._held + data
        at = data.find(self._keys)
        if at >= 0:
            self.found = True
            return data[:at]
        self._held = next((held for held in self._beginnings if data.endswith(held)), b"")
        return data[: len(data) - len(self._held)]
