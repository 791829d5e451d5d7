"""An answer that goes on, and a client that does not."""

from __future__ import annotations

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
