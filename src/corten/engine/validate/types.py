"""The JSON types of a create request, checked as Go's decoder checks them for dockerd, in its words.

A field that is null counts as not sent, and so does null for a key's value where that is an object or a list; a field
that is not listed is ignored. Beside the types this bounds what a
request may hold at all: sizes of lists and texts, no NUL, nothing that is not Unicode.
"""

from __future__ import annotations

from corten.errors import Invalid
from corten.spec.go_types import Items, Moment, Number, Plain, Record, Table, Type, is_integer, mismatch

MAX_ENTRIES = 65_536
MAX_TEXT = 1 << 20


def check_type(value: object, kind: Type, struct: str, path: str) -> None:
    """Nothing when `value` is of `kind`, or null; Invalid that names Go structure and field otherwise."""
    if value is None:
        return
    match kind:
        case Plain():
            _plain(value, kind, struct, path)
        case Number():
            if not is_integer(value, kind):
                raise mismatch(value, kind.go, struct, path, with_value=True)
        case Items():
            _items(value, kind, struct, path)
        case Table():
            _table(value, kind, struct, path)
        case Record():
            _record(value, kind, struct, path)
        case Moment():
            raise AssertionError("no request has a time that is no text")


def _plain(value: object, kind: Plain, struct: str, path: str) -> None:
    if not isinstance(value, bool if kind.boolean else str):
        raise mismatch(value, kind.go, struct, path)
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


def _items(value: object, kind: Items, struct: str, path: str) -> None:
    if kind.or_text and not isinstance(value, list):
        check_type(value, kind.element, struct, path)
        return
    if not isinstance(value, list):
        raise mismatch(value, kind.go, struct, path)
    _bounded(len(value), path)
    for element in value:
        if kind.or_text and not isinstance(element, str):  # Docker tries a list, then a text, and reports that
            raise mismatch(value, kind.element.go, struct, path)
        if element is None:
            raise mismatch(element, kind.element.go, struct, path)
        check_type(element, kind.element, struct, path)


def _table(value: object, kind: Table, struct: str, path: str) -> None:
    if not isinstance(value, dict):
        raise mismatch(value, kind.go, struct, path)
    _bounded(len(value), path)
    for key, element in value.items():
        _text(key, path)
        if element is None and isinstance(kind.element, Plain):
            raise mismatch(element, kind.element.go, struct, path)
        check_type(element, kind.element, struct, path)


def _record(value: object, kind: Record, struct: str, path: str) -> None:
    if not isinstance(value, dict):
        raise mismatch(value, kind.go, struct, path)
    prefix = path + "." if path else ""
    for key, element in value.items():
        expected = kind.fields.get(key)
        if expected is not None:
            check_type(element, expected, kind.name or struct, prefix + key)


def _bounded(count: int, path: str) -> None:
    if count > MAX_ENTRIES:
        raise Invalid(f"{path} has too many entries: {count}, at most {MAX_ENTRIES} are taken")
