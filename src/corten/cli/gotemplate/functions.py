"""The functions of a template: Go's own, and those that Docker adds (json, join, split, lower, upper, ...).

Each takes its arguments as values and raises CallError in Go's words when they do not fit.
"""

from __future__ import annotations

from corten.cli.gotemplate import printing
from corten.cli.gotemplate.errors import CallError
from corten.cli.gotemplate.printing import MISSING, type_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

LAZY = ("and", "or")


def truth(value: Any) -> bool:
    """Empty, zero, nil and false are false; a struct is true."""
    if value is None or value is MISSING:
        return False
    if isinstance(value, str | list | tuple | dict | int | float):
        return bool(value)
    return True


def length(value: Any) -> int:
    if value is None or value is MISSING:
        raise CallError("len of nil pointer")
    if isinstance(value, str):
        return len(value.encode("utf-8", "surrogateescape"))
    if isinstance(value, list | tuple | dict):
        return len(value)
    raise CallError(f"len of type {type_name(value)}")


def index(value: Any, *keys: Any) -> Any:
    for key in keys:
        value = _index_once(value, key)
    return value


def _index_once(value: Any, key: Any) -> Any:
    if value is None or value is MISSING:
        raise CallError("index of untyped nil")
    if isinstance(value, dict):
        if not isinstance(key, str):
            raise CallError(f"value has type {type_name(key)}; should be string")
        return value.get(key, MISSING)
    if isinstance(value, list | tuple | str):
        if not isinstance(key, int) or isinstance(key, bool):
            if key is None or key is MISSING:
                raise CallError("cannot index slice/array with nil")
            raise CallError(f"cannot index slice/array with type {type_name(key)}")
        size = length(value)
        if not 0 <= key < size:
            raise CallError(f"index out of range: {key}")
        return value.encode()[key] if isinstance(value, str) else value[key]
    raise CallError(f"can't index item of type {type_name(value)}")


def slice_(value: Any, *bounds: Any) -> Any:
    if value is None or value is MISSING:
        raise CallError("slice of untyped nil")
    if not isinstance(value, list | tuple | str):
        raise CallError(f"can't slice item of type {type_name(value)}")
    if len(bounds) > 3 or (isinstance(value, str) and len(bounds) > 2):
        raise CallError(
            f"too many slice indexes: {len(bounds)}" if len(bounds) > 3 else "cannot 3-index slice a string"
        )
    size = length(value)
    for bound in bounds:
        if not isinstance(bound, int) or isinstance(bound, bool):
            raise CallError(f"cannot index slice/array with type {type_name(bound)}")
        if not 0 <= bound <= size:
            raise CallError(f"index out of range: {bound}")
    low, high = (*bounds, 0)[0] if bounds else 0, bounds[1] if len(bounds) > 1 else size
    if low > high:
        raise CallError(f"invalid slice index: {low} > {high}")
    if isinstance(value, str):
        return value.encode("utf-8", "surrogateescape")[low:high].decode("utf-8", "surrogateescape")
    return list(value[low:high])


def _kind(value: Any) -> str:
    if value is None or value is MISSING:
        return "nil"
    for kind in (bool, int, float, str):
        if isinstance(value, kind):
            return kind.__name__
    return "other"


def _comparable(one: Any, other: Any) -> None:
    first, second = _kind(one), _kind(other)
    if first != second and "nil" not in (first, second):
        raise CallError("incompatible types for comparison")
    if first == "other" and second == "other":
        raise CallError(f"non-comparable type {printing.text(one)}: {type_name(one)}")


def eq(first: Any, *others: Any) -> bool:
    if not others:
        raise CallError("missing argument for comparison")
    for other in others:
        _comparable(first, other)
        nil = (_kind(first) == "nil", _kind(other) == "nil")
        if nil == (True, True) or (nil == (False, False) and first == other):
            return True
    return False


def ne(first: Any, other: Any) -> bool:
    return not eq(first, other)


def lt(first: Any, other: Any) -> bool:
    kinds = {_kind(first), _kind(other)}
    if len(kinds) > 1:
        raise CallError("incompatible types for comparison")
    if kinds & {"bool", "nil", "other"}:
        raise CallError("invalid type for comparison")
    return bool(first < other)


