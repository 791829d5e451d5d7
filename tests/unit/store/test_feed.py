"""Streams to threads of their own, and how many of those there are."""

from __future__ import annotations

import asyncio
import gc
import gzip
import threading
import weakref
from collections.abc import AsyncIterator, Callable, Collection

import pytest

from corten.errors import Invalid, Unavailable
from corten.store.feed import Feed, Readers, decoded

PIECES = [bytes([number % 251]) * 70_000 for number in range(100)]


async def stream(pieces: list[bytes]) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


class Silent:
    """A body that has one piece, and nothing more until `go_on`."""

    def __init__(self, first: bytes = b"x") -> None:
        self.asked, self.go_on = asyncio.Event(), asyncio.Event()
        self._first = first

    async def body(self) -> AsyncIterator[bytes]:
        if self._first:
            yield self._first
        self.asked.set()
        await self.go_on.wait()


def reading(others: Collection[threading.Thread]) -> int:
    """How many threads read, but for those."""
    return sum(thread.name == "reader" for thread in threading.enumerate() if thread not in others)


def joined(feed: Feed) -> bytes:
    return b"".join(feed.pieces())


@pytest.mark.parametrize("pieces", [[], [b""], [b"x"], PIECES])
async def test_all_of_it_arrives(pieces: list[bytes]) -> None:
    assert await Readers(1, "loads").run(stream(pieces), joined) == b"".join(pieces)


async def test_a_sender_waits_for_a_slow_reader() -> None:
    read, sent = threading.Semaphore(0), 0

    async def body() -> AsyncIterator[bytes]:
        nonlocal sent
        for piece in PIECES:
            sent += len(piece)
            yield piece

    def slowly(feed: Feed) -> int:
        total = 0
        for piece in feed.pieces():
            read.acquire()
            total += len(piece)
        return total

    running = asyncio.create_task(Readers(1, "loads").run(body(), slowly))
    while sent < 1 << 20:
        await asyncio.sleep(0)
    for _ in range(100):
        await asyncio.sleep(0)
    assert sent < 3 << 20
    read.release(len(PIECES))
    assert await running == sum(map(len, PIECES))


async def test_a_reader_that_ends_early_is_not_fed_on() -> None:
    def first(feed: Feed) -> bytes:
        return next(feed.pieces())

    assert await asyncio.wait_for(Readers(1, "loads").run(stream(PIECES), first), 60) == PIECES[0]


async def test_a_reader_that_has_ended_waits_for_no_silent_sender() -> None:
    silent = Silent()

    def fail(feed: Feed) -> None:
        next(feed.pieces())
        raise Invalid("no tar")

    with pytest.raises(Invalid, match="no tar"):
        await asyncio.wait_for(Readers(1, "loads").run(silent.body(), fail), 60)


async def test_an_error_of_the_reader_is_the_callers() -> None:
    def fail(feed: Feed) -> None:
        raise Invalid("no tar")

    with pytest.raises(Invalid, match="no tar"):
        await Readers(1, "loads").run(stream(PIECES), fail)


@pytest.mark.parametrize("pieces", [1, 100])
async def test_a_body_is_closed_when_its_reader_fails(pieces: int) -> None:
    """What it holds, a blob's file, stayed open: the error's traceback refers to the body."""
    closed = False

    async def body() -> AsyncIterator[bytes]:
        nonlocal closed
        try:
            for _ in range(pieces):
                yield bytes(1 << 20)
        finally:
            closed = True

    def work(feed: Feed) -> None:
        next(feed.pieces())
        raise Invalid("no space left")

    gc.disable()
    try:
        with pytest.raises(Invalid):
            await Readers(1, "tests").run(body(), work)
        assert closed
    finally:
        gc.enable()


async def test_silent_streams_have_no_thread_before_their_first_byte_and_are_bounded_behind_it() -> None:
    readers, others = Readers(3, "loads"), threading.enumerate()  # one of an earlier stream ends a moment behind it
    silent, begun = [Silent(b"") for _ in range(50)], [Silent() for _ in range(3)]
    tasks = [asyncio.create_task(readers.run(each.body(), joined)) for each in (*silent, *begun)]
    for each in (*silent, *begun):
        await each.asked.wait()
    assert reading(others) == 3
    with pytest.raises(Unavailable, match="3 loads are under way"):
        await readers.run(stream([b"x"]), joined)
    assert await asyncio.wait_for(asyncio.to_thread(lambda: "free"), 60) == "free"
    begun[0].go_on.set()
    assert await tasks[50] == b"x"
    assert await readers.run(stream([b"x"]), joined) == b"x"
    for each in (*silent, *begun):
        each.go_on.set()
        await asyncio.sleep(0)
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert {type(result) for result in results} <= {bytes, Unavailable}


async def test_a_cancelled_caller_waits_for_its_thread() -> None:
    silent, ended = Silent(), threading.Event()

    def read(feed: Feed) -> None:
        try:
            joined(feed)
        finally:
            ended.set()

    task = asyncio.create_task(Readers(1, "loads").run(silent.body(), read))
    await silent.asked.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended.is_set()


@pytest.mark.parametrize("compress", [bytes, gzip.compress])
@pytest.mark.parametrize("size", [1, 1000, 1 << 20])
async def test_decoded_without_a_thread_that_waits(compress: Callable[[bytes], bytes], size: int) -> None:
    data = compress(b"".join(PIECES))
    pieces = [data[at : at + size] for at in range(0, min(len(data), 300 * size), size)]
    if b"".join(pieces) == data:
        assert b"".join([piece async for piece in decoded(stream(pieces))]) == b"".join(PIECES)
    elif compress is bytes:
        assert b"".join([piece async for piece in decoded(stream(pieces))]) == b"".join(pieces)
    else:
        with pytest.raises(Invalid):
            [piece async for piece in decoded(stream(pieces))]


@pytest.mark.parametrize("broken", [False, True])
async def test_what_was_read_is_given_back_without_the_collector_of_garbage(broken: bool) -> None:
    """Also when both sides end in an error, whose traceback has all of their frames."""
    feeds: list[weakref.ref[Feed]] = []

    async def body() -> AsyncIterator[bytes]:
        yield PIECES[0]
        if broken:
            raise ConnectionResetError("the client has gone")

    def read(feed: Feed) -> None:
        feeds.append(weakref.ref(feed))
        joined(feed)
        raise Invalid("no tar")

    gc.disable()
    try:
        with pytest.raises(ConnectionResetError if broken else Invalid):
            await Readers(1, "loads").run(body(), read)
        async with asyncio.timeout(60):
            while feeds[0]() is not None:  # its thread ends a moment behind its answer
                await asyncio.sleep(0.001)
    finally:
        gc.enable()
