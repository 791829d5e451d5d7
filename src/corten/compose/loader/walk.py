"""A tree changed at the paths of a table."""

from __future__ import annotations

from collections.abc import Callable

from corten.compose.document import Tree, Value
from corten.compose.loader.rules import Rules

Change = Callable[[Value, str], Value]
"""Gets a value and its path, gives what takes its place."""


def changed(tree: Tree, table: Rules[Change], deeper: bool = False) -> Tree:
    """The tree itself, changed. Below a changed value nothing else is, unless `deeper`."""
    _mapping(tree, "", table, deeper)
    return tree


def _value(value: Value, path: str, table: Rules[Change], deeper: bool) -> Value:
    if table.found is not None:
        value = table.found(value, path)
        if not deeper:
            return value
    if isinstance(value, dict):
        _mapping(value, path, table, deeper)
    elif isinstance(value, list):
        below = table.step("*")
        if not below.empty:
            for at, each in enumerate(value):
                value[at] = _value(each, f"{path}.{at}", below, deeper)
    return value


def _mapping(tree: Tree, path: str, table: Rules[Change], deeper: bool) -> None:
    prefix = f"{path}." if path else ""
    for key, value in tree.items():
        below = table.step(key)
        if not below.empty:
            tree[key] = _value(value, f"{prefix}{key}", below, deeper)
