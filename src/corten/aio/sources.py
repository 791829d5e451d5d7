"""Asynchronous iterators that are closed in time."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import TypeVar

T = TypeVar("T")


@asynccontextmanager
async def closing(source: AsyncIterator[T]) -> AsyncIterator[AsyncIterator[T]]:
    """`source`, closed at the end of the block.

    A generator that is left half-way after an error keeps what it holds, files and watches, until the collector of
    cyclic garbage gets to it: the error's traceback refers to it. In a daemon at rest that can take for ever.
    """
    try:
        yield source
    finally:
        if isinstance(source, AsyncGenerator):
            await source.aclose()
