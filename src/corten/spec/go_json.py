"""Foreign documents, read as Go's encoding/json reads them: accepted is what dockerd accepts.

`loads` is the syntax, `read` the types, `value` what has no types here:

    loads(b'{"labels": {"a": "\\ud800"}}')      (("labels", (("a", "\\ud800"),)),)
    read(that, CONFIG)                          {"Labels": {"a": "\\ufffd"}}, None

What is no Unicode becomes U+FFFD. A field is found in any case, an unknown one is ignored, and null counts as not sent.
A field that comes twice has its last value; objects are filled by both. Numbers may be of any size where nothing wants
them. Two limits differ: nesting is bounded by Python's stack (some 1,000 levels) where Go has 10,000, and what `loads`
says of bad syntax are Python's words.
"""

from __future__ import annotations

import codecs
import json
import re
from typing import Any

from corten.errors import Invalid
from corten.spec.go_types import (
    Items,
    Moment,
    Number,
    Plain,
    Record,
    Table,
    Type,
    is_integer,
    mismatch,
)

_LONGEST = 40  # digits of an integer that is one
_SURROGATES = re.compile("[\ud800-\udfff]")
_REPLACE = "go-replace"
_MOMENT = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)T(\d\d?):(\d\d):(\d\d)(?:[.,](\d+))?(Z|[+-]\d\d:\d\d)", re.ASCII
)  # also what Go is lenient about: one digit for the hour, a comma


def _replace(error: UnicodeError) -> tuple[str, int]:
    """One U+FFFD for each byte, as Go has it; Python's own "replace" has one for a whole broken sequence."""
    assert isinstance(error, UnicodeDecodeError), "it is only used for decoding"
    return "\ufffd" * (error.end - error.start), error.end


codecs.register_error(_REPLACE, _replace)


def loads(body: bytes, what: str) -> Any:
    """The value of a JSON text; an object is a tuple of its (key, value) pairs, a number that is no integer of a usual
    size is bytes as it was written, and strings may hold lone surrogates.

    Raises Invalid that names `what` for anything else.
    """
    return _loads(
        body.decode("utf-8", _REPLACE), what, object_pairs_hook=tuple, parse_int=_short, parse_float=str.encode
    )


def value(body: bytes, what: str) -> Any:
    """The value of a JSON text as Python has it, without lone surrogates.

    Raises Invalid that names `what` for anything else.
    """
    text = body.decode("utf-8", _REPLACE)
    found = _loads(text, what, parse_int=_number)
    return json.loads(unicode(json.dumps(found, ensure_ascii=False))) if "\\u" in text else found


def document(body: bytes, what: str) -> dict[str, Any]:
    """The object in a JSON text, as `value` has it. Raises Invalid that names `what` for anything else."""
    found = value(body, what)
    if not isinstance(found, dict):
        raise Invalid(f"{what} is not a JSON object")
    return found


def _loads(text: str, what: str, **hooks: Any) -> Any:
    try:
        return json.loads(text, parse_constant=_constant, **hooks)
    except (ValueError, RecursionError) as error:
        raise Invalid(f"{what} is not JSON: {error}") from error


def _short(text: str) -> int | bytes:
    return int(text) if len(text) <= _LONGEST else text.encode()


def _number(text: str) -> int | float:
    return int(text) if len(text) <= _LONGEST else float(text)


def _constant(text: str) -> Any:
    raise ValueError(f"invalid character {text[0]!r} looking for beginning of value")


def unicode(text: str) -> str:
    """`text` with U+FFFD for each lone surrogate."""
    return text if text.isascii() else _SURROGATES.sub("\ufffd", text)


def read(value: Any, kind: Type) -> tuple[Any, Invalid | None]:
    """`value`, as `loads` gives it, as the Go type `kind`, and the first error in it.

    As Go does it, reading goes on behind an error: what was wrong counts as not sent. A structure is a dictionary of
    the fields that were sent and are not null.
    """
    reader = _Reader()
    return reader.value(value, kind, "", "", None), reader.error


