"""The stream of messages about work on an image, when its reader leaves or the work fails."""

from __future__ import annotations

import asyncio
import gc
import logging

import pytest

from corten.aio.sources import closing
from corten.errors import CortenError, Invalid
from corten.images.progress import Emit, status, stream


@pytest.mark.parametrize(
    "error", [Invalid("the archive ends early"), ConnectionResetError("cut off"), RuntimeError("a bug")]
)
@pytest.mark.parametrize("late", [False, True])
async def test_a_reader_that_leaves_gets_no_traceback_of_what_that_causes(
    error: Exception, late: bool, collected: None, caplog: pytest.LogCaptureFixture
) -> None:
    """The import of an archive that is cut off fails just when its client is gone."""
    caplog.set_level(logging.ERROR)
    failing = asyncio.Event()

    async def work(emit: Emit) -> None:
        emit(status("begun"))
        try:
            await failing.wait()
        except asyncio.CancelledError:
            raise error from None
        raise error

    messages = stream(work)
    async with closing(messages):
        assert await anext(messages) == status("begun")
        if not late:
            failing.set()
            for _ in range(3):
                await asyncio.sleep(0)
    gc.collect()  # asyncio complains about an exception that was not looked at when its task is collected
    said = [record.getMessage() for record in caplog.records]
    assert said == ([] if isinstance(error, CortenError | OSError) else ["image stream failed"])


async def test_an_error_is_raised_or_the_last_message() -> None:
    async def fails(emit: Emit) -> None:
        raise Invalid("no archive")

    async def fails_late(emit: Emit) -> None:
        emit(status("begun"))
        raise Invalid("no archive")

    with pytest.raises(Invalid, match="no archive"):
        await anext(stream(fails))
    assert [each.get("error") async for each in stream(fails_late)] == [None, "no archive"]


@pytest.mark.parametrize(
    ("failed", "text"),
    [
        (OSError(28, "No space left on device", "/d/x"), "No space left on device: /d/x"),
        (OSError(5, "Input/output error"), "Input/output error"),
        (Invalid("no archive"), "no archive"),
        (RuntimeError(), "RuntimeError"),
    ],
)
async def test_the_last_message_names_the_reason_and_its_object(failed: Exception, text: str) -> None:
    async def work(emit: Emit) -> None:
        emit(status("begun"))
        raise failed

    messages = [message async for message in stream(work)]
    assert messages == [status("begun"), {"errorDetail": {"message": text}, "error": text}]
