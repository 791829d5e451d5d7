from __future__ import annotations

import asyncio

import pytest

from corten.aio.background import Background, Forever


async def test_settle_waits_for_what_is_started_meanwhile() -> None:
    background, done = Background(), list[str]()

    async def second() -> None:
        done.append("second")

    async def first() -> None:
        background.spawn(second(), "second")

    background.spawn(first(), "first")
    await background.settle()
    assert done == ["second"]


@pytest.mark.parametrize("kind", [Background, Forever])
async def test_what_takes_longer_is_said_and_not_waited_for(
    kind: type[Background], caplog: pytest.LogCaptureFixture
) -> None:
    background, released = kind(), asyncio.Event()

    async def stubborn() -> None:
        while not released.is_set():
            try:
                await released.wait()
            except asyncio.CancelledError:
                continue

    task = background.spawn(stubborn(), "erasing container X")
    await asyncio.sleep(0)  # it has begun: what has not is cancelled without having its say
    if isinstance(background, Forever):
        await background.cancel(0.01)
    else:
        await background.settle(0.01)
    assert "not completed in time: erasing container X" in caplog.text
    released.set()
    await task
