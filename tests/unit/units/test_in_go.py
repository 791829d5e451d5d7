"""Lengths of time in messages are Go's text: 10s, 1m0s. Found in the source: most of them take minutes to see."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import corten
from corten.units.durations import in_go

SOURCE = Path(corten.__file__).parent
_UNIT = re.compile(r" (s|sec|seconds?|minutes?|hours?)\b")
# Ages, Docker's "Retrying in N seconds", BuildKit's display of a build.
_HUMAN = (
    "cli/buildprogress.py",
    "cli/formats/build.py",
    "images/policy.py",
    "images/progress.py",
    "units/durations.py",
)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (0.2, "200ms"),
        (1, "1s"),
        (10.0, "10s"),
        (60.0, "1m0s"),
        (90, "1m30s"),
        (600.0, "10m0s"),
        (3600, "1h0m0s"),
    ],
)
def test_text(seconds: float, text: str) -> None:
    assert in_go(seconds) == text


def numbers_with_units(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            for value, after in zip(node.values, node.values[1:]):
                if not isinstance(value, ast.FormattedValue) or not isinstance(after, ast.Constant):
                    continue
                text = str(after.value)
                if _UNIT.match(text) or (value.format_spec is not None and re.match(r"s\b", text)):
                    yield f"{node.lineno}: {ast.unparse(node)}"


def test_messages() -> None:
    found = [
        f"{name}:{line}"
        for path in sorted(SOURCE.rglob("*.py"))
        if (name := str(path.relative_to(SOURCE))) not in _HUMAN
        for line in numbers_with_units(ast.parse(path.read_text()))
    ]
    assert not found, "\n".join(found)


def test_what_it_finds() -> None:
    tree = ast.parse('f"{a:g} seconds"; f"({b:g}s)"; f"{c} s, as"; f"{d} bytes"; f"{e}s"')
    assert len(list(numbers_with_units(tree))) == 3
