"""Which names of a directory are needed for the paths that a Dockerfile names: these, the directories they are in, and
what links among them lead to, as long as that is in the directory.

    tree("/src", ["a/*.c", "lib"])      {"a": {"x.c": None, "y.c": None}, "lib": None}
"""

from __future__ import annotations

import os

from corten.errors import Invalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    Wanted = dict[str, "Wanted"] | None  # names that are gone into; None is all that is there

_PATTERN = frozenset("*?[\\")
_LINKS = 10_000  # that are followed; more go in circles


_Name = tuple[str, bool]  # and whether it may be a pattern


def tree(top: str, paths: Sequence[str]) -> Wanted:
    """Raises Invalid for links without an end."""
    found: dict[str, Wanted] = {}
    waiting: list[tuple[tuple[str, ...], list[_Name]]] = [((), _names(path, pattern=True)) for path in paths]
    links = 0
    while waiting:
        done, rest = waiting.pop()
        if not rest:
            if not done:
                return None
            _add(found, done)
            continue
        (name, pattern), *rest = rest
        if pattern and not _PATTERN.isdisjoint(name):
            waiting += [(done, [(each, False), *rest]) for each in _matching(f"{top}/{'/'.join(done)}", name)]
            continue
        if name == "..":
            waiting.append((done[:-1], rest))
            continue
        here = (*done, name)
        target = _target(f"{top}/{'/'.join(here)}")
        if target is None:
            waiting.append((here, rest))
            continue
        links += 1
        if links > _LINKS:
            raise Invalid(f"{'/'.join(here)} is one of more than {_LINKS} links, which may have no end")
        _add(found, here)
        waiting.append((() if target.startswith("/") else done, [*_names(target, pattern=False), *rest]))
    return found


def _names(path: str, pattern: bool) -> list[_Name]:
    return [(name, pattern) for name in path.split("/") if name not in ("", ".")]


def _matching(directory: str, pattern: str) -> list[str]:
    """Names that match, and the one that is spelled so."""
    from corten.spec.dockerfile import glob

    try:
        (expected,) = glob.names(pattern)
    except ValueError:  # no pattern: that is said where it is used
        return [pattern]
    try:
        return [name for name in os.listdir(directory) if name == pattern or expected.matches(name)]
    except (FileNotFoundError, NotADirectoryError):
        return []


def _target(path: str) -> str | None:
    """Of a link; None for what is none."""
    try:
        return os.readlink(path)
    except OSError:
        return None


def _add(found: dict[str, Wanted], names: tuple[str, ...]) -> None:
    """All that is there by these names."""
    at = found
    for name in names[:-1]:
        below = at.setdefault(name, {})
        if below is None:
            return
        at = below
    at[names[-1]] = None
