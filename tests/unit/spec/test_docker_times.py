from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corten.errors import Invalid
from corten.spec.docker import times
from corten.units.durations import SECOND


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1136073600", 1136073600.0),
        ("1136073600.000000001", 1136073600.000000001),
        ("2006-01-01T00:00:00Z", 1136073600.0),
        ("2006-01-01T01:00:00+01:00", 1136073600.0),
        ("2006-01-01T00:00:00.5Z", 1136073600.5),
        ("2006-01-01", 1136073600.0),
        ("2006-01-01T10:30", 1136111400.0),
    ],
)
def test_times(text: str, seconds: float) -> None:
    assert times.parse_time(text) == pytest.approx(seconds * SECOND, abs=1)


def test_durations_count_back() -> None:
    assert times.parse_time("1h30m", at=10**13) == 10**13 - 5400 * SECOND


@pytest.mark.parametrize("text", ["", "soon", "2006-13-01", "1h30", "1h 30m", "9" * 40, "2006-01-01T99:00"])
def test_nonsense(text: str) -> None:
    with pytest.raises(Invalid):
        times.parse_time(text)


@given(st.integers(min_value=1, max_value=4 * 10**18))
def test_rfc3339_is_read_back(at: int) -> None:
    assert times.parse_time(times.rfc3339(at)) == at


def test_rfc3339_as_go_prints_it() -> None:
    assert times.rfc3339(1136073600 * SECOND) == "2006-01-01T00:00:00Z"
    assert times.rfc3339(1136073600 * SECOND + 120_000_000) == "2006-01-01T00:00:00.12Z"
    assert times.rfc3339(0) == "0001-01-01T00:00:00Z"
