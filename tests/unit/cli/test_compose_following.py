"""Containers that end where no event says "die": before the events begin, or while they wait for their next start."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from corten.cli.compose import attaching
from corten.cli.compose.attaching import Attached
from corten.cli.compose.commands import logs
from corten.client import containers
from corten.client.api import Client
from corten.client.errors import ApiError
from corten.compose.observed import Container

States = dict[str, dict[str, Any]]


def event(action: str, id: str = "1", **more: str) -> dict[str, Any]:
    attributes = {"com.docker.compose.service": "web", "name": "p-web-1", **more}
    return {"Action": action, "time": 1, "timeNano": 10**9, "Actor": {"ID": id, "Attributes": attributes}}


@pytest.fixture
def states(monkeypatch: pytest.MonkeyPatch) -> States:
    """Of the engine's containers, by id; without one they are gone."""
    found: States = {}

    def inspect(client: Client, id: str, *_: object) -> dict[str, Any]:
        if id not in found:
            raise ApiError(404, "no such container")
        return {"State": found[id], "Config": {}}

    monkeypatch.setattr(containers, "inspect", inspect)
    return found


class News:
    """`now` says what happens as soon as events are listened to."""

    now: Callable[[Callable[[dict[str, Any]], None]], None]

    def __init__(self, client: Client, project: str, tell: Callable[[dict[str, Any]], None]) -> None:
        type(self).now(tell)

    def close(self) -> None: ...


def within(seconds: float, work: Callable[[], int]) -> int:
    done: queue.SimpleQueue[int] = queue.SimpleQueue()
    threading.Thread(target=lambda: done.put(work()), daemon=True).start()
    return done.get(timeout=seconds)


@pytest.mark.parametrize("how", ["before", "stop", "kill", "destroy"])
def test_logs_end(how: str, states: States, monkeypatch: pytest.MonkeyPatch) -> None:
    def now(tell: Callable[[dict[str, Any]], None]) -> None:
        if how == "before":
            states["1"] = {"Running": False}
        else:
            tell(event("die"))
            tell(event(how))

    def add(*_: object) -> None:
        pass

    def runs(_: object, id: str) -> bool:
        answers.append(original(cast(Any, SimpleNamespace(client=None)), id))
        if how != "before" and len(answers) == 2:  # "die" is looked at: it is stopped, or removed, behind that
            states.pop("1") if how == "destroy" else states["1"].update(Restarting=False)
        return answers[-1]

    answers: list[bool] = []
    original = logs._runs
    monkeypatch.setattr(logs, "_runs", runs)
    monkeypatch.setattr(logs, "_add", add)
    monkeypatch.setattr(News, "now", staticmethod(now), raising=False)
    monkeypatch.setattr(logs, "News", News)
    states["1"] = {"Restarting": True}
    compose = cast(Any, SimpleNamespace(client=None, name="p"))
    printer = cast(Any, SimpleNamespace(close=lambda: None))
    found = [Container("1", "p-web-1", "web")]
    assert within(10, lambda: logs._follow(compose, found, {}, printer, set())) == 0


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_up_ends(how: str, states: States, monkeypatch: pytest.MonkeyPatch) -> None:
    def now(tell: Callable[[dict[str, Any]], None]) -> None:
        pass

    monkeypatch.setattr(News, "now", staticmethod(now), raising=False)
    monkeypatch.setattr(attaching, "News", News)
    printer = cast(Any, SimpleNamespace(close=lambda: None))
    project = cast(Any, SimpleNamespace(name="p"))
    attached = Attached(cast(Any, SimpleNamespace(client=None)), project, set(), printer)
    monkeypatch.setattr(attached, "_running", lambda: [SimpleNamespace(id="1")])
    attached._names["1"] = "p-web-1"
    states["1"] = {"Restarting": True}
    assert attached._take(event("kill", signal="15")) is None
    assert attached._take(event("die", exitCode="3")) is None
    states["1"] = {"Running": True}
    assert attached._take(event("start")) is None
    states["1"] = {"Running": False}
    assert attached._take(event(how)) is None, "it is about to die, and says how then"
    states["1"] = {"Restarting": True}
    assert attached._take(event("die", exitCode="4")) is None
    states["1"] = {}
    attached._inbox.put(("event", event(how)))
    assert within(10, attached.wait) == 0
