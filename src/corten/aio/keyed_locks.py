"""One at a time for each key, first come first served.

    locks: KeyedLocks[str] = KeyedLocks()
    async with locks.lock(digest): ...     # waits for earlier tasks with the same digest

A key exists only while its lock is held or awaited. If releasing the lock deleted the key, the tasks that wait on the
old lock and a later one on a new lock would run at the same time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Hashable
from typing import Generic, TypeVar
from weakref import WeakValueDictionary

K = TypeVar("K", bound=Hashable)


class KeyedLocks(Generic[K]):
    """For one event loop."""

    def __init__(self) -> None:
        self._locks: WeakValueDictionary[K, asyncio.Lock] = WeakValueDictionary()  # its users refer to it

    def lock(self, key: K) -> asyncio.Lock:
        """The lock of `key`, to be entered at once: it exists only as long as it is referred to."""
        lock = self._locks.get(key)
        if lock is None:
            lock = self._locks[key] = asyncio.Lock()
        return lock

    def __len__(self) -> int:
        """How many keys are in use."""
        return len(self._locks)
