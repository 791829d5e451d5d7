"""Numbers as Go prints them."""

from __future__ import annotations

import struct

from corten.compose.loader.texts import printed_float, scientific
from corten.compose.output.plain import Float32


def shortest(value: float) -> str:
    """The digits that tell it from its neighbours."""
    if not isinstance(value, Float32):
        return repr(float(value))
    narrow = struct.unpack("f", struct.pack("f", value))[0]
    for digits in range(1, 10):
        text = f"{narrow:.{digits}g}"
        if struct.unpack("f", struct.pack("f", float(text)))[0] == narrow:
            return text
    return repr(narrow)


def for_yaml(value: float) -> str:
    """'g' with the shortest digits: 0.5, 1, 1e+06."""
    return printed_float(value, shortest(value))


def for_json(value: float) -> str:
    """As encoding/json: without an exponent between 1e-6 and 1e21."""
    text = shortest(value)
    digits, exponent = scientific(text)
    sign = "-" if value < 0 else ""
    if -7 < exponent < 21:
        whole = digits[: exponent + 1].ljust(exponent + 1, "0") if exponent >= 0 else "0"
        fraction = digits[exponent + 1 :] if exponent >= 0 else "0" * (-exponent - 1) + digits
        return f"{sign}{whole}{f'.{fraction}' if fraction.strip('0') else ''}"
    tail = f".{digits[1:]}" if len(digits) > 1 else ""
    return f"{sign}{digits[0]}{tail}e{'-' if exponent < 0 else '+'}{abs(exponent):02}"
