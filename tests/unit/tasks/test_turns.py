"""What comes without an end from another process is read in turns: nothing else waits for its end."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine

import pytest

from corten.build.work import repositories
from corten.tasks import answers

Reading = Callable[[int], Coroutine[object, object, None]]


async def _read(fd: int) -> None:
    while await answers.read(fd, 1 << 10):
        pass


async def _heard(fd: int) -> None:
    await repositories._heard(fd, lambda line: None)


@pytest.mark.parametrize("reading", [_read, _heard])
async def test_what_is_there_already_is_not_read_at_once(reading: Reading) -> None:
    reader, writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    os.write(writer, b"x" * 4000 + b"\n")
    os.close(writer)
    order: list[str] = []
    asyncio.get_running_loop().call_soon(order.append, "other")
    await reading(reader)
    order.append("read")
    assert order == ["other", "read"]
    os.close(reader)
