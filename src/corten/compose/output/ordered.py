"""Mappings whose keys are names: printed by key, in YAML as people count (web2 before web10)."""

from __future__ import annotations

from functools import cmp_to_key
from typing import Any


class Sorted(dict[str, Any]):
    """Its keys are sorted when it is printed."""


def by_bytes(keys: list[str]) -> list[str]:
    """As JSON has them."""
    return sorted(keys, key=lambda key: key.encode("utf-8", "surrogatepass"))


def by_nature(keys: list[str]) -> list[str]:
    """As YAML has them: digits by their value, letters behind everything else unless digits stand before."""
    return sorted(keys, key=cmp_to_key(_compare))


def _compare(first: str, second: str) -> int:
    if first == second:
        return 0
    return -1 if _less(first, second) else 1


def _less(first: str, second: str) -> bool:
    digits = False
    for at, (one, other) in enumerate(zip(first, second, strict=False)):
        if one == other:
            digits = one.isdecimal()
            continue
        if one.isalpha() and other.isalpha():
            return one < other
        if one.isalpha() or other.isalpha():
            return one.isalpha() if digits else other.isalpha()
        return _smaller(first, second, at)
    return len(first) < len(second)


def _smaller(first: str, second: str, at: int) -> bool:
    """By the numbers that begin at `at`."""
    # A zero that follows another digit continues a number, so that both are compared by their lengths.
    ahead = "1" if "0" in (first[at], second[at]) and _continues(first, at) else ""
    one, other = _number(first, at), _number(second, at)
    values = int(f"{ahead}{one}" or "0"), int(f"{ahead}{other}" or "0")
    if values[0] != values[1]:
        return values[0] < values[1]
    if len(one) != len(other):
        return len(one) < len(other)
    return first[at] < second[at]


def _continues(text: str, at: int) -> bool:
    """Whether a digit other than zero stands before, with nothing but digits between."""
    before = at - 1
    while before >= 0 and text[before].isdecimal():
        if text[before] != "0":
            return True
        before -= 1
    return False


def _number(text: str, at: int) -> str:
    end = at
    while end < len(text) and end - at < 18 and text[end].isdecimal():
        end += 1
    return text[at:end]
