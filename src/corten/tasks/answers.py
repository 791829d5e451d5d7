"""What other processes answer, and the wait for it: asynchronous, and never without a limit where it can be had."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Coroutine
from typing import Any

from corten.error_codec import decode
from corten.errors import CortenError, Failed, Unavailable
from corten.spec.json import Json
from corten.supervisor import wire
from corten.units.durations import in_go

Answer = tuple[Json, list[int]]
HELPER = 60.0  # seconds for a process that has to be forked first, to look at a disk
SILENCE = 600.0  # seconds without a byte of a stream: who walks a large tree may find nothing to send for long


async def answer(connection: socket.socket, decoder: wire.Decoder, seconds: float | None) -> Answer:
    """The next frame with its descriptors, which are the caller's. `seconds` None: however long it takes.

    Failed when the process ended without one or says what is none, Unavailable when it did not answer in time.
    """
    try:
        async with asyncio.timeout(seconds):
            while (frame := decoder.next()) is None:
                await readable(connection.fileno())
                if not wire.receive(connection, decoder):
                    raise Failed("a helper process ended without an answer; see launcher.log")
    except TimeoutError:
        raise Unavailable(f"a helper process has not answered within {in_go(seconds or 0)}") from None
    except wire.ProtocolError as error:
        decoder.close()
        raise Failed(f"a helper process answers what is no answer: {error}") from error
    return frame


def content(message: Json, other: type[CortenError] = Failed) -> Any:
    """What stands under "ok" in an answer. Raises the error that stands there instead, see `failure`."""
    if isinstance(error := message.get("error"), dict):
        raise failure(error, other)
    if "ok" not in message:
        raise other("another process answers what is no answer")
    return message["ok"]


def failure(body: Json, other: type[CortenError] = Failed) -> CortenError:
    """The error of an answer, for a seam that raises no OSError: that, and what is unknown here, becomes an `other`."""
    error = decode(body, other)
    return error if isinstance(error, CortenError) else other(str(error.strerror))


async def readable(fd: int) -> None:
    """Wait until `fd` can be read."""
    loop = asyncio.get_running_loop()
    ready = loop.create_future()
    loop.add_reader(fd, _wake, ready)
    try:
        await ready
    finally:
        loop.remove_reader(fd)


async def writable(fd: int) -> None:
    """Wait until `fd` can be written to."""
    loop = asyncio.get_running_loop()
    ready = loop.create_future()
    loop.add_writer(fd, _wake, ready)
    try:
        await ready
    finally:
        loop.remove_writer(fd)


async def read(fd: int, count: int) -> bytes:
    """At most `count` bytes of what a process sends on a pipe. Unavailable when it sends nothing for `SILENCE`.

    Others have their turn first: a process may send more quickly than what it sends is used up, and without an end.
    """
    await asyncio.sleep(0)
    while True:
        try:
            return os.read(fd, count)
        except BlockingIOError:
            await _within_silence(readable(fd), "sends")


async def write(fd: int, data: bytes) -> None:
    """All of `data` into a process's pipe. Unavailable when it reads nothing for `SILENCE`; OSError."""
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(fd, view) :]
        except BlockingIOError:
            await _within_silence(writable(fd), "reads")


async def _within_silence(event: Coroutine[Any, Any, None], what: str) -> None:
    try:
        async with asyncio.timeout(SILENCE):
            await event
    except TimeoutError:
        text = f"a helper process {what} nothing for {in_go(SILENCE)}"
        raise Unavailable(text) from None


def _wake(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)
