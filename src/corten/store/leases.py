"""Leases: what work in flight still needs, so that garbage collection does not remove it.

    with leases.hold() as lease:
        lease.add("blob", digest)          # before looking whether it is there
        ...
                                           # from here on only images reference it

They are in memory: the work of a killed daemon has ended, and releasing a lease must not need room on a full disk.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager

OnFree = Callable[[Collection[tuple[str, str]]], object]


class Lease:
    """What one piece of work needs. Thread-safe."""

    def __init__(self, leases: Leases) -> None:
        self._leases = leases
        self._names: set[tuple[str, str]] = set()

    def add(self, kind: str, *names: str) -> None:
        self._leases.change(self._names, {(kind, name) for name in names}, 1)

    def collect(self) -> None:
        """What it holds goes when it is leased no more, and nothing needs it then."""
        with self._leases.closed():
            for kind, name in self._names:
                self._leases.later(kind, [name])

    def release(self) -> None:
        """Release everything. Idempotent."""
        self._leases.change(self._names, set(self._names), -1)


class Leases:
    """kind is "blob" or "snapshot"; name a digest or a chain id."""

    def __init__(self, on_free: OnFree = lambda names: None) -> None:
        """`on_free` gets the names that `later` marked, once they are leased no more."""
        self._lock = threading.RLock()
        self._count: dict[tuple[str, str], int] = {}
        self._later: set[tuple[str, str]] = set()
        self._on_free = on_free

    @contextmanager
    def hold(self) -> Iterator[Lease]:
        lease = Lease(self)
        try:
            yield lease
        finally:
            lease.release()

    def closed(self) -> AbstractContextManager[object]:
        """While this is held nothing is leased and no lease is released: what is not held now can be removed.

        Whether an image needs something is checked in here: an image is recorded before its lease ends.
        """
        return self._lock

    def held(self, kind: str, names: Iterable[str]) -> set[str]:
        """Those of `names` that some lease holds."""
        with self._lock:
            return {name for name in names if (kind, name) in self._count}

    def later(self, kind: str, names: Iterable[str]) -> None:
        """Mark those of `names` that are leased: `on_free` is called when the last lease on them ends."""
        with self._lock:
            self._later |= {(kind, name) for name in names if (kind, name) in self._count}

    def change(self, own: set[tuple[str, str]], names: set[tuple[str, str]], step: int) -> None:
        """Count `names` up for, or down from, the lease whose set is `own`."""
        freed = set()
        with self._lock:
            for name in names - own if step > 0 else names & own:
                self._count[name] = self._count.get(name, 0) + step
                if not self._count[name]:
                    del self._count[name]
                    freed.add(name)
            if step > 0:
                own |= names
            else:
                own -= names
            freed &= self._later
            self._later -= freed
        if freed:
            self._on_free(freed)
