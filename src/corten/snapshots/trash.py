"""Removal of trees: renamed away at once, deleted a little later in a thread."""

from __future__ import annotations

import logging
import os
import queue
import secrets
import threading
from pathlib import Path

from corten.layers import tree

_log = logging.getLogger(__name__)


class Trash:
    """A directory whose content is pending deletion. What a crash left in it is deleted by the next `Trash` of it.

    `stuck` is what could not be removed, with the error, by its name in `path`. It is tried again by `retry`, and by
    the next daemon.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.stuck: dict[str, str] = {}
        self._queue: queue.SimpleQueue[bytes | threading.Event | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        for name in os.listdir(path) if path.is_dir() else ():
            self._later(os.fsencode(name))

    def take(self, victim: Path) -> None:
        """Rename `victim`, which is on the same file system, into the trash. Does nothing when it is absent."""
        name = secrets.token_hex(8)  # not the process id: after a crash the next daemon may have the same
        try:
            os.rename(victim, self.path / name)
        except FileNotFoundError:
            if not self.path.is_dir():  # made on first use: a daemon has to start on a full disk too
                self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
                self.take(victim)
            return
        self._later(name.encode())

    def retry(self, name: str) -> str:
        """Try again to remove what was stuck; returns the error, "" when it is removed. Blocks."""
        self._later(os.fsencode(name))
        self.drain()
        return self.stuck.get(name, "")

    def drain(self) -> None:
        """Wait until everything in it by now has been removed, or could not be."""
        done = threading.Event()
        self._later(done)
        done.wait()

    def _later(self, name: bytes | threading.Event) -> None:
        self._queue.put(name)
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="corten-trash", daemon=True)
                self._thread.start()

    def _work(self) -> None:
        while (name := self._queue.get()) is not None:
            if isinstance(name, threading.Event):
                name.set()
            else:
                self._remove(os.fsdecode(name))

    def _remove(self, name: str) -> None:
        try:
            top = tree.open_directory(os.fsencode(self.path))
            try:
                tree.remove(top, os.fsencode(name))
            finally:
                os.close(top)
            self.stuck.pop(name, None)
        except Exception as error:  # it stays in the trash; the thread has to go on with the others
            self.stuck[name] = str(error)
            _log.warning("cannot remove %s/%s: %s", self.path, name, error)

    def close(self) -> None:
        """Finish what is queued, then stop the thread."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._queue.put(None)
            thread.join()
