"""A client's SSH agent as a socket: what a step can do with it."""

from __future__ import annotations

import asyncio
import os
import socket
from contextlib import ExitStack
from pathlib import Path

import pytest

from corten.build.work import agents


class Holding:
    """An agent that says nothing, and holds its connections until the test lets one go."""

    def __init__(self) -> None:
        self.open = 0
        self.turns = asyncio.Semaphore(0)
        self.news = asyncio.Event()

    async def connect(self, fd: int) -> None:
        with socket.socket(fileno=fd):
            self.open += 1
            self.news.set()
            try:
                await self.turns.acquire()
            finally:
                self.open -= 1

    async def opened(self, count: int) -> None:
        while self.open < count:
            self.news.clear()
            await self.news.wait()


async def test_connections_at_a_time_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agents, "_OPEN", 3)
    agent, path = Holding(), tmp_path / "agent"
    before = len(os.listdir("/proc/self/fd"))
    async with asyncio.timeout(20), agents.serving(agent, path, os.getuid(), os.getgid(), 0o600):
        with ExitStack() as held:
            for _ in range(20):
                held.enter_context(socket.socket(socket.AF_UNIX)).connect(str(path))
            await agent.opened(3)
            for _ in range(50):  # others have had their turn
                await asyncio.sleep(0)
            assert agent.open == 3
            agent.turns.release()
            agent.news.clear()
            await agent.news.wait()  # the next one's
            assert agent.open <= 3
    assert agent.open == 0 and len(os.listdir("/proc/self/fd")) == before
