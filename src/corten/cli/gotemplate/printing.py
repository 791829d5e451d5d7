"""Go's fmt: how values are printed, and Printf."""

from __future__ import annotations

import json
import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Missing:
    """What a map has under a key that it does not have."""

    __slots__ = ()


class NilList(list[object]):
    """A nil slice: empty, prints as [] and is null in JSON."""


class NilMap(dict[str, object]):
    """A nil map: empty, prints as map[] and is null in JSON."""


class Moment(str):
    """A time: RFC 3339 in JSON, but printed as Go prints a time.Time."""

    __slots__ = ()


MISSING = Missing()
VERB = re.compile(r"%([+\-# 0]*)(\*|\d+)?(?:\.(\*|\d+)?)?(?:\[(\d+)\])?(.)?", re.DOTALL)
DOTTED = re.compile(r"%[^a-zA-Z%]*\.")


def text(value: Any) -> str:
    """%v"""
    if value is MISSING:
        return "<no value>"
    if value is None:
        return "<nil>"
    if value is True or value is False:
        return "true" if value else "false"
    if isinstance(value, Moment):
        from corten.cli.times import go_moment

        return go_moment(value)
    if isinstance(value, str):
        return value
    if isinstance(value, float):
        return float_text(value)
    if isinstance(value, dict):
        return "map[" + " ".join(f"{key}:{text(value[key])}" for key in sorted(value)) + "]"
    if isinstance(value, list | tuple):
        return "[" + " ".join(text(one) for one in value) + "]"
    if hasattr(value, "go_json"):
        return "{" + " ".join(text(one) for one in value.go_json().values()) + "}"
    return str(value)


def float_text(value: float) -> str:
    """Go's %v of a float64: shortest, with an exponent below 1e-4 and from 1e6 on."""
    if value != value or value in (float("inf"), float("-inf")):
        return {"nan": "NaN", "inf": "+Inf", "-inf": "-Inf"}[str(value)]
    shown = repr(value)
    mantissa = shown.partition("e")[0]
    digits = mantissa.lstrip("-").replace(".", "").lstrip("0").rstrip("0") or "0"
    power = int(f"{value:e}".partition("e")[2])
    if value != 0 and not -4 <= power < 6:
        sign = "-" if value < 0 else ""
        return f"{sign}{digits[0]}{'.' + digits[1:] if digits[1:] else ''}e{power:+03d}"
    return shown.removesuffix(".0")


def type_name(value: Any) -> str:
    """The Go type that a value stands for, in messages."""
    if isinstance(value, bool):
        return "bool"
    for kind, name in ((str, "string"), (int, "int"), (float, "float64"), (dict, "map[string]interface {}")):
        if isinstance(value, kind):
            return name
    if isinstance(value, list | tuple):
        return "[]interface {}"
    return str(getattr(value, "go_type", "<nil>"))


def print_(values: tuple[Any, ...]) -> str:
    """Sprint: a blank between two operands when neither is a string."""
    out = ""
    for index, value in enumerate(values):
        if index and not isinstance(value, str) and not isinstance(values[index - 1], str):
            out += " "
        out += text(value)
    return out


def println(values: tuple[Any, ...]) -> str:
    return " ".join(text(value) for value in values) + "\n"


def printf(template: str, values: tuple[Any, ...]) -> str:
    """Sprintf with flags, width, precision and * for either; Go's notes on what does not fit."""
    taken = [0]
    reordered = False

    def next_value() -> Any:
        taken[0] += 1
        return values[taken[0] - 1]

    def replace(match: re.Match[str]) -> str:
        flags, width, precision, index, verb = match.groups()
        if verb is None:
            return "%!(NOVERB)"
        nonlocal reordered
        if index:
            reordered = True
            taken[0] = int(index) - 1
        if width == "*":
            width = str(next_value())
        if precision == "*":
            precision = str(next_value())
        if verb == "%":
            return "%"
        if taken[0] >= len(values):
            return f"%!{verb}(MISSING)"
        dotted = DOTTED.match(match.group()) is not None
        digits = int(precision) if precision else 0 if dotted else None
        return _pad(_verb(verb, next_value(), flags, digits), flags, width, verb)

    out = VERB.sub(replace, template)
    if taken[0] < len(values) and not reordered:
        extra = ", ".join(f"{type_name(value)}={text(value)}" for value in values[taken[0] :])
        out += f"%!(EXTRA {extra})"
    return out


