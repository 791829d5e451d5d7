"""An answer that goes on, and a client that does not."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator
from typing import cast

import pytest
from aiohttp import web

from corten.api.streams import pieces


class Gone:
    """An answer to a client that has disconnected."""

    async def write(self, data: bytes) -> None:
        raise ConnectionResetError("Cannot write to closing transport")


async def test_what_a_source_holds_is_given_back_at_once_when_its_client_is_gone() -> None:
    held = ["a file"]

    async def inner() -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"a line"
        finally:
            held.clear()

    gc.disable()  # only the code under test closes it
    try:
        with pytest.raises(ConnectionAbortedError) as kept:
            await pieces(cast(web.StreamResponse, Gone()), inner())
        assert not held, kept
    finally:
        gc.enable()


class Stalled:
    """An answer to a client that takes nothing."""

    async def write(self, data: bytes) -> None:
        await asyncio.Event().wait()


async def test_a_client_that_takes_nothing_is_left(caplog: pytest.LogCaptureFixture) -> None:
    async def source() -> AsyncIterator[bytes]:
        yield b"a piece"

    with pytest.raises(ConnectionAbortedError):
        await pieces(cast(web.StreamResponse, Stalled()), source(), 0.01)
    assert "nothing was taken of it for too long" in caplog.text


async def test_a_client_that_has_seen_enough_is_no_warning(caplog: pytest.LogCaptureFixture) -> None:
    async def source() -> AsyncIterator[bytes]:
        yield b"a piece"

    with pytest.raises(ConnectionAbortedError):
        await pieces(cast(web.StreamResponse, Gone()), source())
    assert not caplog.records
