"""What is made anew for a supervisor's pages does what it did."""

from __future__ import annotations

import math
from types import CodeType, FunctionType
from typing import Any

from corten.supervisor.warmup import Constants


def _named(**given: object) -> dict[str, object]:
    return given


def _example(given: str = "", *, named: int = 0) -> list[Any]:
    """A word that is not loaded."""

    def inner(value: int) -> tuple[int, str]:
        return value + 70_000, "inner text"

    same = _named(named=named, first="text of two words")
    texts = ["text of two words", b"bytes", "x", "", b""]
    numbers = [0.0, -0.0, 1 << 40, -70_000, 1e300, math.inf]
    members = [given in ("one", "two"), (1, 2) == (True, 2), True, None, ..., (1.0, 2), (1, 2)]
    return [same, texts, numbers, members, inner(named), [n * 2 for n in range(3)], given in {"a", "b"}]


def _codes(code: CodeType) -> list[CodeType]:
    return [code, *(found for value in code.co_consts if isinstance(value, CodeType) for found in _codes(value))]


def test_code_with_other_constants_answers_the_same() -> None:
    constants = Constants(frozenset(_codes(_example.__code__)))
    code = constants.moved(_example.__code__, _example.__doc__)
    again = FunctionType(code, globals(), "again", _example.__defaults__)
    again.__kwdefaults__ = _example.__kwdefaults__
    assert repr(again()) == repr(_example())
    assert repr(again("two", named=3)) == repr(_example("two", named=3))
    assert code == _example.__code__ and code.co_consts[0] is _example.__doc__


def test_a_constant_has_one_copy_and_none_that_only_equals_it() -> None:
    constants = Constants(())
    text = "".join(["two ", "words"])
    assert constants.copy(text) is constants.copy("two " + text[4:]) and constants.copy(text) is not text
    assert constants.copy(True) is True and type(constants.copy(1)) is int
    assert math.copysign(1, constants.copy(-0.0)) == -1 and math.copysign(1, constants.copy(0.0)) == 1
    assert (
        [*map(type, constants.copy((1, True, 1.0)))]
        == [*map(type, constants.copy((1, True, 1.0)))]
        == [int, bool, float]
    )
    members = ("named", "arguments")
    assert constants.copy(members) is not members and all(map(lambda a, b: a is b, constants.copy(members), members))


def test_code_that_was_not_executed_stays() -> None:
    code = _example.__code__
    inner = next(value for value in code.co_consts if isinstance(value, CodeType))
    assert Constants(()).copy(inner) is inner and Constants({inner}).copy(inner) is not inner
