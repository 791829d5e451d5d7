"""A build's context as a tar, made while it is sent, without what its ignore file names."""

from __future__ import annotations

import os
import stat

from corten.cli.packing import batched, entry
from corten.layers import write
from corten.layers.header import REGULAR

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from corten.spec.dockerfile.ignore import Patterns


def pack(directory: str, patterns: Patterns | None, files: Mapping[str, bytes]) -> Iterator[bytes | bytearray]:
    """The tar of `directory`; `files` are in it by these names, in place of what the directory has there."""
    yield from batched(_pieces(directory, patterns, files))


def _pieces(directory: str, patterns: Patterns | None, files: Mapping[str, bytes]) -> Iterator[bytes]:
    for name, data in files.items():
        yield write.header(os.fsencode(name), REGULAR, size=len(data)) + data + write.padding(len(data))
    if not directory:
        return
    links: dict[tuple[int, int], str] = {}
    waiting: list[tuple[str, str, list[tuple[str, str, os.stat_result]]]] = [(directory, "", [])]
    while waiting:
        path, shown, held = waiting.pop()
        below = []
        with os.scandir(path) as found:
            inside = sorted(found, key=lambda each: each.name)
        for each in inside:
            name = f"{shown}/{each.name}" if shown else each.name
            if name in files:
                continue
            status = each.stat(follow_symlinks=False)
            is_directory = stat.S_ISDIR(status.st_mode)
            if patterns is not None and patterns.excludes(name):
                if is_directory and patterns.take_back:
                    below.append((each.path, name, [*held, (each.path, name, status)]))
                continue
            while held:  # excluded directories that something comes back in: each once, in front of it
                yield from entry(*held.pop(0), links, whole_seconds=False)
            yield from entry(each.path, name, status, links, whole_seconds=False)
            if is_directory:
                below.append((each.path, name, []))
        waiting += reversed(below)
