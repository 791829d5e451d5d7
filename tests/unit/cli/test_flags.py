from __future__ import annotations

from typing import Any

import pytest

from corten.cli.errors import UsageError
from corten.cli.flags import BOOL, BYTES, DURATION, INT, LIST, STRING, UINT16, HelpWanted, flag, parse

FLAGS = (
    flag("detach", BOOL, "", "d"),
    flag("interactive", BOOL, "", "i"),
    flag("tty", BOOL, "", "t"),
    flag("sig-proxy", BOOL, "", default=True),
    flag("publish", LIST, "", "p"),
    flag("name", STRING, ""),
    flag("count", INT, "", "n", default=-1),
    flag("weight", UINT16, ""),
    flag("memory", BYTES, "", "m"),
    flag("wait", DURATION, ""),
)


def values(*words: str, interspersed: bool = False) -> Any:
    return parse(FLAGS, words, interspersed)


def test_short_flags_combine_and_the_last_may_take_a_value() -> None:
    found = values("-itp80:80", "-p", "81:81", "-p=82", "img")
    assert (found.on("interactive"), found.on("tty"), found.on("detach")) == (True, True, False)
    assert found.many("publish") == ["80:80", "81:81", "82"]


def test_flags_stop_at_the_first_word_that_is_none() -> None:
    assert values("-d", "img", "ls", "-l", "--nope").words == ["img", "ls", "-l", "--nope"]
    assert values("x", "-d", "y", interspersed=True).words == ["x", "y"]
    assert values("-d", "--", "-t", interspersed=True).words == ["-t"]
    assert values("-", interspersed=True).words == ["-"]


@pytest.mark.parametrize(
    ("word", "expected"), [("--tty", True), ("--tty=false", False), ("--tty=1", True), ("-t=F", False)]
)
def test_booleans_take_a_value_only_with_an_equals_sign(word: str, expected: bool) -> None:
    found = values(word, "false")
    assert (found.on("tty"), found.words) == (expected, ["false"])


def test_defaults_and_what_was_given() -> None:
    found = values("--name=x")
    assert ("name" in found, "tty" in found, found.on("sig-proxy"), found.number("count")) == (True, False, True, -1)


@pytest.mark.parametrize(("text", "number"), [("0x10", 16), ("010", 8), ("-3", -3), ("+4", 4), ("0", 0)])
def test_integers_are_gos(text: str, number: int) -> None:
    assert values(f"-n={text}").number("count") == number


def test_sizes_and_durations_are_numbers() -> None:
    found = values("-m", "1.5g", "--wait", "1m30s")
    assert (found.number("memory"), found.number("wait")) == (1610612736, 90 * 10**9)


# The messages are pflag's, as the docker client printed them.
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--nope"], "unknown flag: --nope"),
        (["-Z"], "unknown shorthand flag: 'Z' in -Z"),
        (["-itZ"], "unknown shorthand flag: 'Z' in -Z"),
        (["--name"], "flag needs an argument: --name"),
        (["-dp"], "flag needs an argument: 'p' in -p"),
        (["--=x"], "bad flag syntax: --=x"),
        (["--tty=x"], 'invalid argument "x" for "-t, --tty" flag: strconv.ParseBool: parsing "x": invalid syntax'),
        (["-n", "x"], 'invalid argument "x" for "-n, --count" flag: strconv.ParseInt: parsing "x": invalid syntax'),
        (
            ["--weight=70000"],
            'invalid argument "70000" for "--weight" flag: strconv.ParseUint: parsing "70000": value out of range',
        ),
        (["-m", "abc"], 'invalid argument "abc" for "-m, --memory" flag: invalid size: \'abc\''),
        (["--wait=5"], 'invalid argument "5" for "--wait" flag: time: missing unit in duration "5"'),
    ],
)
def test_mistakes_are_reported_in_pflags_words(words: list[str], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        values(*words)
    assert str(caught.value) == message


def test_help_is_asked_for_in_two_ways() -> None:
    with pytest.raises(HelpWanted) as caught:
        values("--help")
    assert not caught.value.deprecated
    with pytest.raises(HelpWanted) as caught:
        values("-h")
    assert caught.value.deprecated
