"""Waiting for changes in a directory, by inotify(7).

Instances and watches of it are counted for each user of the machine (fs.inotify.max_user_instances, 128 at first). So
all that is watched in an event loop has one instance, open as long as there is something to watch. Root of a container
is the same user, and what a user namespace has counts for who made it: any container can have them all. Then this
looks again after a moment instead.
"""

from __future__ import annotations

import asyncio
import errno
import os
from contextlib import suppress
from pathlib import Path

from corten.kernel import inotify

_EVENTS = inotify.IN_MODIFY | inotify.IN_MOVED_TO | inotify.IN_CREATE
_NONE_LEFT = (errno.EMFILE, errno.ENOSPC)
_MOMENT = 0.25  # seconds


class _Instance:
    """That of an event loop. `fd` is open while anything is watched."""

    def __init__(self) -> None:
        self._fd = -1
        self._watching: dict[int, set[DirectoryWatch]] = {}  # by inotify's number, which a directory has once

    def add(self, one: DirectoryWatch, directory: Path) -> int:
        """Raises OSError."""
        try:
            if self._fd < 0:
                self._fd = inotify.instance()
                asyncio.get_running_loop().add_reader(self._fd, self._readable)
            number = inotify.add(self._fd, os.fsencode(directory), _EVENTS)
            self._watching.setdefault(number, set()).add(one)
        finally:
            self._rest()
        return number

    def remove(self, one: DirectoryWatch, number: int) -> None:
        self._watching[number].discard(one)
        if not self._watching[number]:
            del self._watching[number]
            with suppress(OSError):  # the directory has gone
                inotify.remove(self._fd, number)
        self._rest()

    def _rest(self) -> None:
        if self._watching:
            return
        loop = asyncio.get_running_loop()
        _instances.pop(loop, None)
        if self._fd >= 0:
            loop.remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1

    def _readable(self) -> None:
        numbers = inotify.changed(self._fd)
        for number in self._watching if inotify.OVERFLOW in numbers else numbers:
            for one in self._watching.get(number, ()):
                one.set()


_instances: dict[asyncio.AbstractEventLoop, _Instance] = {}


class DirectoryWatch:
    """Says when something in a directory was written, made or renamed. A context manager; used in the loop's thread."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._changed = asyncio.Event()
        self._number = -1

    def __enter__(self) -> DirectoryWatch:
        """Raises OSError."""
        self._instance = _instances.setdefault(asyncio.get_running_loop(), _Instance())
        try:
            self._number = self._instance.add(self, self._directory)
        except OSError as error:
            if error.errno not in _NONE_LEFT:
                raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._number >= 0:
            self._instance.remove(self, self._number)

    def set(self) -> None:
        """Something has happened. What it was does not matter: the reader looks for itself."""
        self._changed.set()

    async def changed(self) -> None:
        """Return when something changed since the last call, or may have."""
        if self._number < 0:
            await asyncio.sleep(_MOMENT)
            return
        await self._changed.wait()
        self._changed.clear()
