"""The sweep at start: what several containers left takes as long as the slowest of them, and an error is one line."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from corten.daemon.sweep import sweep
from corten.errors import Failed
from corten.supervisor import sockets
from corten.tasks import leftovers

IDS = [f"{number:064x}" for number in range(1, 9)]
PARENT = "/corten-none"


class Table:
    """Containers that were created, and of whose start nothing is recorded."""

    def list(self, kind: str) -> Mapping[str, dict[str, Any]]:
        return {id: {"state": {"status": "created"}} for id in IDS} if kind == "container" else {}

    def put(self, kind: str, id: str, body: dict[str, Any]) -> None:
        raise AssertionError(kind)

    def delete(self, kind: str, id: str) -> None:
        raise AssertionError(kind)


class Trees:
    def keys(self, committed: bool) -> list[str]:
        return []

    def remove(self, key: str) -> None:
        raise AssertionError(key)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """The directories of eight runs."""
    for id in IDS:
        (tmp_path / "r/containers" / id).mkdir(parents=True)
    return tmp_path / "r"


@pytest.fixture
def supervisors(run: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Each run has one that listens."""
    with ExitStack() as stack:
        for id in IDS:
            monkeypatch.chdir(run / "containers" / id)  # a socket's path must not be longer than 107 bytes
            listener = stack.enter_context(socket.socket(socket.AF_UNIX))
            listener.bind(sockets.SUPERVISOR)
            listener.listen()
        yield


def swept(run: Path) -> list[str]:
    return sweep(run.parent / "d", run, PARENT, Table(), Trees())


def test_starts_that_were_not_completed_end_side_by_side(
    run: Path, supervisors: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    all_at_it = threading.Barrier(len(IDS), timeout=20)
    killed: list[Path] = []
    monkeypatch.setattr(leftovers, "kill", killed.append)
    monkeypatch.setattr(leftovers, "ended", lambda run: all_at_it.wait() >= 0)
    assert swept(run) == [f"container {id}: a start that was not completed" for id in IDS]
    assert sorted(path.name for path in killed) == IDS


def test_what_runs_left_goes_side_by_side(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    all_at_it = threading.Barrier(len(IDS), timeout=20)

    def remove(run: Path, bundle: Path, group: str) -> list[str]:
        all_at_it.wait()
        return [f"{group}, {bundle.parent.name}/{bundle.name == run.name}"]

    monkeypatch.setattr(leftovers, "remove", remove)
    assert swept(run) == [f"container {id}: {PARENT}/{id}, containers/True" for id in IDS]


def test_one_that_cannot_be_ended_keeps_no_daemon_from_starting(
    run: Path, supervisors: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def kill(bundle: Path) -> None:
        if bundle.name == IDS[3]:
            raise Failed("1 process does not end")

    monkeypatch.setattr(leftovers, "kill", kill)
    monkeypatch.setattr(leftovers, "ended", lambda run: True)
    said = swept(run)
    assert len(said) == len(IDS)
    assert said[3] == f"container {IDS[3]}: a start that was not completed could not be ended: 1 process does not end"
