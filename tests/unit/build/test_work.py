"""The pure parts of a worker: output, specifications; and what a cancellation waits for."""

from __future__ import annotations

import asyncio
import struct
from concurrent.futures import Future, wait
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corten.aio.whole import cancelled_once
from corten.build.contract import Limits, RunStep
from corten.build.work import layer
from corten.build.work.mounts import StepMounts
from corten.build.work.output import Lines
from corten.build.work.specification import specification, stubs
from corten.plan.facts import HostFacts
from corten.snapshots import syncing

FACTS = HostFacts(capabilities=())


def frame(stream: int, data: bytes) -> bytes:
    return struct.pack(">BxxxI", stream, len(data)) + data


@given(st.lists(st.integers(1, 40), max_size=20))
def test_lines_are_whole_however_they_arrive(cuts: list[int]) -> None:
    sent = frame(1, b"one\ntw") + frame(2, b"error\n") + frame(1, b"o\nthree\nrest") + frame(2, b"last")
    said: list[tuple[int, bytes]] = []
    lines = Lines(lambda stream, data: said.append((stream, data)))
    at = 0
    for cut in cuts:
        lines.feed(sent[at : at + cut])
        at += cut
    lines.feed(sent[at:])
    lines.end()
    assert said == [(1, b"one\n"), (2, b"error\n"), (1, b"two\nthree\n"), (1, b"rest"), (2, b"last")]


def test_a_line_without_an_end_is_not_kept_for_ever() -> None:
    said: list[bytes] = []
    lines = Lines(lambda stream, data: said.append(data))
    lines.feed(frame(1, b"x" * 10_000) + frame(1, b"x" * 10_000))
    assert b"".join(said) == b"x" * 20_000


def spec(**options: object) -> dict[str, object]:
    step = RunStep(("/bin/sh", "-c", "x"), **options)  # type: ignore[arg-type]
    return specification("ID", step, Path("/b"), Path("/d"), {"network": "/n"}, None, "/p/ID", FACTS, StepMounts())


def test_a_step_is_a_container_with_few_rules_of_its_own() -> None:
    found = spec(env=("A=1", "PATH=/p"), user="5:6", cwd="/w")
    assert found["process"]["env"] == ["PATH=/p", "A=1"]  # type: ignore[index]
    assert found["process"]["cwd"] == "/w"  # type: ignore[index]
    assert found["hostname"] == "buildkitsandbox"
    assert found["linux"]["maskedPaths"]  # type: ignore[index]
    assert {"/proc", "/dev", "/sys", "/etc/hosts", "/etc/resolv.conf"} <= set(stubs(found))


def test_limits_are_those_of_a_container() -> None:
    found = spec(limits=Limits(memory=64 << 20, cpu_shares=5, ulimits=(("nofile", 1, 2),)))
    assert found["linux"]["resources"]["memory"]["limit"] == 64 << 20  # type: ignore[index]
    assert found["process"]["rlimits"] == [{"type": "RLIMIT_NOFILE", "soft": 1, "hard": 2}]  # type: ignore[index]


async def _cancelled_twice() -> list[str]:
    said: list[str] = []

    async def work() -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            await asyncio.sleep(0.05)
            said.append("released")

    task = asyncio.ensure_future(cancelled_once(work()))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    return said


def test_what_is_cancelled_twice_is_seen_to_its_end() -> None:
    assert asyncio.run(_cancelled_twice()) == ["released"]


async def test_a_large_tree_goes_to_the_disk_again_and_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One sync after the other's end, until nothing more is written."""
    monkeypatch.setattr(layer, "_LARGE", 0.001)
    monkeypatch.setattr(syncing, "_syncfs", lambda fd: 0)
    third, under_way, syncs = asyncio.Event(), list[Future[None]](), 0

    class Watched(syncing.Syncing):
        def ahead(self) -> Future[None]:
            nonlocal syncs
            assert all(each.done() for each in under_way)
            under_way.append(super().ahead())
            syncs += 1
            if syncs == 3:
                third.set()
            return under_way[-1]

    with Watched(tmp_path) as sync:
        going = asyncio.ensure_future(layer._ahead(sync))
        async with asyncio.timeout(60):
            await third.wait()
        going.cancel()
        await asyncio.wait({going})
        await asyncio.to_thread(wait, under_way)
    assert going.cancelled() and not any(each.cancelled() for each in under_way)
