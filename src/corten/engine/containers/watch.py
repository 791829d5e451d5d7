"""Waiting for changes in a directory, by inotify(7).

Instances and watches of it are counted for each user of the machine (fs.inotify.max_user_instances, 128 at first). Root
of a container is the same user, and what a user namespace has counts for who made it: any container can have them all.
Then this looks again after a moment instead.
"""

from __future__ import annotations

import asyncio
import errno
import os
from pathlib import Path

from corten.kernel import inotify

_BUFFER = 65536
_NONE_LEFT = (errno.EMFILE, errno.ENOSPC)
_MOMENT = 0.25  # seconds


class DirectoryWatch:
    """Says when something in a directory was written, made or renamed. A context manager; used in the loop's thread."""

    def __init__(self, directory: Path) -> None:
        self._changed = asyncio.Event()
        self._fd = _watch(directory)

    def __enter__(self) -> DirectoryWatch:
        if self._fd is not None:
            asyncio.get_running_loop().add_reader(self._fd, self._readable)
        return self

    def __exit__(self, *_: object) -> None:
        if self._fd is not None:
            asyncio.get_running_loop().remove_reader(self._fd)
            os.close(self._fd)

    def _readable(self) -> None:
        assert self._fd is not None
        try:
            os.read(self._fd, _BUFFER)  # what happened does not matter: the reader looks for itself
        except BlockingIOError:
            return
        self._changed.set()

    async def changed(self) -> None:
        """Return when something changed since the last call, or may have."""
        if self._fd is None:
            await asyncio.sleep(_MOMENT)
            return
        await self._changed.wait()
        self._changed.clear()


def _watch(directory: Path) -> int | None:
    try:
        return inotify.watch(os.fsencode(directory), inotify.IN_MODIFY | inotify.IN_MOVED_TO | inotify.IN_CREATE)
    except OSError as error:
        if error.errno in _NONE_LEFT:
            return None
        raise
