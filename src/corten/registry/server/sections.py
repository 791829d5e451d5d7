"""Typed reading of a TOML document, section by section. What is of the wrong type, or not known, is refused by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from corten.errors import Invalid
from corten.units.durations import SECOND, parse_age
from corten.units.sizes import parse_bytes

T = TypeVar("T")


class Section:
    """`take` what is known, then `end`."""

    def __init__(self, document: Mapping[str, Any], name: str = "") -> None:
        self._left = dict(document)
        self._name = name

    def _path(self, key: str) -> str:
        return f"{self._name}.{key}" if self._name else key

    def _take(self, key: str, kind: type[T], what: str, default: T) -> T:
        found = self._left.pop(key, default)
        if not isinstance(found, kind) or (isinstance(found, bool) and kind is int):
            raise Invalid(f"{self._path(key)} has to be {what}")
        return found

    def text(self, key: str, default: str = "") -> str:
        return self._take(key, str, "a text", default)

    def flag(self, key: str, default: bool = False) -> bool:
        return self._take(key, bool, "true or false", default)

    def number(self, key: str, default: int) -> int:
        return self._take(key, int, "a number", default)

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of texts; one by itself is a list too."""
        found = self._left.pop(key, [])
        found = [found] if isinstance(found, str) else found
        if not isinstance(found, list) or not all(isinstance(each, str) for each in found):
            raise Invalid(f"{self._path(key)} has to be a list of texts")
        return tuple(found)

    def seconds(self, key: str, default: float) -> float:
        text = self.text(key)
        return duration(text, self._path(key)) if text else default

    def size(self, key: str) -> int:
        found = self._left.pop(key, None)
        if found is None:
            raise Invalid(f"{self._path(key)} is missing")
        return size(str(found), self._path(key))

    def table(self, key: str) -> Section:
        return Section(self._take(key, dict, "a table", {}), self._path(key))

    def tables(self, key: str) -> list[Section]:
        found = self._left.pop(key, [])
        if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
            raise Invalid(f"{self._path(key)} has to be a list of tables: [[{self._path(key)}]]")
        return [Section(each, f"{self._path(key)}[{at}]") for at, each in enumerate(found)]

    def names(self) -> list[str]:
        return list(self._left)

    def end(self) -> None:
        if self._left:
            raise Invalid(f"{self._path(next(iter(self._left)))} is not known here")


def duration(text: str, name: str = "duration") -> float:
    """Seconds of `90s`, `1h30m`, `7d`, `2w`; 0 is 0. Raises Invalid, naming `name`."""
    try:
        return parse_age(text) / SECOND
    except ValueError:
        raise Invalid(f"{name} is {text!r}; want a number and one of s, m, h, d, w, as in 24h") from None


def size(text: str, name: str = "size") -> int:
    """Bytes of `500`, `10k`, `20GB`, `1TiB`; the letters mean powers of 1024. Raises Invalid, naming `name`."""
    try:
        return parse_bytes(text)
    except ValueError:
        raise Invalid(f"{name} is {text!r}; want a number of bytes, or one with k, m, g or t") from None
