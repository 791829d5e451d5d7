"""Taking turns, medians, ratios and targets."""

from __future__ import annotations

from functools import partial

import pytest
from bench.measure import Failed, Row, Subject, Table, Target, alternate


def test_subjects_take_turns() -> None:
    seen: list[str] = []
    subjects = [Subject(name, partial(seen.append, name)) for name in "AB"]
    rows = alternate(subjects, runs=2, warm_up=1, rest=0)
    assert "".join(seen) == "ABABAB"
    assert [len(row.values) for row in rows] == [2, 2]


def test_what_is_before_and_after_is_called_around_each_turn() -> None:
    seen: list[str] = []
    subject = Subject("A", lambda: seen.append("act"), lambda: seen.append("before"), lambda: seen.append("after"))
    alternate([subject], runs=2, warm_up=0, rest=0)
    assert seen == ["before", "act", "after"] * 2


def test_a_subject_that_fails_leaves_and_the_others_go_on() -> None:
    turns: list[int] = []

    def second_turn_fails() -> None:
        turns.append(1)
        if len(turns) == 2:
            raise Failed("no more")

    rows = alternate([Subject("A", second_turn_fails), Subject("B", lambda: None)], runs=3, warm_up=0, rest=0)
    assert (rows[0].values, rows[0].remark, len(turns)) == ((), "failed: no more", 2)
    assert len(rows[1].values) == 3


def test_an_absent_subject_keeps_its_reason() -> None:
    assert alternate([Subject("A", absent="not installed")], runs=2, rest=0) == (Row("A", remark="not installed"),)


def test_an_error_in_the_program_is_no_result() -> None:
    def wrong() -> None:
        raise KeyError("x")

    with pytest.raises(KeyError):
        alternate([Subject("A", wrong)], runs=1, rest=0)


@pytest.mark.parametrize(("values", "median"), [((3.0, 1.0, 2.0), 2.0), ((4.0, 1.0, 2.0, 100.0), 3.0)])
def test_median(values: tuple[float, ...], median: float) -> None:
    assert Row("A", values).median == median


def table(ours: tuple[float, ...], target: Target) -> Table:
    return Table("t", (Row("dockerd", (90.0, 100.0, 500.0)), Row("Corten", ours)), "dockerd", (target,))


@pytest.mark.parametrize(("ours", "reached"), [((20.0,), True), ((20.1,), False), ((), None)])
def test_a_target_that_is_a_part_of_the_base(ours: tuple[float, ...], reached: bool | None) -> None:
    result = table(ours, Target("Corten", 1 / 5, "dockerd"))
    assert result.reached(result.rows[1]) is reached
    assert result.reached(result.rows[0]) is None


@pytest.mark.parametrize(("ours", "reached"), [((60.0,), True), ((60.5,), False)])
def test_a_target_with_a_unit(ours: tuple[float, ...], reached: bool) -> None:
    result = table(ours, Target("Corten", 60))
    assert result.reached(result.rows[1]) is reached


def test_no_ratio_without_the_base() -> None:
    result = Table("t", (Row("dockerd", remark="not installed"), Row("Corten", (1.0,))), "dockerd",
                   (Target("Corten", 1 / 5, "dockerd"),))  # fmt: skip
    assert result.ratio(result.rows[1]) is None
    assert result.reached(result.rows[1]) is None
