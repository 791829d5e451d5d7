"""Digests of what COPYs would bring, with a memory of them: of whole answers, and of files by what the kernel says."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

from corten.build.contract import Matched, SourceMissing, SourceTree, StageTree
from corten.build.work.rooms import Rooms
from corten.build.work.sources import described
from corten.errors import NotFound
from corten.kernel import memfd
from corten.spec.json import Json

_ANSWERS = 4096
_MEMORY = 16 << 20  # bytes for the files of one directory: 65 each
_MEMORIES = 4  # directories

_Key = tuple[Any, ...]


class Checksums:
    """In memory, and gone with the daemon: trees are named anew then."""

    def __init__(self, rooms: Rooms) -> None:
        self._rooms = rooms
        self._answers: OrderedDict[_Key, str] = OrderedDict()
        self._files: OrderedDict[str, bytes] = OrderedDict()

    async def of(self, source: Matched, exclude: Sequence[str], parents: bool, owned: bool) -> str:
        """`owned`: owners count. Raises SourceMissing in BuildKit's words."""
        key = _key(source, exclude, parents, owned)
        if key in self._answers:
            self._answers.move_to_end(key)
            return self._answers[key]
        with described(self._rooms, [source]) as sources:
            request: Json = {"do": "step sum", **sources, "exclude": list(exclude), "parents": parents}
            request |= {"owned": owned, "memory": _MEMORY}
            try:
                answer = await self._ask(request, source)
            except NotFound as error:
                text = f"failed to calculate checksum of ref {_name(source)}: {error}"
                raise SourceMissing(text, next(iter(source.paths), "")) from None
        _put(self._answers, key, str(answer["digest"]), _ANSWERS)
        return self._answers[key]

    def known(self, source: Matched) -> bytes:
        """What is known of the files of its tree, for a `layers.sums.Memory`."""
        known = source.tree.sums if isinstance(source.tree, SourceTree) else b""
        return self._files.get(_place(source), known)

    async def _ask(self, request: Json, source: Matched) -> Json:
        place = _place(source)
        known = source.tree.sums if isinstance(source.tree, SourceTree) else b""
        before, after = _memory(self._files.get(place, b""), known), _memory()
        try:
            answer = await self._rooms.steps.ask(request, [before, after])
            if place:
                size = min(os.fstat(after).st_size, _MEMORY)
                _put(self._files, place, os.pread(after, size, 0), _MEMORIES)
            return answer
        finally:
            os.close(before)
            os.close(after)


def _place(source: Matched) -> str:
    """A name for the files of its tree, which is the same in the next build where they are; "" for no tree."""
    match source.tree:
        case SourceTree(directory=directory):
            return str(directory)
        case StageTree(top=str() as top):
            return top
    return ""


def _memory(*known: bytes) -> int:
    return memfd.holding("corten-sums", known)


def _key(source: Matched, exclude: Sequence[str], parents: bool, owned: bool) -> _Key:
    tree = source.tree
    name = tree.id if isinstance(tree, SourceTree) else tree.top if tree is not None else None
    kind = type(tree).__name__
    return kind, name, source.paths, tuple(sorted(source.content.items())), tuple(exclude), parents, owned


def _name(source: Matched) -> str:
    tree = source.tree
    return (tree.id if isinstance(tree, SourceTree) else tree.top if tree is not None else "") or "scratch"


def _put(kept: OrderedDict[Any, Any], key: Any, value: Any, most: int) -> None:
    kept[key] = value
    kept.move_to_end(key)
    while len(kept) > most:
        kept.popitem(last=False)
