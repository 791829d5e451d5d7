"""docs/containers.md: its figures are those of the source, its states and log options are all there are."""

from __future__ import annotations

import dataclasses
import importlib
import re
from pathlib import Path
from typing import get_args

import pytest

from corten.engine.containers import records
from corten.plan.validate import logging

PAGE = (Path(__file__).parents[3] / "docs" / "containers.md").read_text()
_FIGURE = re.compile(r"^\| [^|]+ \| ([^|]+) \| `([a-z_.]+):([A-Za-z_.]+)` \|$", re.MULTILINE)
_NUMBER = re.compile(r"[0-9.]+")
FIGURES = _FIGURE.findall(PAGE)


def value(module: str, name: str) -> tuple[float, ...]:
    """A constant of a module, or the default of a field of a dataclass, as a tuple of numbers."""
    owner, _, attribute = name.rpartition(".")
    found = getattr(importlib.import_module(module), owner or attribute)
    if owner:
        (item,) = (item for item in dataclasses.fields(found) if item.name == attribute)
        found = item.default if item.default_factory is dataclasses.MISSING else item.default_factory()
    if dataclasses.is_dataclass(found) and not isinstance(found, type):
        return dataclasses.astuple(found)
    return (found,)


@pytest.mark.parametrize(("shown", "module", "name"), FIGURES, ids=[name for *_, name in FIGURES])
def test_a_figure_is_the_source_s(shown: str, module: str, name: str) -> None:
    assert tuple(map(float, _NUMBER.findall(shown))) == value(module, name)


def test_the_table_is_read() -> None:
    assert len(FIGURES) == PAGE.partition("## Figures")[2].count("\n| ") - 1


def test_every_state_is_said() -> None:
    states = PAGE.partition("## States")[2].partition("\n## ")[0]
    assert [state for state in get_args(records.Status) if not re.search(rf"^(?:\| |`){state}\b", states, re.M)] == []


def test_every_log_option_is_said() -> None:
    logs = PAGE.partition("## Logs")[2].partition("\n## ")[0]
    first = [line.split("|")[1] for line in logs.splitlines() if line.startswith("| `")]
    rows = {option for cell in first for option in re.findall(r"`([a-z-]+)`", cell)}
    known = set().union(*logging._OPTIONS.values(), logging._OPTIONS, logging._COMMON)
    assert rows == known
