"""The JSON types of a create request, checked as Go's decoder checks them for dockerd, in its words.

A field that is null counts as not sent, and so does null for a key's value where that is an object or a list; a field
that is not listed is ignored. Beside the types this bounds what a
request may hold at all: sizes of lists and texts, no NUL, nothing that is not Unicode.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, TypeAlias

from corten.errors import Invalid

MAX_ENTRIES = 65_536
MAX_TEXT = 1 << 20
_JSON_KINDS: dict[type, str] = {bool: "bool", str: "string", list: "array", dict: "object", type(None): "null"}


class Number(NamedTuple):
    """An integer; `go` is the name that the message gives its type."""

    go: str
    low: int = -(2**63)
    high: int = 2**63 - 1


class Plain(NamedTuple):
    """ "string" or "bool", or a named type of one of them."""

    go: str
    boolean: bool = False


class Items(NamedTuple):
    """A JSON array; `or_text` also takes a single string (Docker's Cmd and Entrypoint)."""

    element: Type
    go: str
    or_text: bool = False


class Table(NamedTuple):
    """A JSON object with arbitrary keys."""

    element: Type
    go: str


class Record(NamedTuple):
    """A JSON object with known fields; `name` is the Go structure."""

    name: str
    go: str
    fields: Mapping[str, Type]


Type: TypeAlias = Number | Plain | Items | Table | Record

STRING = Plain("string")
BOOL = Plain("bool", boolean=True)
INT = Number("int")
INT64 = Number("int64")
UINT16 = Number("uint16", 0, 2**16 - 1)
UINT32 = Number("os.FileMode", 0, 2**32 - 1)
UINT64 = Number("uint64", 0, 2**64 - 1)
DURATION = Number("time.Duration")
STRINGS = Items(STRING, "[]string")
WORDS = Items(STRING, "strslice.StrSlice", or_text=True)
TEXTS = Table(STRING, "map[string]string")
EMPTY = Record("", "struct {}", {})


def check_type(value: object, kind: Type, struct: str, path: str) -> None:
    """Nothing when `value` is of `kind`, or null; Invalid that names Go structure and field otherwise."""
    if value is None:
        return
    match kind:
        case Plain():
            _plain(value, kind, struct, path)
        case Number():
            _number(value, kind, struct, path)
        case Items():
            _items(value, kind, struct, path)
        case Table():
            _table(value, kind, struct, path)
        case Record():
            _record(value, kind, struct, path)


def _plain(value: object, kind: Plain, struct: str, path: str) -> None:
    if not isinstance(value, bool if kind.boolean else str):
        raise _mismatch(value, kind.go, struct, path)
    if isinstance(value, str):
        _text(value, path)


def _text(value: str, path: str) -> None:
    if len(value) > MAX_TEXT:
        raise Invalid(f"{path} is too long: {len(value)} characters, at most {MAX_TEXT} are taken")
    if "\0" in value:
        raise Invalid(f"{path} contains a NUL")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise Invalid(f"{path} is not valid Unicode") from error


def _number(value: object, kind: Number, struct: str, path: str) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not kind.low <= value <= kind.high:
        raise _mismatch(value, kind.go, struct, path, with_value=True)


def _items(value: object, kind: Items, struct: str, path: str) -> None:
    if kind.or_text and not isinstance(value, list):
        check_type(value, kind.element, struct, path)
        return
    if not isinstance(value, list):
        raise _mismatch(value, kind.go, struct, path)
    _bounded(len(value), path)
    for element in value:
        if element is None:
            raise _mismatch(element, kind.element.go, struct, path)
        check_type(element, kind.element, struct, path)


def _table(value: object, kind: Table, struct: str, path: str) -> None:
    if not isinstance(value, dict):
        raise _mismatch(value, kind.go, struct, path)
    _bounded(len(value), path)
    for key, element in value.items():
        _text(key, path)
        if element is None and isinstance(kind.element, Plain):
            raise _mismatch(element, kind.element.go, struct, path)
        check_type(element, kind.element, struct, path)


def _record(value: object, kind: Record, struct: str, path: str) -> None:
    if not isinstance(value, dict):
        raise _mismatch(value, kind.go, struct, path)
    prefix = path + "." if path else ""
    for key, element in value.items():
        expected = kind.fields.get(key)
        if expected is not None:
            check_type(element, expected, kind.name or struct, prefix + key)


def _bounded(count: int, path: str) -> None:
    if count > MAX_ENTRIES:
        raise Invalid(f"{path} has too many entries: {count}, at most {MAX_ENTRIES} are taken")


def _mismatch(value: object, go: str, struct: str, path: str, with_value: bool = False) -> Invalid:
    shown = _json_kind(value)
    if with_value and shown == "number":
        # the digits of a hostile number may be endless, and turning them into text takes quadratic time
        shown += f" {value}" if isinstance(value, float) or abs(_integer(value)) < 2**128 else ""
    where = f"Go struct field {struct}.{path}" if path else "Go value"
    return Invalid(f"json: cannot unmarshal {shown} into {where} of type {go}")


def _integer(value: object) -> int:
    return value if isinstance(value, int) else 0


def _json_kind(value: object) -> str:
    return _JSON_KINDS.get(type(value), "number")
