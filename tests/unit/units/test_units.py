from __future__ import annotations

import pytest

from corten.units.booleans import FALSE, TRUE, parse_bool
from corten.units.durations import go_duration, human_duration, parse_age, parse_duration
from corten.units.sizes import bytes_size, human_size, parse_bytes


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
    assert human_size(size, digits) == text


def test_memory_is_powers_of_1024() -> None:
    assert bytes_size(25276502016) == "23.54GiB"


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
    assert human_duration(seconds) == text


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
        ("1KiB", 1024),
        (".5k", 512),
        ("1.5p", 3 << 49),
        ("9223372036854775807", 2**63 - 1),
    ],
)
def test_sizes_are_read(text: str, size: int) -> None:
    assert parse_bytes(text) == size


@pytest.mark.parametrize(
    "text",
    [
        "",
        "k",
        "-5",
        "32bb",
        "1.2.3k",
        "5x",
        "hello",
        "nan",
        "1kk",
        "1e3",
        "1_000",
        "+5",
        "5 ib",
        "9e",
        "8589934592g",
        "٣",
    ],
)
def test_bad_sizes_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="invalid size"):
        parse_bytes(text)


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
        (".5s", 5 * 10**8),
        ("100000h0.000000001s", 360_000_000 * 10**9 + 1),
    ],
)
def test_durations_are_read_and_written(text: str, nanoseconds: int) -> None:
    assert parse_duration(text) == nanoseconds


@pytest.mark.parametrize(
    "text", ["", "5", "5x", "h", "1..5s", "s5", "1h 30m", "2d", "--1s", "1h" * 40, "9999999999999h"]
)
def test_bad_durations_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="time: "):
        parse_duration(text)


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
    assert go_duration(nanoseconds) == text


def test_ages_also_have_days_and_weeks() -> None:
    assert [parse_age(text) for text in ("0", "7d", "2w", "1d12h")] == [
        0,
        604_800 * 10**9,
        1_209_600 * 10**9,
        129_600 * 10**9,
    ]
    for text in ("-1d", "d", "1 d", "1mo"):
        with pytest.raises(ValueError, match="time: "):
            parse_age(text)


def test_booleans_are_gos_and_no_others() -> None:
    assert [parse_bool(text) for text in TRUE] == [True] * 6
    assert [parse_bool(text) for text in FALSE] == [False] * 6
    for text in ("", "tRuE", "yes", " true"):
        with pytest.raises(ValueError, match=r"strconv\.ParseBool"):
            parse_bool(text)
