"""Scalars as Go prints them (fmt's %v), where a value of a file becomes a text."""

from __future__ import annotations

import math

from corten.compose.document import Value

MOST = 6  # of an exponent that is not printed


def printed(value: Value) -> str:
    """true, 5, 1.5, 1e+06; a text as it is."""
    if value is None:
        return "<nil>"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return printed_float(value)
    return str(value)


def printed_float(value: float, shortest: str = "") -> str:
    """As strconv.FormatFloat(value, 'g', -1) with fmt's exponents; `shortest` are digits found already (repr)."""
    if math.isinf(value) or math.isnan(value):
        return "NaN" if math.isnan(value) else ("+Inf" if value > 0 else "-Inf")
    digits, exponent = scientific(shortest or repr(value))
    sign = "-" if math.copysign(1.0, value) < 0 else ""
    if exponent < -4 or exponent >= MOST:
        tail = f".{digits[1:]}" if len(digits) > 1 else ""
        return f"{sign}{digits[0]}{tail}e{'-' if exponent < 0 else '+'}{abs(exponent):02}"
    if exponent < 0:
        return f"{sign}0.{'0' * (-exponent - 1)}{digits}"
    whole = digits[: exponent + 1].ljust(exponent + 1, "0")
    fraction = digits[exponent + 1 :]
    return f"{sign}{whole}{f'.{fraction}' if fraction else ''}"


def scientific(text: str) -> tuple[str, int]:
    """Digits without zeros at either end, and the exponent of the first: ("15", 0) of "1.5"."""
    mantissa, _, power = text.lower().lstrip("+-").partition("e")
    whole, _, fraction = mantissa.partition(".")
    digits = whole + fraction
    stripped = digits.lstrip("0")
    exponent = len(whole) - 1 - (len(digits) - len(stripped)) + int(power or 0)
    stripped = stripped.rstrip("0")
    return (stripped, exponent) if stripped else ("0", 0)
