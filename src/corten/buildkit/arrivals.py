"""Things that are found by their id, also by those that ask for them a little before they come: a client opens several
connections at once."""

from __future__ import annotations

import asyncio
from typing import Generic, TypeVar

from corten.errors import Conflict, Unavailable

T = TypeVar("T")
WAIT = 6.0  # seconds for one that has not come yet
_SHOWN = 100  # characters of an id


class Arrivals(Generic[T]):
    """`what` they are, in messages; at most so many of them."""

    def __init__(self, what: str, most: int = 1000) -> None:
        self._what = what
        self._most = most
        self._here: dict[str, T] = {}
        self._news = asyncio.Event()

    def add(self, id: str, one: T) -> None:
        """Raises Conflict when there is one of this id, Unavailable when there are as many as there may be."""
        if id in self._here:
            raise Conflict(f"the {self._what} {id[:_SHOWN]!r} is here already")
        if len(self._here) >= self._most:
            raise Unavailable(f"{self._most} {self._what}s are the most there can be at a time")
        self._here[id] = one
        self._news.set()
        self._news = asyncio.Event()

    def remove(self, id: str) -> None:
        self._here.pop(id, None)

    async def find(self, id: str) -> T:
        """Wait for it. Raises Unavailable when it does not come."""
        try:
            async with asyncio.timeout(WAIT):
                while id not in self._here:
                    await self._news.wait()
        except TimeoutError:
            raise Unavailable(f"no active {self._what} for {id[:_SHOWN]}: context deadline exceeded") from None
        return self._here[id]