def _pad(shown: str, flags: str, width: str | None, verb: str) -> str:
    wanted = int(width) if width else 0
    if "-" in flags:
        return shown.ljust(wanted)
    if "0" in flags and verb not in "vsqT":
        sign = shown[:1] if shown[:1] in ("+", "-") else ""
        return sign + shown[len(sign) :].rjust(wanted - len(sign), "0")
    return shown.rjust(wanted)


def _verb(verb: str, value: Any, flags: str, precision: int | None) -> str:
    plus = "+" if "+" in flags else " " if " " in flags else ""
    if verb == "v":
        return quoted(value) if "#" in flags and isinstance(value, str) else text(value)
    if verb == "T":
        return type_name(value)
    if verb == "t" and isinstance(value, bool):
        return text(value)
    if isinstance(value, list | tuple) and verb in "sqdx":
        return "[" + " ".join(_verb(verb, one, flags, precision) for one in value) + "]"
    if isinstance(value, str) and verb in "sqxX":
        return _string_verb(verb, value, precision)
    if isinstance(value, int) and not isinstance(value, bool) and verb in "dboxXcqU":
        return _integer_verb(verb, value, flags, plus)
    if isinstance(value, float) and verb in "eEfFgG":
        digits = 6 if precision is None and verb in "eEfF" else precision
        shown = float_text(value) if digits is None else format(value, f".{digits}{verb}")
        return plus + shown if plus and value >= 0 else shown
    if value is None:
        return f"%!{verb}(<nil>)"
    return f"%!{verb}({type_name(value)}={text(value)})"


def _string_verb(verb: str, value: str, precision: int | None) -> str:
    cut = value if precision is None else value[:precision]
    if verb == "s":
        return cut
    if verb == "q":
        return quoted(cut)
    digits = cut.encode("utf-8", "surrogateescape").hex()
    return digits if verb == "x" else digits.upper()


def _integer_verb(verb: str, value: int, flags: str, plus: str) -> str:
    if verb == "c":
        return chr(value)
    if verb == "q":
        return f"'{chr(value)}'"
    if verb == "U":
        return f"U+{value:04X}"
    digits = format(abs(value), verb)
    prefix = {"x": "0x", "X": "0X", "o": "0", "b": "0b"}.get(verb, "") if "#" in flags else ""
    return ("-" if value < 0 else plus) + prefix + digits


def quoted(value: str) -> str:
    """%q: Go's double-quoted string."""
    return json.dumps(value, ensure_ascii=False).replace("\\u001b", "\\x1b").replace("\x7f", "\\x7f")


def to_json(value: Any) -> str:
    """encoding/json without HTML escapes; a nil slice or map is null."""
    encoded = json.dumps(_plain(value), ensure_ascii=False, separators=(",", ":"), default=_struct)
    if hasattr(value, "go_json"):
        # Rows write their own JSON in Go, and that way still escapes HTML.
        encoded = encoded.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
    return encoded.replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _struct(value: Any) -> Any:
    if value is MISSING:
        return None
    return _plain(value.go_json())


def _plain(value: Any) -> Any:
    if isinstance(value, NilList | NilMap):
        return None
    if isinstance(value, dict):
        # A struct keeps the order of its fields; Go sorts the keys of a map.
        keys = value if hasattr(value, "zeros") else sorted(value)
        return {key: _plain(value[key]) for key in keys}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return value
