from __future__ import annotations

import pytest

from corten.cli.columns import align
from corten.cli.errors import CommandError
from corten.cli.times import go_nano, parse_moment, timestamp, utc


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1700000000", "1700000000"), ("1700000000.5", "1700000000.5"), ("10m", "400.000000000"),
        ("2013-01-02T13:23:37Z", "1357133017.000000000"), ("2013-01-02T13:23:37.5Z", "1357133017.500000000"),
        ("2013-01-02T13:23:37+02:00", "1357125817.000000000"),
    ],
)  # fmt: skip
def test_moments_become_seconds(text: str, expected: str) -> None:
    assert timestamp(text, "since", now=1000.0) == expected


def test_what_is_no_moment_is_refused() -> None:
    with pytest.raises(CommandError, match='invalid value for "since": failed to parse value as time or duration: "x"'):
        timestamp("x", "since")


def test_a_day_is_local_midnight() -> None:
    assert parse_moment("2013-01-02")[1] == 0


def test_event_times_have_nine_decimals() -> None:
    assert ".000000001" in go_nano(1700000000 * 10**9 + 1)


def test_columns_are_as_wide_as_their_widest_cell_and_at_least_ten() -> None:
    assert align("ID\tNAME\na\tlonger than ten\tx\nb\tc\ty") == (
        "ID        NAME\na         longer than ten   x\nb         c                 y"
    )


def test_a_line_without_tabs_ends_a_column() -> None:
    assert align("aaaaaaaaaaaaaaa\tb\nplain\nc\td") == "aaaaaaaaaaaaaaa   b\nplain\nc         d"


@pytest.mark.parametrize(
    "text",
    ["2026-11-29T15:09:32.524644608Z", "2026-02-28T00:00:00Z", "1970-01-01T00:00:01.5Z", "2026-11-29T15:09:32+01:00"],
)
def test_the_times_of_events(text: str) -> None:
    seconds, nanoseconds = parse_moment(text)
    assert utc(text) == pytest.approx(seconds + nanoseconds / 1e9, abs=1e-6)
