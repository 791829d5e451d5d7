"""!reset and !override: what earlier files say at their paths is removed before a later one is merged."""

from __future__ import annotations

from collections.abc import Sequence

from corten.compose.document import Tree


def remove(tree: Tree, paths: Sequence[tuple[str, ...]]) -> None:
    """The tree is changed. Paths go through mappings only, "*" is any key."""
    for path in paths:
        _remove(tree, path)


def _remove(tree: Tree, path: tuple[str, ...]) -> None:
    names = list(tree) if path[0] == "*" else [path[0]]
    for name in names:
        if len(path) == 1:
            tree.pop(name, None)
            continue
        below = tree.get(name)
        if isinstance(below, dict):
            _remove(below, path[1:])
