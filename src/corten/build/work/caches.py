"""Directories of `RUN --mount=type=cache`: they outlive builds, until they are removed.

    <root>/HASH/N/id    the mount's id, as text        HASH is of the id, which is never part of a path
    <root>/HASH/N/fs    what steps put there           N above 0 are those of "private" mounts in use at one time

    <root>/HASH/N/seeded    it was filled with an archive: the first mount says what it is like

A directory without `id` is one that a daemon was killed while it made it, or that is being filled.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from corten.aio.keyed_locks import KeyedLocks
from corten.aio.threads import to_removal_thread, to_walk_thread
from corten.build.contract import CacheMount, SourceTree, StageTree
from corten.errors import Conflict, NotFound
from corten.layers import tree as trees
from corten.spec.mounts import Mount

_FILLING = 10**9  # numbers of directories that have no other yet


class Seeds(Protocol):
    """Fills an empty directory with what a tree has at a path (`corten.tasks.workers.LauncherWorkers.copy_up`)."""

    async def __call__(self, volume: Path, rootfs: Sequence[Mount], path: str) -> bool: ...


class Views(Protocol):
    """A tree as a read-only mount."""

    def __call__(self, tree: StageTree | SourceTree) -> Mount: ...


@dataclass(frozen=True, slots=True)
class CacheDirectory:
    """`name` is what `remove` takes; `bytes` are those of its files, `used` is when a step had it last."""

    name: str
    id: str
    bytes: int
    used: float
    in_use: bool


class Caches:
    def __init__(self, root: Path, seed: Seeds, view: Views) -> None:
        self._root = root
        self._seed = seed
        self._view = view
        self._used: Counter[str] = Counter()
        self._locked: KeyedLocks[str] = KeyedLocks()  # those of "locked" mounts
        self._making: KeyedLocks[str] = KeyedLocks()

    def recover(self) -> None:
        """At start: remove what was not completed."""
        for path in [p for above in _directories(self._root) for p in _directories(above) if not (p / "id").exists()]:
            trees.erase(path)

    async def hold(self, mount: CacheMount, held: AsyncExitStack) -> Path:
        """The mount's directory, made where it is not there yet, until `held` ends. Waits where only one step may have
        it at a time."""
        key = _key(mount.id)
        if mount.sharing == "locked":
            await held.enter_async_context(self._locked.lock(key))
        async with self._making.lock(key):
            number = 0
            while mount.sharing == "private" and self._used[f"{key}/{number}"]:
                number += 1
            name = f"{key}/{number}"
            path = self._root / name
            if not (path / "id").exists():
                await self._make(path, mount)
            elif (path / "seeded").exists():
                _like(path, mount)
            self._used[name] += 1
            held.callback(self._release, name)
        os.utime(path)
        return path / "fs"

    def _release(self, name: str) -> None:
        self._used[name] -= 1
        self._used = +self._used

    async def _make(self, path: Path, mount: CacheMount) -> None:
        if path.exists():
            await to_removal_thread(trees.erase, path)
        path.mkdir(mode=0o700, parents=True)
        directory = path / "fs"
        directory.mkdir(mode=0o700)
        if mount.tree is not None and not (isinstance(mount.tree, StageTree) and mount.tree.top is None):
            await self._seed(directory, [self._view(mount.tree)], mount.path)
        _like(path, mount)
        _name(path, mount.id)

    # ------------------------------------------------------------------------------------------------- from outside

    @contextmanager
    def held(self, id: str) -> Iterator[Path]:
        """The directory of an id, which stays meanwhile. Raises NotFound."""
        name = f"{_key(id)}/0"
        if not (self._root / name / "id").exists():
            raise NotFound(f"no such cache: {id}")
        self._used[name] += 1
        try:
            yield self._root / name / "fs"
        finally:
            self._release(name)

    async def seed(self, id: str, fill: Callable[[Path], Awaitable[None]], replace: bool) -> None:
        """Make the directory of an id of what `fill` puts into an empty one; builds go on meanwhile.

        Raises Conflict where there is one that is not to be replaced, or that a step has; what `fill` raises.
        """
        key = _key(id)
        filled = self._root / key / f"{_FILLING + secrets.randbelow(_FILLING)}"
        (filled / "fs").mkdir(mode=0o700, parents=True)
        try:
            await fill(filled / "fs")
            (filled / "seeded").touch()
            async with self._making.lock(key):
                await self._put(key, id, filled, replace)
        finally:
            await to_removal_thread(trees.erase, filled)
            with suppress(OSError):  # there are others
                filled.parent.rmdir()

    async def _put(self, key: str, id: str, filled: Path, replace: bool) -> None:
        path = self._root / key / "0"
        if self._used[f"{key}/0"]:
            raise Conflict(f"cache {id} is in use")
        if (path / "id").exists():
            if not replace:
                raise Conflict(f"cache {id} is there already")
            (path / "id").unlink()
        if path.exists():
            await to_removal_thread(trees.erase, path)
        filled.rename(path)
        _name(path, id)

    # ------------------------------------------------------------------------------------------------ all there are

    async def every(self) -> list[CacheDirectory]:
        return await to_walk_thread(self._every)

    def _every(self) -> list[CacheDirectory]:
        found = []
        for above in _directories(self._root):
            for path in _directories(above):
                name = f"{above.name}/{path.name}"
                try:
                    id = (path / "id").read_text(errors="surrogateescape")
                    top = trees.open_directory(os.fsencode(path / "fs"))
                    try:
                        size, _ = trees.usage(top)
                    finally:
                        os.close(top)
                    used = path.stat().st_mtime
                except FileNotFoundError:  # it is being made, or removed
                    continue
                found.append(CacheDirectory(name, id, size, used, bool(self._used[name])))
        return found

    async def remove(self, name: str) -> None:
        """Raises NotFound, and Conflict while a step has it."""
        key, _, number = name.partition("/")
        if not (len(key) == 64 and key.isalnum() and number.isdigit()):
            raise NotFound(f"no such cache: {name}")
        async with self._making.lock(key):
            path = self._root / name
            if not path.is_dir():
                raise NotFound(f"no such cache: {name}")
            if self._used[name]:
                raise Conflict(f"cache {name} is in use")
            (path / "id").unlink(missing_ok=True)
            await to_removal_thread(trees.erase, path)
            if not os.listdir(path.parent):
                path.parent.rmdir()


def _key(id: str) -> str:
    return hashlib.sha256(id.encode("utf-8", "surrogateescape")).hexdigest()


def _like(path: Path, mount: CacheMount) -> None:
    os.chown(path / "fs", mount.uid, mount.gid)
    os.chmod(path / "fs", mount.mode)
    (path / "seeded").unlink(missing_ok=True)


def _name(path: Path, id: str) -> None:
    (path / "id").write_text(id, errors="surrogateescape")


def _directories(path: Path) -> list[Path]:
    return sorted(path.iterdir()) if path.is_dir() else []
