"""Several trees as one, as an output has them: each at the top or in a directory of its own, with files beside its own.

Everything comes in the order of a walk: names of a directory by their bytes, a directory before what is in it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from corten.errors import Invalid
from corten.layers import tree
from corten.layers.limits import LONGEST_PATH
from corten.layers.tree import Found


@dataclass(frozen=True, slots=True)
class Extra:
    """A file beside a tree's own: its `size` bytes are in the descriptor `fd` from `offset` on."""

    name: bytes
    fd: int
    offset: int
    size: int


@dataclass(frozen=True, slots=True)
class Part:
    """`root` is the tree's directory, None for no files; `directory` where it is shown, "" at the top. `extra` is
    sorted by name."""

    root: int | None
    directory: bytes = b""
    extra: tuple[Extra, ...] = ()


@dataclass(frozen=True, slots=True)
class Above:
    """The directory that a tree is shown in."""

    path: bytes


@dataclass(frozen=True, slots=True)
class Own:
    """Something of a tree; `found.path` is where it is in `part`, `path` in all of it."""

    part: Part
    found: Found
    path: bytes


@dataclass(frozen=True, slots=True)
class Beside:
    """A file beside a tree's own."""

    extra: Extra
    path: bytes


Entry = Above | Own | Beside


def walk(parts: Sequence[Part]) -> Iterator[Entry]:
    """All of them, in the order of their directories. Raises Invalid for an extra file that is in the way of another.

    An entry's directory is open until the next one is asked for.
    """
    for part in sorted(parts, key=lambda part: part.directory):
        prefix = b""
        if part.directory:
            prefix = part.directory + b"/"
            yield Above(part.directory)
        yield from _one(part, prefix)


def _one(part: Part, prefix: bytes) -> Iterator[Entry]:
    waiting = list(reversed(part.extra))
    for found in tree.walk(part.root, LONGEST_PATH - len(prefix)) if part.root is not None else ():
        if len(prefix) + len(found.path) > LONGEST_PATH:
            continue  # no path leads to it
        while waiting and b"/" not in found.path and waiting[-1].name <= found.path:
            if waiting[-1].name == found.path:
                raise Invalid(f"the result has a file of the name {os.fsdecode(found.path)} already")
            yield Beside(waiting[-1], prefix + waiting.pop().name)
        yield Own(part, found, prefix + found.path)
    while waiting:
        yield Beside(waiting[-1], prefix + waiting.pop().name)
