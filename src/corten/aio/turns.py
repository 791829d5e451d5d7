"""One at a time for each key, first come first served.

    turns: Turns[str] = Turns()
    async with turns.of(digest): ...       # waits for all who came before with the same digest

A key is known while somebody has its turn or waits for it, and not a moment less: were it forgotten by the one who
leaves, those who wait and one who comes then would be let in side by side.
"""

from __future__ import annotations

import asyncio
from collections.abc import Hashable
from typing import Generic, TypeVar
from weakref import WeakValueDictionary

K = TypeVar("K", bound=Hashable)


class Turns(Generic[K]):
    """For one event loop."""

    def __init__(self) -> None:
        self._locks: WeakValueDictionary[K, asyncio.Lock] = WeakValueDictionary()  # held by those who use them

    def of(self, key: K) -> asyncio.Lock:
        lock = self._locks.get(key)
        if lock is None:
            lock = self._locks[key] = asyncio.Lock()
        return lock

    def __len__(self) -> int:
        """How many keys are in use."""
        return len(self._locks)
