"""Waiting for changes in a directory, by inotify(7)."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from corten.kernel import inotify

_BUFFER = 65536


class DirectoryWatch:
    """Says when something in a directory was written, made or renamed. A context manager; used in the loop's thread."""

    def __init__(self, directory: Path) -> None:
        self._changed = asyncio.Event()
        self._fd = inotify.watch(os.fsencode(directory), inotify.IN_MODIFY | inotify.IN_MOVED_TO | inotify.IN_CREATE)

    def __enter__(self) -> DirectoryWatch:
        asyncio.get_running_loop().add_reader(self._fd, self._readable)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.get_running_loop().remove_reader(self._fd)
        os.close(self._fd)

    def _readable(self) -> None:
        try:
            os.read(self._fd, _BUFFER)  # what happened does not matter: the reader looks for itself
        except BlockingIOError:
            return
        self._changed.set()

    async def changed(self) -> None:
        """Return when something changed since the last call."""
        await self._changed.wait()
        self._changed.clear()
