"""Plain scalars to values, by the rules of Go's YAML library: https://yaml.org/spec/1.2.2/#103-core-schema with
YAML 1.1's octal numbers, underscores in numbers, and dates as texts of their own."""

from __future__ import annotations

import re

NULLS = frozenset(("", "~", "null", "Null", "NULL"))
BOOLEANS = {name: name[0] in "tT" for name in ("true", "True", "TRUE", "false", "False", "FALSE")}
#: YAML 1.1's booleans, which are texts; they are quoted when they are written.
OLD_BOOLEANS = frozenset(
    ("y", "Y", "yes", "Yes", "YES", "on", "On", "ON", "n", "N", "no", "No", "NO", "off", "Off", "OFF")
)
_INFINITIES = {
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"), float("inf")),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), float("-inf")),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), float("nan")),
}
_INTEGER = re.compile(r"[-+]?(?:0[bB][01]+|0[oO]?[0-7]+|0[xX][0-9a-fA-F]+|0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_DATE = re.compile(
    r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}(?:(?:[Tt]|[ \t]+)[0-9]{1,2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]*)?"
    r"(?:[ \t]*(?:Z|[-+][0-9]{1,2}(?::?[0-9]{2})?))?)?"
)
_LONGEST = 40  # digits: more are a float's or a text's
_BASES = {"b": 2, "o": 8, "x": 16}


class Date(str):
    """A scalar that YAML 1.1 takes for a point in time: neither a text nor a number."""

    __slots__ = ()


def resolve(text: str) -> str | int | float | bool | None:
    """The value of a plain scalar without a tag."""
    if text in NULLS:
        return None
    if text[0] not in "tTfF.+-0123456789":
        return text
    if (flag := BOOLEANS.get(text)) is not None:
        return flag
    if text in _INFINITIES:
        return _INFINITIES[text]
    if len(text) <= _LONGEST and _DATE.fullmatch(text):
        return Date(text)
    number = text.replace("_", "")
    if len(number) <= _LONGEST and (found := integer(number)) is not None:
        return found
    if len(number) <= 400 and _FLOAT.fullmatch(number):
        return float(number)
    return text


def integer(text: str) -> int | None:
    """Of Go's notations, within 64 bits; None for another text."""
    if not _INTEGER.fullmatch(text):
        return None
    digits = text.lstrip("+-").lower()
    if digits[:1] == "0" and len(digits) > 1:
        base = _BASES.get(digits[1], 8)
        value = int(digits[2:] if digits[1] in _BASES else digits[1:], base)
    else:
        value = int(digits)
    value = -value if text[0] == "-" else value
    return value if -(2**63) <= value < 2**64 else None
