"""A stream from the event loop to a thread that reads it.

    readers = Readers(256, "loads")
    result = await readers.run(body, work)     # work(feed), in a thread of its own

Such a thread waits for its sender, so it is none of those that other work needs: each stream has its own, from its
first byte on. How many there may be is bounded by `limit`; a stream that comes when there are as many is refused.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future
from typing import Protocol, TypeVar

from corten.aio.sources import closing, run_until
from corten.errors import Corrupt, Exhausted, Unavailable
from corten.store.compression import Decoder, detect
from corten.store.pipes import Pipe

T = TypeVar("T")
S = TypeVar("S", bound="Stream")
_ROOM = 1 << 20  # bytes between the event loop and the thread; above that the sender waits
_HEAD = 8  # bytes that say how a stream is compressed


class Stream(Protocol):
    """What a thread reads."""

    def leave(self) -> None:
        """The thread reads no more."""


class Feed:
    """Pieces of bytes from the event loop to one thread."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._changed = threading.Condition()
        self._pieces: list[bytes] = []
        self._size = 0
        self._ended = self._broken = False
        self._left = False  # the thread reads no more
        self._room: asyncio.Future[None] | None = None  # what the sender waits for

    # --- the event loop's side

    async def put(self, piece: bytes) -> bool:
        """Hand over a piece and wait until there is room for another; False when the thread reads no more."""
        with self._changed:
            if self._left:
                return False
            self._pieces.append(piece)
            self._size += len(piece)
            self._changed.notify()
            if self._size < _ROOM:
                return True
            room = self._room = self._loop.create_future()
        await room
        return not self._left

    def end(self, broken: bool = False) -> None:
        """No more comes. `broken`: that is not the stream's end, and the reader gets Corrupt there."""
        with self._changed:
            self._ended, self._broken = True, broken
            self._changed.notify()

    # --- the thread's side

    def pieces(self) -> Iterator[bytes]:
        """All pieces. Raises Corrupt when the stream breaks off."""
        while taken := self._take():
            yield from taken
            del taken  # it would be kept while the next is waited for
        if self._broken:
            raise Corrupt("the request's body broke off")

    def _take(self) -> list[bytes]:
        """What has come; waits for the first. Nothing at the end."""
        with self._changed:
            while not self._pieces and not self._ended:
                self._changed.wait()
            taken, self._pieces, self._size = self._pieces, [], 0
            self._wake()
        return taken

    def leave(self) -> None:
        with self._changed:
            self._left = True
            self._wake()

    def _wake(self) -> None:
        if self._room is not None:
            self._loop.call_soon_threadsafe(_done, self._room)
            self._room = None

    def decoded(self, keep: tuple[str, ...] = ()) -> Iterator[bytes]:
        """Decompressed, unless the kind is one of `keep`."""
        source = self.pieces()
        head = b""
        for piece in source:
            head += piece
            if len(head) >= _HEAD:
                break
        kind = detect(head)
        decoder = Decoder("tar" if kind in keep else kind)
        yield from _decode(decoder, head)
        for piece in source:
            yield from _decode(decoder, piece)
        decoder.finish()


def _done(room: asyncio.Future[None]) -> None:
    if not room.done():
        room.set_result(None)


def _decode(decoder: Decoder, piece: bytes) -> Iterator[bytes]:
    yield decoder.feed(piece)
    while decoder.pending:
        yield decoder.feed(b"")


async def decoded(body: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """`Feed.decoded` without a thread that waits: one is used for each piece that is compressed.

    Raises Corrupt when the stream is damaged.
    """
    head, decoder = b"", None
    async for piece in body:
        if decoder is None:
            head += piece
            if len(head) < _HEAD:
                continue
            piece, decoder = head, Decoder(detect(head))
        async for out in _decode_in_thread(decoder, piece):
            yield out
    if decoder is None:
        decoder = Decoder(detect(head))
        async for out in _decode_in_thread(decoder, head):
            yield out
    decoder.finish()


async def _decode_in_thread(decoder: Decoder, piece: bytes) -> AsyncIterator[bytes]:
    if decoder.kind == "tar":
        yield piece
        return
    yield await asyncio.to_thread(decoder.feed, piece)
    while decoder.pending:
        yield await asyncio.to_thread(decoder.feed, b"")


async def _put_all(feed: Feed, first: bytes | None, rest: AsyncIterator[bytes]) -> None:
    if first is not None and await feed.put(bytes(first)):
        first = None
        async for piece in rest:
            if not await feed.put(bytes(piece)):
                return


class Readers:
    """Threads that read streams: at most `limit`, one for each.

    `what` names the streams in the error of a refused one.
    """

    def __init__(self, limit: int, what: str) -> None:
        self._limit = limit
        self._what = what
        self._running = 0

    async def run(self, body: AsyncIterator[bytes], work: Callable[[Feed], T]) -> T:
        """Run `work` in a thread on the body, which is closed at the end. When the body raises, `work` is made to fail,
        and that error goes on.

        Raises Unavailable when there are as many threads as there may be, Exhausted when the machine has none left.
        """
        async with closing(aiter(body)) as pieces:
            return await self._run(pieces, work)

    async def _run(self, pieces: AsyncIterator[bytes], work: Callable[[Feed], T]) -> T:
        first = await anext(pieces, None)  # until it comes there is nothing to read, and no thread
        feed = Feed()
        reader = self._start(feed, work)
        broken = True
        try:
            try:
                await run_until(_ended(reader), _put_all(feed, first, pieces))
                broken = False
            finally:
                feed.end(broken)
                await asyncio.shield(_ended(reader))
            return reader.result()
        finally:
            del first, feed, reader  # an error's traceback refers to this frame, and what was read would stay with it

    async def drain(self, pipe: Pipe, work: Callable[[Pipe], T]) -> T:
        """Run `work` in a thread on what another process sends. Raises as `run` does."""
        try:
            reader = self._start(pipe, work)
        except BaseException:
            pipe.leave()
            raise
        try:
            try:
                await _ended(reader)
            finally:
                pipe.stop()
                await asyncio.shield(_ended(reader))
            return reader.result()
        finally:
            del reader  # as above

    def _start(self, feed: S, work: Callable[[S], T]) -> asyncio.Future[T]:
        if self._running >= self._limit:
            raise Unavailable(f"{self._limit} {self._what} are under way already; try again when one has ended")
        result: Future[T] = Future()
        reader = asyncio.wrap_future(result)
        try:
            threading.Thread(target=_read, args=(feed, work, result), name="reader", daemon=True).start()
        except RuntimeError as error:
            raise Exhausted(f"the machine has no thread left: {error}") from error
        self._running += 1
        reader.add_done_callback(self._one_less)
        return reader

    def _one_less(self, _: asyncio.Future[T]) -> None:
        self._running -= 1


def _read(feed: S, work: Callable[[S], T], result: Future[T]) -> None:
    try:
        found = work(feed)
    except BaseException as error:
        feed.leave()
        result.set_exception(error)
        del feed, work, result  # the error's traceback refers to this frame, and what it has read would stay with it
    else:
        feed.leave()
        result.set_result(found)


async def _ended(reader: asyncio.Future[T]) -> None:
    await asyncio.wait({reader})
    reader.exception()  # seen: where the body's own error goes on, this one is not retrieved