class _Reader:
    __slots__ = ("_folded", "error")

    def __init__(self) -> None:
        self.error: Invalid | None = None
        self._folded: dict[
            int, dict[str, str]
        ] = {}  # by id() of a Record's fields; a document may hold 100,000 objects

    def value(self, value: Any, kind: Type, struct: str, path: str, before: Any) -> Any:
        """None for nothing. `before` is what the field has already."""
        match kind:
            case Plain():
                return self._plain(value, kind, struct, path, before)
            case Number():
                return before if value is None else self._number(value, kind, struct, path, before)
            case Moment():
                return before if value is None else self._moment(value, before)
            case Items():
                return None if value is None else self._items(value, kind, struct, path, before)
            case Table():
                return None if value is None else self._table(value, kind, struct, path, before)
            case Record():
                return None if value is None else self._record(value, kind, struct, path, before)

    def _wrong(self, error: Invalid, before: Any) -> Any:
        self.error = self.error or error
        return before

    def _plain(self, value: Any, kind: Plain, struct: str, path: str, before: Any) -> Any:
        if value is None:
            return before
        if isinstance(value, str) and not kind.boolean:
            return unicode(value)
        if isinstance(value, bool) and kind.boolean:
            return value
        return self._wrong(mismatch(value, kind.go, struct, path), before)

    def _number(self, value: Any, kind: Number, struct: str, path: str, before: Any) -> Any:
        if is_integer(value, kind):
            return value
        return self._wrong(mismatch(value, kind.go, struct, path, with_value=True), before)

    def _moment(self, value: Any, before: Any) -> Any:
        try:
            return moment(value)
        except Invalid as error:
            return self._wrong(error, before)

    def _items(self, value: Any, kind: Items, struct: str, path: str, before: Any) -> Any:
        if kind.or_text:
            return self._words(value, kind, struct, path, before)
        if not isinstance(value, list):
            return self._wrong(mismatch(value, kind.go, struct, path), before)
        return self._elements(value, kind, struct, path)

    def _elements(self, value: list[Any], kind: Items, struct: str, path: str) -> list[Any]:
        found = (self.value(each, kind.element, struct, path, None) for each in value)
        return [_zero(kind.element) if each is None else each for each in found]

    def _words(self, value: Any, kind: Items, struct: str, path: str, before: Any) -> Any:
        """Docker tries a list of strings, and then a string: so it is the string whose lack is reported."""
        if isinstance(value, str):
            return [unicode(value)]
        if isinstance(value, list) and all(each is None or isinstance(each, str) for each in value):
            return self._elements(value, kind, struct, path)
        return self._wrong(mismatch(value, kind.element.go, struct, path), before)

    def _table(self, value: Any, kind: Table, struct: str, path: str, before: Any) -> Any:
        if not isinstance(value, tuple):
            return self._wrong(mismatch(value, kind.go, struct, path), before)
        found: dict[str, Any] = before or {}
        for key, each in value:
            element = self.value(each, kind.element, struct, path, None)
            found[unicode(key)] = _zero(kind.element) if element is None else element
        return found

    def _record(self, value: Any, kind: Record, struct: str, path: str, before: Any) -> Any:
        if not isinstance(value, tuple):
            return self._wrong(mismatch(value, kind.go, struct, path), before)
        found: dict[str, Any] = before or {}
        prefix, inner = path + "." if path else "", kind.name or struct
        folded = self._folded_names(kind)
        for key, each in value:
            name = key if key in kind.fields else folded.get(key.casefold())
            if name is None:
                continue
            element = self.value(each, kind.fields[name], inner, prefix + name, found.get(name))
            if element is None:
                found.pop(name, None)
            else:
                found[name] = element
        return found

    def _folded_names(self, kind: Record) -> dict[str, str]:
        if id(kind.fields) not in self._folded:
            self._folded[id(kind.fields)] = {name.casefold(): name for name in kind.fields}
        return self._folded[id(kind.fields)]


def _zero(kind: Type) -> Any:
    """Go's zero value, which is what an element that is null has."""
    match kind:
        case Plain(boolean=boolean):
            return False if boolean else ""
        case Number():
            return 0
        case Record():
            return {}
        case _:
            return None


def moment(value: Any) -> str:
    """A time as Go prints what it has read (RFC3339Nano): nanoseconds at most, without zeros at the end.

    Raises Invalid for another form.
    """
    found = _MOMENT.fullmatch(value) if isinstance(value, str) else None
    if found is None or not _exists(found):
        shown = value[:100] if isinstance(value, str) else type(value).__name__
        raise Invalid(f'parsing time "{unicode(shown)}": want "2006-01-02T15:04:05Z07:00"')
    year, month, day, hour, minute, second, fraction, zone = found.groups()
    nanos = (fraction or "")[:9].rstrip("0")
    return f"{year}-{month}-{day}T{hour:0>2}:{minute}:{second}{'.' + nanos if nanos else ''}{zone}"


def _exists(found: re.Match[str]) -> bool:
    year, month, day, hour, minute, second = (int(found[index]) for index in range(1, 7))
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    days = (31, 29 if leap else 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
    return 1 <= month <= 12 and 1 <= day <= days[month - 1] and hour < 24 and minute < 60 and second < 60
