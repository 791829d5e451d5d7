"""The types of Go's structures as tables, and what Go's decoder says of JSON that has another type.

`spec/docker/decode.py` reads requests by them, `spec/go_json.py` documents.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from corten.errors import Invalid

if TYPE_CHECKING:
    from corten.spec.docker.struct import Struct

_JSON_KINDS: dict[type, str] = {
    bool: "bool",
    str: "string",
    list: "array",
    dict: "object",
    tuple: "object",
    bytes: "number",
    type(None): "null",
}


class Number(NamedTuple):
    """An integer; `go` is the name that the message gives its type."""

    go: str
    low: int = -(2**63)
    high: int = 2**63 - 1


class Plain(NamedTuple):
    """ "string" or "bool", or a named type of one of them."""

    go: str
    boolean: bool = False


class Moment(NamedTuple):
    """A time.Time: text in RFC 3339."""

    go: str = "time.Time"


class Items(NamedTuple):
    """A JSON array; `or_text` also takes a single string (Docker's Cmd and Entrypoint). `length` is that of a Go array
    of numbers: what is missing is 0, what is too much is left out."""

    element: Type
    go: str
    or_text: bool = False
    length: int = 0


class Table(NamedTuple):
    """A JSON object with arbitrary keys."""

    element: Type
    go: str


class Record(NamedTuple):
    """A JSON object with known fields; `name` is the Go structure, `struct` our own that has the same fields."""

    name: str
    go: str
    fields: Mapping[str, Type]
    struct: type[Struct] | None = None


Type: TypeAlias = Number | Plain | Moment | Items | Table | Record

STRING = Plain("string")
BOOL = Plain("bool", boolean=True)
INT = Number("int")
INT64 = Number("int64")
UINT16 = Number("uint16", 0, 2**16 - 1)
UINT32 = Number("os.FileMode", 0, 2**32 - 1)
UINT64 = Number("uint64", 0, 2**64 - 1)
DURATION = Number("time.Duration")
TIME = Moment()
STRINGS = Items(STRING, "[]string")
WORDS = Items(STRING, "strslice.StrSlice", or_text=True)
TEXTS = Table(STRING, "map[string]string")
EMPTY = Record("", "struct {}", {})


def mismatch(value: object, go: str, struct: str, path: str, with_value: bool = False) -> Invalid:
    """`value` is not of the Go type `go`: the words of encoding/json. `path` is "" for the document itself."""
    shown = _JSON_KINDS.get(type(value), "number")
    if with_value and shown == "number":
        shown += _number(value)
    where = f"Go struct field {struct}.{path}" if path else "Go value"
    return Invalid(f"json: cannot unmarshal {shown} into {where} of type {go}")


def is_integer(value: object, kind: Number) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and kind.low <= value <= kind.high


def _number(value: object) -> str:
    """The digits of a hostile number may be endless, and turning them into text takes quadratic time."""
    if isinstance(value, bytes):  # as `go_json` keeps it
        return f" {value[:64].decode()}"
    return f" {value}" if isinstance(value, float) or (isinstance(value, int) and abs(value) < 2**128) else ""
