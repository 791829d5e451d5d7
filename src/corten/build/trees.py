"""The trees of clients' directories, and what is kept of repositories: below `root`, one for each key, brought up to
date by each transfer.

    root/KEY/NUMBER     KEY is a digest: of the client's shared key and the directory's name; of a repository's address
    root/KEY/size       bytes of its files, as its client says them

A tree belongs to one build at a time; a second build of the same key at that time gets one of its own. Those that are
in no build are kept until they are old, too many, or have too many bytes.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from corten.aio.threads import DISK, run_uncancelled, to_removal_thread
from corten.aio.whole import to_the_end
from corten.errors import Conflict, CortenError, NotFound
from corten.layers import tree as trees

log = logging.getLogger(__name__)
LOCAL, GIT = "source.local", "source.git.checkout"
KEPT = 16  # trees that are in no build
_KEEP = 30 * 86400.0  # seconds
_SIZE = "size"


@dataclass(frozen=True, slots=True)
class KeptTree:
    """`key` is what `remove` takes; `size` in bytes; `used` seconds since the epoch; `type` that of its row."""

    key: str
    size: int
    used: float
    in_use: bool
    type: str
    depth: int = 0


class Trees:
    """`take` a tree for a build, `give` it back. `most` is how many bytes those may have that are in no build, `type`
    what a list of the cache calls them; `mkdir` makes the directory of one."""

    def __init__(
        self,
        root: Path,
        most: Callable[[], int] = lambda: 1 << 62,
        type: str = LOCAL,
        mkdir: Callable[[Path, int], None] = os.mkdir,
    ) -> None:
        self.type = type
        self._root = root
        self._most = most
        self._mkdir = mkdir
        self._idle: dict[str, list[Path]] | None = None  # by key
        self._taken: set[Path] = set()
        self._names: dict[Path, str] = {}

    def take(self, key: str) -> Path:
        """An old one of this key, or a new one, empty. Blocks for a moment."""
        digest = hashlib.sha256(key.encode()).hexdigest()
        idle = self._found()
        path = idle[digest].pop() if idle.get(digest) else self._new(digest)
        os.makedirs(path, exist_ok=True)  # where others have removed an old one
        os.chmod(path, 0o755)  # whatever the umask is: a step of any user reads what a bind mount shows of it
        self._taken.add(path)
        return path

    async def taken(self, key: str) -> Path:
        """The same in a thread. What was taken as the caller is cancelled is given back as it was."""
        late: list[Path] = []
        try:
            return await run_uncancelled(partial(self.take, key), late.append, DISK)
        except asyncio.CancelledError:
            for path in late:
                await to_the_end(self.give(path, True, self._size(path.parent.name)))
            raise

    def has(self, key: str) -> bool:
        """Whether there is one of this key that is in no build. Blocks for a moment, the first time."""
        return bool(self._found().get(hashlib.sha256(key.encode()).hexdigest()))

    def _new(self, digest: str) -> Path:
        path = self._root / digest / secrets.token_hex(8)
        os.makedirs(path.parent, exist_ok=True)
        self._mkdir(path, 0o700)
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
                    self._idle[each.name] = [path for path in each.iterdir() if path.name != _SIZE]
        return self._idle

    async def give(self, path: Path, whole: bool, size: int = 0) -> None:
        """Keep it for the next build of its key, unless there is one, or it is not `whole`. `size`: bytes of files."""
        idle = self._found()
        gone = []
        self._taken.discard(path)
        if not whole or idle.get(path.parent.name):
            gone.append(path)
        else:
            (path.parent / _SIZE).write_text(str(size))
            os.utime(path.parent)
            idle.setdefault(path.parent.name, []).append(path)
            gone += self._old(idle)
        await self._remove(gone)

    async def _remove(self, gone: list[Path]) -> None:
        for each in gone:
            self._names.pop(each, None)
            try:
                await to_removal_thread(_remove, each)
            except (CortenError, OSError) as error:
                log.warning("the tree %s was not removed: %s", each, error)

    def _old(self, idle: dict[str, list[Path]]) -> list[Path]:
        """What is to be removed, which is not in `idle` any more: what was used longest ago first."""
        used = sorted((self._used(key), key) for key, found in idle.items() if found)
        total, most, gone = sum(self._size(key) for _, key in used), self._most(), list[str]()
        for age, key in used:
            if age < time.time() - _KEEP or len(used) - len(gone) > KEPT or total > most:
                gone.append(key)
                total -= self._size(key)
        return [path for key in gone for path in idle.pop(key)]

    def _used(self, key: str) -> float:
        try:
            return os.stat(self._root / key).st_mtime
        except FileNotFoundError:
            return 0

    def _size(self, key: str) -> int:
        """0 for a tree of before sizes were written down."""
        try:
            return int((self._root / key / _SIZE).read_text())
        except (FileNotFoundError, ValueError):
            return 0

    # ------------------------------------------------------------------------------------------------ all there are

    def every(self) -> list[KeptTree]:
        """Those that are in no build, and those of a build under way. Reads a small file for each."""
        keys = {key for key, found in self._found().items() if found}
        taken = {path.parent.name for path in self._taken}
        every = sorted(keys | taken)
        return [KeptTree(key, self._size(key), self._used(key), key in taken, self.type) for key in every]

    async def remove(self, key: str) -> None:
        """Raises NotFound, and Conflict while a build has it."""
        if any(path.parent.name == key for path in self._taken):
            raise Conflict(f"the tree {key[:25]} is in use")
        if not (found := self._found().pop(key, None)):
            raise NotFound(f"no such tree: {key[:25]}")
        await self._remove(found)


def _remove(path: Path) -> None:
    fd = trees.open_directory(os.fsencode(path.parent))
    try:
        with suppress(FileNotFoundError):
            trees.remove(fd, os.fsencode(path.name))
        if not set(os.listdir(fd)) - {_SIZE}:
            with suppress(FileNotFoundError):
                os.unlink(_SIZE, dir_fd=fd)
    finally:
        os.close(fd)
    with suppress(OSError):
        path.parent.rmdir()
