"""A stream that is stored and, meanwhile, unpacked: what is refused there ends it before its sender does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

from corten.aio.sources import run_until
from corten.errors import Failed
from corten.images.unpack import Unpacked
from corten.snapshots.tree_store import Draft
from corten.store.blobs import Ingest
from corten.store.feed import Feed, Readers

T = TypeVar("T")
Take = Callable[[Feed, Callable[[Ingest], None]], T]


async def received(
    readers: Readers,
    body: AsyncIterator[bytes],
    take: Take[T],
    follow: Callable[[Ingest], Awaitable[Unpacked | None]],
    discard: Callable[[Draft], None],
) -> tuple[T, Unpacked | None]:
    """What `take(feed, began)` makes of `body` in a thread of its own, and what `follow` makes of the ingest that it
    has begun: None when that is to be unpacked once it is complete.

    Raises what `take` does, what is wrong with the body, and what `follow` refuses, as soon as it does. `take` may have
    come to its end by then.
    """
    begun: asyncio.Future[Ingest] = asyncio.get_running_loop().create_future()
    following = asyncio.ensure_future(_follow(begun, follow))
    taken: list[T] = []

    async def store() -> None:
        taken.append(await readers.run(body, lambda feed: take(feed, lambda ingest: _set(begun, ingest))))

    try:
        await run_until(_refused(following), store())
        unpacked = await following
        return taken[0], unpacked
    except BaseException:
        following.cancel()
        await asyncio.wait({following})
        if not following.cancelled() and following.exception() is None and (found := following.result()):
            discard(found.draft)
        raise
    finally:
        del following  # an error's traceback refers to this frame


def _set(begun: asyncio.Future[Ingest], ingest: Ingest) -> None:
    """Thread-safe."""
    begun.get_loop().call_soon_threadsafe(lambda: None if begun.done() else begun.set_result(ingest))


async def _follow(
    begun: asyncio.Future[Ingest], follow: Callable[[Ingest], Awaitable[Unpacked | None]]
) -> Unpacked | None:
    try:
        return await follow(await begun)
    except (Failed, OSError):  # it did not come to its end, or had done so before
        return None


async def _refused(following: asyncio.Future[Unpacked | None]) -> None:
    await asyncio.wait({following})
    if following.cancelled() or following.exception() is None:
        await asyncio.Event().wait()  # that is no end of the body
