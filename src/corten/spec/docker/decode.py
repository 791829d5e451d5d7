"""JSON into Docker's structures, as Go's decoder does it for dockerd and in its words.

A key matches in any case. A field that is null counts as not sent, one that is not known is ignored, and so is one that
the API version does not have. Beside the types this bounds what a request may hold at all: sizes of lists and texts, no
NUL, nothing that is not Unicode.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from corten.errors import Invalid
from corten.spec.docker.records import record_of
from corten.spec.docker.struct import Struct
from corten.spec.go_types import Items, Number, Plain, Record, Table, Type, is_integer, mismatch

if TYPE_CHECKING:
    from corten.spec.docker.struct import Version

MAX_ENTRIES = 65_536
MAX_TEXT = 1 << 20

S = TypeVar("S", bound=Struct)


def decode(struct: type[S], value: object, version: Version | None = None) -> S:
    """The structure that a JSON value describes; null is one in which nothing is set.

    Raises Invalid in Go's words, naming structure and field, for a value of another type.
    """
    if value is None:
        return struct()
    return _Decoder(version).record(value, struct, struct.NAME, "")


_SPELLINGS: dict[type[Struct], tuple[dict[str, str], dict[str, str]]] = {}


def _spellings(struct: type[Struct]) -> tuple[dict[str, str], dict[str, str]]:
    """Field names by key, and by key in lower case."""
    if struct not in _SPELLINGS:
        exact = {field.key: name for name, field in struct.FIELDS.items()}
        _SPELLINGS[struct] = exact, {key.lower(): name for key, name in exact.items()}
    return _SPELLINGS[struct]


class _Decoder:
    __slots__ = ("_version",)

    def __init__(self, version: Version | None) -> None:
        self._version = version

    def record(self, value: object, struct: type[S], outer: str, path: str) -> S:
        if not isinstance(value, dict):
            raise mismatch(value, struct.GO, outer, path)
        types, prefix, found = record_of(struct).fields, path + "." if path else "", {}
        for name, element in self._elements(value, struct).items():
            key = struct.FIELDS[name].key
            found[name] = self._value(element, types[key], struct.NAME or outer, prefix + key)
        return struct(**found)

    def _elements(self, value: dict[str, Any], struct: type[Struct]) -> dict[str, Any]:
        """The values that are not null, by field name, in the order of the text. Of two spellings of a key the last
        counts; objects are filled by both, as Go fills a structure."""
        exact, folded = _spellings(struct)
        found: dict[str, Any] = {}
        merged: set[str] = set()  # fields whose object is a copy: thousands of spellings are merged in linear time
        for key, element in value.items():
            name = exact.get(key) or folded.get(key.lower())
            if name is None or element is None or not struct.FIELDS[name].known(self._version):
                continue
            before = found.get(name)
            if not (isinstance(before, dict) and isinstance(element, dict)):
                found[name] = element
                merged.discard(name)
                continue
            if name not in merged:
                found[name] = dict(before)
                merged.add(name)
            found[name].update(element)
        return found

    def _value(self, value: Any, kind: Type, struct: str, path: str) -> Any:
        match kind:
            case Plain(boolean=True):
                return _expected(value, bool, kind, struct, path)
            case Plain():
                return _text(value, kind, struct, path)
            case Number():
                return _number(value, kind, struct, path)
            case Items():
                return self._items(value, kind, struct, path)
            case Table():
                return self._table(value, kind, struct, path)
            case Record(struct=None):  # Go's struct{}: nothing of it is kept
                _expected(value, dict, kind, struct, path)
                return {}
            case Record():
                assert kind.struct is not None, "the case before"
                return self.record(value, kind.struct, struct, path)
            case _:
                raise AssertionError("no request has a time")

    def _items(self, value: Any, kind: Items, struct: str, path: str) -> list[Any]:
        if kind.or_text and not isinstance(value, list):
            return [self._value(value, kind.element, struct, path)]
        _expected(value, list, kind, struct, path)
        _bounded(len(value), path)
        if kind.or_text and not all(isinstance(each, str) for each in value):
            raise mismatch(value, kind.element.go, struct, path)  # Docker tries a list, and then a string
        found = [self._value(each, kind.element, struct, path) for each in value]
        return [*found, *[0] * kind.length][: kind.length] if kind.length else found

    def _table(self, value: Any, kind: Table, struct: str, path: str) -> dict[str, Any]:
        _expected(value, dict, kind, struct, path)
        _bounded(len(value), path)
        for key in value:
            _bounded_text(key, path)
        return {key: self._entry(each, kind.element, struct, path) for key, each in value.items()}

    def _entry(self, value: Any, kind: Type, struct: str, path: str) -> Any:
        """A null entry is the zero value of its type."""
        if value is not None:
            return self._value(value, kind, struct, path)
        match kind:
            case Items():
                return []
            case Record(struct=None) | Table():
                return {}
            case Record():
                return kind.struct() if kind.struct else {}
            case Plain(boolean=False):
                return ""
            case _:
                raise mismatch(value, kind.go, struct, path)


def _expected(value: Any, python: type, kind: Type, struct: str, path: str) -> Any:
    if not isinstance(value, python):
        raise mismatch(value, kind.go, struct, path)
    return value


def _text(value: Any, kind: Plain, struct: str, path: str) -> str:
    text: str = _expected(value, str, kind, struct, path)
    _bounded_text(text, path)
    return text


def _bounded_text(text: str, path: str) -> None:
    if len(text) > MAX_TEXT:
        raise Invalid(f"{path} is too long: {len(text)} characters, at most {MAX_TEXT} are taken")
    if "\0" in text:
        raise Invalid(f"{path} contains a NUL")
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise Invalid(f"{path} is not valid Unicode") from error


def _number(value: Any, kind: Number, struct: str, path: str) -> int:
    if not is_integer(value, kind):
        raise mismatch(value, kind.go, struct, path, with_value=True)
    number: int = value
    return number


def _bounded(count: int, path: str) -> None:
    if count > MAX_ENTRIES:
        raise Invalid(f"{path} has too many entries: {count}, at most {MAX_ENTRIES} are taken")
