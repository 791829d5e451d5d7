"""A build's context as a tar, made while it is sent, without what its ignore file names."""

from __future__ import annotations

import os
import stat
from contextlib import closing

from corten.cli.packing import batched, entry
from corten.client.beneath import Beneath
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
    with closing(Beneath(directory)) as beneath:
        yield from _files(beneath, patterns, files)


def _files(beneath: Beneath, patterns: Patterns | None, files: Mapping[str, bytes]) -> Iterator[bytes]:
    links: dict[tuple[int, int], str] = {}
    waiting: list[tuple[str, list[tuple[str, os.stat_result]]]] = [("", [])]
    while waiting:
        path, held = waiting.pop()
        below = []
        for each, status in beneath.scan(path):
            name = f"{path}/{each}" if path else each
            if name in files:
                continue
            is_directory = stat.S_ISDIR(status.st_mode)
            if patterns is not None and patterns.excludes(name):
                if is_directory and patterns.take_back:
                    below.append((name, [*held, (name, status)]))
                continue
            while held:  # excluded directories that something comes back in: each once, in front of it
                above, of_it = held.pop(0)
                yield from entry(beneath, above, above, of_it, links, whole_seconds=False)
            yield from entry(beneath, name, name, status, links, whole_seconds=False)
            if is_directory:
                below.append((name, []))
        waiting += reversed(below)
