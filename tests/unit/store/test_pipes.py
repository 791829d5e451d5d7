"""Streams of other processes to a thread, and what a second thread does with their pieces."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from corten.errors import Corrupt, Failed, Invalid, Unavailable
from corten.store.beside import Beside, Piece
from corten.store.feed import Readers
from corten.store.pipes import Pipe

DATA = bytes(range(251)) * 20_000


@contextmanager
def sender(data: bytes, end: bool = True) -> Iterator[int]:
    """A pipe that a thread writes to; it stays open behind the data unless `end`."""
    reader, writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    os.set_blocking(writer, True)

    def send() -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(writer, view) :]
        if end:
            os.close(writer)

    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield reader
    finally:
        thread.join(60)
        os.close(reader)
        if not end:
            os.close(writer)


async def whole() -> None:
    """All was sent."""


def joined(pipe: Pipe) -> bytes:
    return b"".join(pipe.pieces())


async def test_a_thread_reads_all_that_a_process_sends_and_the_caller_keeps_its_end() -> None:
    readers, before = Readers(1, "layers"), len(os.listdir("/proc/self/fd"))
    with sender(DATA) as fd:
        assert await readers.drain(Pipe(fd, whole), joined) == DATA
        assert os.read(fd, 1) == b""
    assert len(os.listdir("/proc/self/fd")) == before


async def test_what_the_process_says_at_the_end_comes_before_the_result() -> None:
    async def no() -> None:
        raise Failed("the disk is gone")

    results: list[bytes] = []
    with sender(DATA) as fd, pytest.raises(Failed, match="the disk is gone"):
        await Readers(1, "layers").drain(Pipe(fd, no), lambda pipe: results.append(joined(pipe)))
    assert not results


async def test_a_silent_process_is_an_error() -> None:
    with sender(b"x", end=False) as fd, pytest.raises(Unavailable, match="sends nothing for"):
        await Readers(1, "layers").drain(Pipe(fd, whole, silence=0.05), joined)


async def cancelled(pipe: Pipe, reading: threading.Event, begun: threading.Event) -> list[type[BaseException]]:
    """What the thread met, which says by `reading` that it reads, when its caller was cancelled at `begun`."""
    met: list[type[BaseException]] = []

    def read(pipe: Pipe) -> None:
        reading.set()
        try:
            joined(pipe)
        except BaseException as error:
            met.append(type(error))
            raise

    task = asyncio.ensure_future(Readers(1, "layers").drain(pipe, read))
    async with asyncio.timeout(60):
        while not begun.is_set():
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    return met


async def test_a_cancelled_caller_does_not_wait_for_a_silent_process() -> None:
    with sender(b"x", end=False) as fd:
        assert await cancelled(Pipe(fd, whole), begun := threading.Event(), begun) == [Corrupt]


async def test_nor_for_the_answer_of_one() -> None:
    asked = threading.Event()

    async def never() -> None:
        asked.set()
        await asyncio.Event().wait()

    with sender(b"x") as fd:
        assert len(await cancelled(Pipe(fd, never), threading.Event(), asked)) == 1


async def test_streams_are_as_many_as_there_may_be() -> None:
    with sender(b"x") as fd, pytest.raises(Unavailable, match="0 layers are under way"):
        await Readers(0, "layers").drain(Pipe(fd, whole), joined)


# --------------------------------------------------------------------------------------------------------- beside


def pieces() -> list[Piece]:
    return [bytes([number]) for number in range(100)]


def test_pieces_are_worked_on_in_their_order_by_another_thread() -> None:
    done: list[tuple[Piece, int]] = []
    with Beside(lambda piece: done.append((piece, threading.get_ident()))) as beside:
        for piece in pieces():
            beside.put(piece)
    assert [piece for piece, _ in done] == pieces()
    assert {thread for _, thread in done} != {threading.get_ident()}


def test_an_error_beside_is_raised_and_nothing_is_worked_on_behind_it() -> None:
    seen: list[Piece] = []

    def work(piece: Piece) -> None:
        seen.append(piece)
        raise Invalid("no")

    with pytest.raises(Invalid, match="no"), Beside(work) as beside:
        for piece in pieces():
            beside.put(piece)
    assert len(seen) == 1


def test_an_error_with_the_last_piece_is_raised_too() -> None:
    def work(piece: Piece) -> None:
        raise Invalid("no")

    with pytest.raises(Invalid, match="no"), Beside(work) as beside:
        beside.put(b"x")
