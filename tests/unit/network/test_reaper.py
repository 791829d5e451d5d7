"""Devices of endpoints that were detached, and what becomes free when they are gone."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from corten.network import reaper as module
from corten.network.reaper import Reaper


async def test_one_that_is_detached_while_others_are_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its addresses become free though nothing else ends."""
    monkeypatch.setattr(module, "delete", lambda *_: None)
    monkeypatch.setattr(module, "_LOOK_EVERY", 3600)
    reaper, free = Reaper(cast(Any, SimpleNamespace(alive=lambda *_: False))), asyncio.Event()

    async def second() -> None:
        free.set()

    async def first() -> None:
        monkeypatch.setattr(module, "_LOOK_EVERY", 0)
        reaper.add("second", 2, second)

    reaper.add("first", 1, first)
    await reaper.settle()
    async with asyncio.timeout(60):
        await free.wait()
    await reaper.settle()
    assert not len(reaper)
    reaper.close()
