"""What work had in memory goes back to the kernel."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest

from corten.aio import memory
from corten.aio.memory import Trimming

_HELD = """
from corten.aio import memory

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096

memory.bound()
pieces = [b"x" * 60_000 for _ in range(200)]
kept = pieces.pop()  # at the end of the heap: nothing before it goes back by itself
del pieces
before = resident()
memory.trim()
print(before - resident())
"""


def test_what_is_free_before_something_that_is_kept_goes_back() -> None:
    done = subprocess.run([sys.executable, "-c", _HELD], capture_output=True, text=True, check=True, timeout=60)
    assert int(done.stdout) > 10_000_000


async def test_once_for_all_work_that_ends_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[bool] = []
    trimmed = asyncio.Event()

    def trim() -> None:
        done.append(True)
        trimmed.set()

    monkeypatch.setattr(memory, "trim", trim)
    trimming = Trimming(seconds=0)
    for expected in (1, 2):
        for _ in range(10):
            trimming.after_work()
        await asyncio.wait_for(trimmed.wait(), 60)
        trimmed.clear()
        assert len(done) == expected
