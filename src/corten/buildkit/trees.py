"""The trees of clients' directories: below `root`, one for each shared key, brought up to date by each transfer.

    root/KEY/NUMBER     KEY is a digest of the client's shared key and the directory's name

A tree belongs to one build at a time; a second build of the same key at that time gets one of its own.
"""

from __future__ import annotations

import hashlib
import logging
import os
import secrets
import time
from contextlib import suppress
from pathlib import Path

from corten.aio.threads import to_removal_thread
from corten.errors import CortenError
from corten.layers import tree as trees

log = logging.getLogger(__name__)
KEPT = 16  # trees that are in no build
_KEEP = 30 * 86400.0  # seconds


class Trees:
    """`take` a tree for a build, `give` it back."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._idle: dict[str, list[Path]] | None = None  # by key
        self._names: dict[Path, str] = {}

    def take(self, key: str) -> Path:
        """An old one of this key, or a new one, empty. Blocks for a moment."""
        digest = hashlib.sha256(key.encode()).hexdigest()
        idle = self._found()
        if idle.get(digest):
            return idle[digest].pop()
        path = self._root / digest / secrets.token_hex(8)
        os.makedirs(path, 0o755)
        return path

    def name(self, path: Path, changed: bool) -> str:
        """The id of a tree: another one after each change."""
        if changed or path not in self._names:
            self._names[path] = f"{path.name}-{secrets.token_hex(8)}"
        return self._names[path]

    def _found(self) -> dict[str, list[Path]]:
        if self._idle is None:
            self._idle = {}
            with suppress(FileNotFoundError):
                for each in self._root.iterdir():
                    self._idle[each.name] = list(each.iterdir())
        return self._idle

    async def give(self, path: Path, whole: bool) -> None:
        """Keep it for the next build of its key, unless there is one, or it is not `whole`."""
        idle = self._found()
        gone = []
        if not whole or idle.get(path.parent.name):
            gone.append(path)
        else:
            os.utime(path.parent)
            idle.setdefault(path.parent.name, []).append(path)
            gone += self._old(idle)
        for each in gone:
            self._names.pop(each, None)
            try:
                await to_removal_thread(_remove, each)
            except (CortenError, OSError) as error:
                log.warning("the tree %s was not removed: %s", each, error)

    def _old(self, idle: dict[str, list[Path]]) -> list[Path]:
        """What is to be removed, which is not in `idle` any more."""
        used = sorted((self._used(key), key) for key, found in idle.items() if found)
        old = [key for age, key in used if age < time.time() - _KEEP]
        old += [key for _, key in used if key not in old][: max(0, len(used) - len(old) - KEPT)]
        return [path for key in old for path in idle.pop(key)]

    def _used(self, key: str) -> float:
        try:
            return os.stat(self._root / key).st_mtime
        except FileNotFoundError:
            return 0


def _remove(path: Path) -> None:
    fd = trees.open_directory(os.fsencode(path.parent))
    try:
        with suppress(FileNotFoundError):
            trees.remove(fd, os.fsencode(path.name))
    finally:
        os.close(fd)
    with suppress(OSError):
        path.parent.rmdir()
