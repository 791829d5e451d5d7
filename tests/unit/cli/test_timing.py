from __future__ import annotations

from corten.cli.timing import table


def test_parts_stand_below_what_they_are_part_of() -> None:
    daemon = {
        "prepare": 0.001,
        "create": 0.02,
        "start.init": 0.01,
        "start.init: mounts": 0.004,
        "start": 0.015,
        "total": 0.03,
    }
    lines = table({"create": 0.04, "run": 0.01}, daemon).splitlines()
    assert [line[:34].rstrip() for line in lines] == [
        "client",
        "  create",
        "  run",
        "  total",
        "",
        "daemon, inside create and start",
        "  prepare",
        "  create",
        "  start",
        "    init",
        "      mounts",
        "  total",
    ]
    assert lines[1].split()[1:] == ["40.00", "#" * 30]
    assert lines[3].split() == ["total", "50.00"]
    assert lines[-1].split() == ["total", "30.00"]


def test_without_a_daemons_total_its_phases_are_summed() -> None:
    assert table({"run": 0.001}, {"a": 0.002, "a.b": 0.001}).splitlines()[-1].split() == ["total", "2.00"]
