from __future__ import annotations

import pytest

from corten.cli import units
from corten.cli.columns import align
from corten.cli.errors import CommandError
from corten.cli.times import go_nano, parse_moment, timestamp


@pytest.mark.parametrize(
    ("size", "digits", "text"),
    [
        (0, 4, "0B"),
        (999, 4, "999B"),
        (1000, 4, "1kB"),
        (1984162, 4, "1.984MB"),
        (1984162, 3, "1.98MB"),
        (5e12, 4, "5TB"),
    ],
)
def test_sizes_are_powers_of_a_thousand(size: float, digits: int, text: str) -> None:
    assert units.human_size(size, digits) == text


def test_memory_is_powers_of_1024() -> None:
    assert units.bytes_size(25276502016) == "23.54GiB"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "Less than a second"), (0.9, "Less than a second"), (1, "1 second"), (59, "59 seconds"),
        (60, "About a minute"), (119, "About a minute"), (120, "2 minutes"), (3599, "59 minutes"),
        (3600, "About an hour"), (5400, "2 hours"), (47 * 3600, "47 hours"), (48 * 3600, "2 days"),
        (13 * 86400, "13 days"), (14 * 86400, "2 weeks"), (59 * 86400, "8 weeks"), (60 * 86400, "2 months"),
        (729 * 86400, "24 months"), (730 * 86400, "2 years"),
    ],
)  # fmt: skip
def test_durations_are_said_as_go_units_says_them(seconds: float, text: str) -> None:
    assert units.human_duration(seconds) == text


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("32", 32),
        ("32b", 32),
        ("32k", 32768),
        ("32KB", 32768),
        ("32kib", 32768),
        ("1.5m", 1572864),
        ("2 gb", 2 << 30),
        ("1tb", 1 << 40),
    ],
)
def test_sizes_are_read(text: str, size: int) -> None:
    assert units.parse_bytes(text) == size


@pytest.mark.parametrize("text", ["", "k", "-5", "32bb", "1.2.3k", "5x", "hello", "nan"])
def test_bad_sizes_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="invalid size"):
        units.parse_bytes(text)


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        ("0", 0),
        ("1h", 3600 * 10**9),
        ("1h1m1s", 3661 * 10**9),
        ("1.5s", 15 * 10**8),
        ("-2ms", -2 * 10**6),
        ("3us", 3000),
        ("3µs", 3000),
    ],
)
def test_durations_are_read_and_written(text: str, nanoseconds: int) -> None:
    assert units.parse_duration(text) == nanoseconds


@pytest.mark.parametrize("text", ["", "5", "5x", "h", "1..5s", "s5"])
def test_bad_durations_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="time: "):
        units.parse_duration(text)


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [
        (0, "0s"),
        (1500, "1.5µs"),
        (300 * 10**6, "300ms"),
        (90 * 10**9, "1m30s"),
        (3661 * 10**9, "1h1m1s"),
        (-(10**9), "-1s"),
    ],
)
def test_durations_are_written_as_go_does(nanoseconds: int, text: str) -> None:
    assert units.go_duration(nanoseconds) == text


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
