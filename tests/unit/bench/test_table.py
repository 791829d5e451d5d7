"""Tables as Markdown."""

from __future__ import annotations

import pytest
from bench import table
from bench.measure import Row, Table, Target

RESULT = Table(
    "run",
    (Row("dockerd", (400.0, 500.0, 450.0)), Row("Corten", (45.0, 44.0, 90.0)), Row("podman", remark="not installed")),
    "dockerd",
    (Target("Corten", 1 / 5, "dockerd"), Target("podman", 1, "dockerd")),
    note="What was done.",
)


def cells(text: str, subject: str) -> list[str]:
    line = next(line for line in text.splitlines() if line.startswith(f"| {subject} "))
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_rows() -> None:
    text = table.markdown(RESULT)
    assert cells(text, "dockerd") == ["dockerd", "450", "400", "500", "3", "1.000", "", ""]
    assert cells(text, "Corten") == ["Corten", "45.0", "44.0", "90.0", "3", "0.100", "≤ 1/5", "yes"]
    assert cells(text, "podman") == ["podman", "-", "", "", "", "", "≤ 1", "not measured"]


def test_reasons_stand_below_the_table() -> None:
    text = table.markdown(RESULT)
    assert text.startswith("### run\n\nWhat was done.\n\n| subject ")
    assert text.endswith("|\n\n- podman: not installed\n")


def test_a_target_without_the_base_is_not_measured() -> None:
    rows = (Row("dockerd", remark="not installed"), Row("Corten", (1.0,)))
    alone = Table("run", rows, "dockerd", RESULT.targets)
    assert cells(table.markdown(alone), "Corten")[-3:] == ["", "≤ 1/5", "not measured"]


def test_columns_are_aligned() -> None:
    lines = [line for line in table.markdown(RESULT).splitlines() if line.startswith("|")]
    assert len({len(line) for line in lines}) == 1
    assert lines[1].startswith("| :---")


def test_a_bar_in_a_cell_does_not_end_it() -> None:
    assert table.grid([["a"], ["x|y"]]).splitlines()[2] == "| x\\|y |"


@pytest.mark.parametrize(
    ("target", "text"),
    [
        (Target("Corten", 1 / 12, "dockerd"), "≤ 1/12"),
        (Target("Corten", 1, "podman"), "≤ 1 of podman"),
        (Target("Corten", 1.5), "≤ 1.5 ms"),
    ],
)
def test_limits(target: Target, text: str) -> None:
    assert table.limit(target, RESULT) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0.0312, "0.03"), (9.87, "9.87"), (45.678, "45.7"), (123.4, "123"), (12345.6, "12346")]
)
def test_numbers(value: float, text: str) -> None:
    assert table.number(value) == text