def le(first: Any, other: Any) -> bool:
    return lt(first, other) or eq(first, other)


def gt(first: Any, other: Any) -> bool:
    return not le(first, other)


def ge(first: Any, other: Any) -> bool:
    return not lt(first, other)


def html(*values: Any) -> str:
    shown = printing.print_(values)
    for char, escape in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ('"', "&#34;"), ("'", "&#39;")):
        shown = shown.replace(char, escape)
    return shown.replace("\0", "�")


JS = {"\\": "\\\\", "'": "\\'", '"': '\\"', "<": "\\u003C", ">": "\\u003E", "&": "\\u0026", "=": "\\u003D"}


def js(*values: Any) -> str:
    shown = printing.print_(values)
    return "".join(JS.get(char) or (f"\\u{ord(char):04X}" if ord(char) < 32 else char) for char in shown)


def urlquery(*values: Any) -> str:
    from corten.client.http import quote

    return quote(printing.print_(values), b" ").replace(" ", "+")


def _texts(name: str, values: tuple[Any, ...], kinds: tuple[type, ...]) -> None:
    for value, kind in zip(values, kinds, strict=True):
        if value is MISSING:
            raise CallError(f"invalid value; expected {kind.__name__.replace('str', 'string')}")
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            expected = {str: "string", int: "int", list: "[]string"}[kind]
            raise CallError(f"wrong type for value; expected {expected}; got {type_name(value)}")


def join(values: Any, separator: Any) -> str:
    _texts("join", (values, separator), (list, str))
    return str(separator).join(printing.text(value) for value in values)


def split(value: Any, separator: Any) -> list[str]:
    _texts("split", (value, separator), (str, str))
    return list(value) if not separator else value.split(separator)


def lower(value: Any) -> str:
    _texts("lower", (value,), (str,))
    return str(value).lower()


def upper(value: Any) -> str:
    _texts("upper", (value,), (str,))
    return str(value).upper()


def title(value: Any) -> str:
    """The first letter of each word made a capital; the others stay."""
    _texts("title", (value,), (str,))
    out, inside = [], False
    for char in str(value):
        out.append(char if inside else char.upper())
        inside = char.isalnum() or char in "_'"
    return "".join(out)


def pad(value: Any, before: Any, after: Any) -> str:
    """Blanks around a text that is not empty."""
    _texts("pad", (value, before, after), (str, int, int))
    return " " * before + str(value) + " " * after if value else ""


def truncate(value: Any, size: Any) -> str:
    _texts("truncate", (value, size), (str, int))
    return str(value)[:size]


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "eq": eq,
    "ge": ge,
    "gt": gt,
    "html": html,
    "index": index,
    "join": join,
    "js": js,
    "json": printing.to_json,
    "le": le,
    "len": length,
    "lower": lower,
    "lt": lt,
    "ne": ne,
    "not": lambda value: not truth(value),
    "pad": pad,
    "print": lambda *values: printing.print_(values),
    "printf": lambda template, *values: printing.printf(template, values),
    "println": lambda *values: printing.println(values),
    "slice": slice_,
    "split": split,
    "title": title,
    "truncate": truncate,
    "upper": upper,
    "urlquery": urlquery,
}
NAMES = frozenset([*FUNCTIONS, *LAZY])
# How many arguments each takes: (at least, at most or -1).
COUNTS = {
    "eq": (1, -1), "ge": (2, 2), "gt": (2, 2), "html": (0, -1), "index": (1, -1), "join": (2, 2), "js": (0, -1),
    "json": (1, 1), "le": (2, 2), "len": (1, 1), "lower": (1, 1), "lt": (2, 2), "ne": (2, 2), "not": (1, 1),
    "pad": (3, 3), "print": (0, -1), "printf": (1, -1), "println": (0, -1), "slice": (1, -1), "split": (2, 2),
    "title": (1, 1), "truncate": (2, 2), "upper": (1, 1), "urlquery": (0, -1),
}  # fmt: skip
