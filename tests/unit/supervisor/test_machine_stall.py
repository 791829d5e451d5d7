from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pytest

from corten.supervisor import machine_stall
from corten.supervisor.loop import Loop
from corten.supervisor.machine_stall import Stall

Json = dict[str, Any]
FULL = {"action": "stop", "nospace": True}


class Monitor:
    """QEMU's: "cont" works when there is room, and is heard of by the same event when there is none."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(machine_stall, "_AGAIN", 0.0)
        self.loop = Loop()
        self.status, self.room = "io-error", False
        self.asked: list[str] = []
        self.stall = Stall(self.loop, self)

    def ask(self, command: str, _: Mapping[str, Any], fds: Sequence[int], reply: Callable[[Json], None]) -> None:
        self.asked.append(command)
        if command == "query-status":
            reply({"ok": {"status": self.status}})
        elif self.room:
            self.status = "running"
            reply({"ok": {}})
        else:
            reply({"ok": {}})
            self.stall.happened("BLOCK_IO_ERROR", FULL)


@pytest.fixture
def monitor(monkeypatch: pytest.MonkeyPatch) -> Iterator[Monitor]:
    made = Monitor(monkeypatch)
    yield made
    made.loop.close()


def test_it_goes_on_when_there_is_room(monitor: Monitor) -> None:
    for _ in range(3):  # one for each request that was under way
        monitor.stall.happened("BLOCK_IO_ERROR", FULL)
    monitor.loop.step(1)
    monitor.loop.step(1)
    assert monitor.asked == ["query-status", "cont"] * 2
    monitor.room = True
    monitor.loop.step(1)
    assert monitor.status == "running"
    monitor.loop.step(0)
    assert len(monitor.asked) == 6


@pytest.mark.parametrize("status", ["paused", "running", "shutdown", None])
def test_one_that_stands_still_for_another_reason(monitor: Monitor, status: Any) -> None:
    monitor.status = status
    monitor.stall.happened("BLOCK_IO_ERROR", FULL)
    monitor.loop.step(1)
    assert monitor.asked == ["query-status"]


@pytest.mark.parametrize(
    ("name", "data"), [("BLOCK_IO_ERROR", {"action": "report"}), ("STOP", {}), ("BLOCK_IO_ERROR", {})]
)
def test_other_events(monitor: Monitor, name: str, data: Json) -> None:
    monitor.stall.happened(name, data)
    monitor.loop.step(0)
    assert monitor.asked == []
