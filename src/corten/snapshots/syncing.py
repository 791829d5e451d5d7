"""syncfs(2) of everything that was written since a point in time, without losing a write-back error.

    with Syncing(root) as sync:      # before the first byte is written
        ...
        sync()                       # in a thread; OSError when any of it could not be written

The kernel reports a write-back error once to each descriptor that was open when it happened (errseq_t). So one
descriptor is opened before and used throughout: one that is opened afterwards gets no error that another descriptor
has reported. And an error that one call has met, every later call raises again.
"""

from __future__ import annotations

import ctypes
import os
import threading
from concurrent.futures import Future
from pathlib import Path
from types import TracebackType

from corten.aio.threads import DISK
from corten.layers import tree

# syncfs takes seconds: unlike the kernel room's library, this one gives the interpreter lock back meanwhile.
_libc = ctypes.CDLL(None, use_errno=True)


class Syncing:
    """A call syncs, and raises OSError. Thread-safe, until the block ends."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._fd = tree.open_directory(os.fsencode(root))
        self._error = 0
        self._lock = threading.Lock()  # a second caller waits for the error of the first

    def __call__(self) -> None:
        with self._lock:
            if not self._error and _syncfs(self._fd):
                self._error = ctypes.get_errno()
            if self._error:
                raise OSError(self._error, f"{os.strerror(self._error)} in syncfs({str(self._root)!r})")

    def ahead(self) -> Future[None]:
        """What was written by now, in a thread that need not be waited for: the call at the end has less to wait for,
        and raises what this one met."""
        return DISK.submit(
            self._ahead, os.dup(self._fd)
        )  # the same open file: an error is reported once for both descriptors

    def _ahead(self, fd: int) -> None:
        try:
            with self._lock:
                if not self._error and _syncfs(fd):
                    self._error = ctypes.get_errno()
        finally:
            os.close(fd)

    def __enter__(self) -> Syncing:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._fd)


def _syncfs(fd: int) -> int:
    status: int = _libc.syncfs(fd)
    return status
