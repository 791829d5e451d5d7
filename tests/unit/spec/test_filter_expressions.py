"""Regular expressions of filters: Go's syntax, and bounds for what a hostile one costs."""

from __future__ import annotations

import time

import pytest

from corten.errors import Invalid
from corten.spec.docker import expressions
from corten.spec.docker.filters import Filters

#: Whether Go's `regexp` finds the expression in "Abc-1"; None where it has an error.
FOUND = {
    "^Abc": True,
    "c-1$": True,
    "bc": True,
    "abc": False,
    "(?i)abc": True,
    r"\AAbc-1\z": True,
    r"\z": True,  # Python has no \z before 3.14
    r"[[:upper:]]\pL": True,
    r"\QA\E(?P<rest>.*)": True,
    "(A|b)+c": True,
    "A++": None,
    "(?=A)": None,
    "(?P<a>A)(?P=a)": None,
    r"(A)\1": None,
    "A{1001}": None,
    "*": None,
    "[": None,
    "a)(b": None,
}


@pytest.mark.parametrize("expression", FOUND)
def test_the_syntax_is_that_of_go(expression: str) -> None:
    named = Filters({"name": [expression]}).pattern("name")
    assert named("Abc-1") == bool(FOUND[expression])
    assert named(expression)  # each value is also a name


def test_expressions_stand_for_themselves_when_there_are_several() -> None:
    named = Filters({"name": ["(?i)^web$", "^db|cache$", "[", "odd"]}).pattern("name")
    names = ["WEB", "web1", "DB1", "db1", "my-cache", "my-CACHE", "[", "an-odd-one"]
    assert [name for name in names if named(name)] == ["WEB", "db1", "my-cache", "[", "an-odd-one"]


def test_words_need_no_engine() -> None:
    named = Filters({"name": ["/web_1-a", "é"] + ["word"] * 10}).pattern("name")
    assert named("/web_1-ab") and named("café") and not named("/web_1")
    many = Filters({"name": [f"web-{number}" for number in range(5000)]})  # more bytes than expressions may have
    assert many.pattern("name")("/web-4999") and not many.pattern("name")("/web")


def test_the_time_for_words_is_bounded() -> None:
    named = Filters({"name": [f"{number:06}" for number in range(100_000)]}).pattern("name")
    start = time.thread_time()
    with pytest.raises(Invalid, match="take too long"):
        for _ in range(1000):
            named("a" * 250)
    assert time.thread_time() - start < 1


@pytest.mark.parametrize(
    "values",
    [
        ["(a+)+$"],
        ["(a|aa)+b"],
        ["(a*)*b", "(a*)*c"],
        ["a?" * 1000 + "a" * 1000],
        ["((a?){30}){30}x"],
    ],
)
def test_a_hostile_expression_takes_no_time(values: list[str]) -> None:
    start = time.thread_time()
    named = Filters({"name": values}).pattern("name")
    found = [named("a" * length) for length in range(230, 250)]
    assert time.thread_time() - start < 0.5 and found == [values == ["(a+)+$"]] * 20


@pytest.mark.parametrize("unit", [r"\pL", r"(?i)\PL", r"\pL{99}", "a{1000}", "(a?){1000}"])
def test_large_expressions_are_refused(unit: str) -> None:
    start = time.thread_time()
    for values in (
        [unit * (expressions.MAX_EXPRESSIONS // len(unit))],
        [unit * 5000],
        [unit + str(i) for i in range(5000)],
    ):
        with pytest.raises(Invalid, match="the expressions of filter 'name' "):
            Filters({"name": values}).pattern("name")
    assert time.thread_time() - start < 1.5


def test_the_time_for_a_list_is_bounded() -> None:
    """Each text needs states of the automaton that no text before it needed."""
    named = Filters({"name": [f"(a|b)*a(a|b){{{length}}}c" for length in range(40, 140)]}).pattern("name")
    start = time.thread_time()
    with pytest.raises(Invalid, match="take too long"):
        for number in range(100_000):
            named(f"{number * 2654435761 % 2**32:0128b}".replace("0", "a").replace("1", "b"))
    assert time.thread_time() - start < 1


def test_a_long_text_is_refused() -> None:
    named = Filters({"name": ["^a+$"]}).pattern("name")
    assert named("a" * expressions.MAX_TEXT)
    with pytest.raises(Invalid, match="take too long"):
        named("a" * (expressions.MAX_TEXT + 1))
