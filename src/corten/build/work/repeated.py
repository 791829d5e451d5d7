"""Copies of a directory that are done again and again: a new one is laid over the first one's tree, so that only what
was changed since is written.

The first is whole, and what it brought is kept in memory (`layers.earlier`), until later ones write a good part of it.
One that would bring what the first brought, without any change, is the first one's layer.
The directory is a client's that is kept here, or one of a stage or an image: of a stage that was done again the files
are the same that come of the layers below what has changed.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import NamedTuple

from corten.build.contract import CopyStep, Layer, SourceTree, StageTree, Tree

BROUGHT = 16 << 20  # of what one copy brought: 50 for a file
_COPIES = 8
_BELOW = 100  # layers, each of which may be two in overlay's stack (`spec.oci_image.MAX_LAYERS`)
_PART = 4  # of a tree: the next copy is whole when more than one such part was changed
_ALWAYS = 1 << 20  # bytes that may have changed in any case


class _First(NamedTuple):
    layer: Layer
    brought: bytes


class Copying(NamedTuple):
    """One copy. `first` is the layer whose tree it is laid over, None for a whole one; `brought` what that has."""

    key: str
    first: Layer | None = None
    brought: bytes = b""


class RepeatedCopies:
    """For one daemon: where the files of a directory that it keeps are is the same in its next build, as is where those
    of a layer are."""

    def __init__(self, has: Callable[[str], bool]) -> None:
        self._has = has
        self._first: OrderedDict[str, _First] = OrderedDict()

    def of(self, parent: Sequence[str], step: CopyStep) -> Copying | None:
        """None for a copy that is whole each time."""
        if len(step.sources) != 1 or len(parent) > _BELOW:
            return None
        (source,), place = step.sources, _place(step.sources[0].tree)
        if source.content or place is None:
            return None
        how = (step.target, step.owner, step.mode, step.exclude, step.parents, step.times, step.classic, step.link)
        key = repr((place, source.paths, tuple(parent), how))
        first = self._first.get(key)
        if first is None or not self._has(first.layer.tree):
            return Copying(key)
        self._first.move_to_end(key)
        return Copying(key, first.layer, first.brought)

    def done(self, copying: Copying, layer: Layer, made: int, brought: bytes) -> None:
        """`made` bytes of the layer are in its tree itself; `brought` is of a whole copy."""
        if copying.first is not None:
            if made > max(_ALWAYS, layer.size // _PART):
                self._first.pop(copying.key, None)
        elif 0 < len(brought) <= BROUGHT:
            self._first[copying.key] = _First(layer, brought)
            self._first.move_to_end(copying.key)
            while len(self._first) > _COPIES:
                self._first.popitem(last=False)


def _place(tree: Tree | None) -> str | None:
    """Empty for a stage or an image, whose tree has another name when it is another one; None for files that go with
    their build."""
    match tree:
        case SourceTree(directory=directory, holder=None):
            return str(directory)
        case StageTree(top=str()):
            return ""
    return None
