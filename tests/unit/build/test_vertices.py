"""How far work is, of work that says it all the time."""

from __future__ import annotations

import pytest

from corten.build.contract import Event, Status
from corten.build.vertices import Progress


def test_progress_is_said_now_and_then_and_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client may send its files byte by byte, and every row is kept until it has been read."""
    now = 0.0
    monkeypatch.setattr("corten.build.vertices.time.monotonic", lambda: now)
    said: list[Event] = []
    progress = Progress(said.append, "transferring:", "vertex")
    for count in range(10_000):
        now = count / 10_000
        progress(count)
    progress.end()
    counts = [event.current for event in said if isinstance(event, Status)]
    assert len(counts) == len(said) <= 12
    assert counts == sorted(counts) and counts[0] == 0 and counts[-1] == 9999


def test_work_that_has_brought_nothing_says_nothing() -> None:
    said: list[Event] = []
    Progress(said.append, "transferring:", "vertex").end()
    assert not said
