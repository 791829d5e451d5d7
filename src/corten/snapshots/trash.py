"""Removal of trees: renamed away at once, deleted a little later in a thread."""

from __future__ import annotations

import logging
import os
import queue
import secrets
import threading
import time
from collections.abc import Callable
from pathlib import Path

from corten.layers import tree

_PIECE = 1.0  # seconds of erasing one tree while others wait
_RETRY = (15.0, 3600.0)  # seconds until what is stuck is tried again: at first, and at most; it doubles
_log = logging.getLogger(__name__)


class Trash:
    """A directory whose content is pending deletion. What a crash left in it is deleted by the next `Trash` of it.

    One thread deletes, and a large tree gives way to the others each second, so that they wait for seconds and not for
    its millions of files. `stuck` is what could not be removed, with the error, by its name in `path`. It is tried
    again after a while, by `retry`, and by the next daemon.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.stuck: dict[str, str] = {}
        self._queue: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._pending: dict[str, int] = {}  # names that are queued or being deleted, and how often
        self._settled = threading.Condition()
        self._retries: dict[str, tuple[float, float]] = {}  # by the thread alone: when, and how long it has waited
        self._thread: threading.Thread | None = None
        for name in os.listdir(path) if path.is_dir() else ():
            self._later(name)

    def take(self, victim: Path | str) -> None:
        """Rename `victim`, which is on the same file system, into the trash. Does nothing when it is absent."""
        name = secrets.token_hex(8)  # no number: one process after a crash may have the id of the one before
        try:
            os.rename(victim, f"{self.path}/{name}")
        except FileNotFoundError:
            if not self.path.is_dir():  # it is made when it is needed: on a full disk, a daemon has to start
                self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
                self.take(victim)
            return
        self._later(name)

    def retry(self, name: str) -> str:
        """Try again to remove what was stuck; returns the error, "" when it is removed. Blocks."""
        self._later(name)
        self._wait_for({name})
        return self.stuck.get(name, "")

    def drain(self) -> None:
        """Wait until everything in it by now has been removed, or could not be."""
        with self._settled:
            names = set(self._pending)
        self._wait_for(names)

    def _wait_for(self, names: set[str]) -> None:
        with self._settled:
            self._settled.wait_for(lambda: names.isdisjoint(self._pending))

    def _later(self, name: str) -> None:
        with self._settled:
            self._pending[name] = self._pending.get(name, 0) + 1
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="corten-trash", daemon=True)
                self._thread.start()
        self._queue.put(name)

    def _work(self) -> None:
        ending = False
        while not (ending and self._queue.empty()):
            try:
                name = self._queue.get(timeout=self._until_a_retry())
            except queue.Empty:
                self._retry_due()
                continue
            if name is None:
                ending = True
            elif not self._remove(name):
                self._queue.put(name)
            else:
                self._settle(name)

    def _settle(self, name: str) -> None:
        with self._settled:
            self._pending[name] -= 1
            if not self._pending[name]:
                del self._pending[name]
            self._settled.notify_all()

    def _until_a_retry(self) -> float | None:
        """Seconds; None when nothing is stuck."""
        due = min((due for due, _ in self._retries.values()), default=None)
        return None if due is None else max(0.0, due - time.monotonic())

    def _retry_due(self) -> None:
        now = time.monotonic()
        for name in [name for name, (due, _) in self._retries.items() if due <= now]:
            if not self._remove(name):
                self._later(name)

    def _remove(self, name: str) -> bool:
        """False when it gave way to others, and has to be gone on with."""
        try:
            top = tree.open_directory(os.fsencode(self.path))
            try:
                if not tree.remove(top, os.fsencode(name), self._piece()):
                    return False
            finally:
                os.close(top)
            self.stuck.pop(name, None)
            self._retries.pop(name, None)
        except Exception as error:  # it stays in the trash; the thread has to go on with the others
            self._stays(name, str(error))
        return True

    def _stays(self, name: str, error: str) -> None:
        if self.stuck.get(name) != error:
            _log.warning("cannot remove %s/%s, it is tried again: %s", self.path, name, error)
        self.stuck[name] = error
        wait = min(_RETRY[1], 2 * self._retries[name][1]) if name in self._retries else _RETRY[0]
        self._retries[name] = (time.monotonic() + wait, wait)

    def _piece(self) -> Callable[[], bool]:
        """Says when one tree has had its turn, from the first thing on that has been removed of it."""
        ends: list[float] = []

        def enough() -> bool:
            now = time.monotonic()
            if not ends:
                ends.append(now + _PIECE)
            return now >= ends[0] and not self._queue.empty()

        return enough

    def close(self) -> None:
        """Finish what is queued, then stop the thread."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._queue.put(None)
            thread.join()
