from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from corten.engine.events import BYTES, HISTORY, QUEUE, Events, matcher
from corten.errors import Invalid
from corten.spec.docker import times
from corten.spec.docker.filters import Filters
from corten.units.durations import SECOND


def test_labels() -> None:
    filters = Filters({"label": ["a", "b=1"], "label!": ["c"]})
    assert filters.match_labels("label", {"a": "x", "b": "1"})
    assert not filters.match_labels("label", {"a": "x", "b": "2"})
    assert filters.excludes_labels("label!", {"c": ""})
    assert not filters.excludes_labels("label!", {"a": ""})


def test_flags() -> None:
    assert Filters({"dangling": ["1"]}).flag("dangling")
    assert not Filters({"dangling": ["false"]}).flag("dangling", True)
    assert Filters().flag("dangling", True)
    for values in (["maybe"], ["true", "false"]):
        with pytest.raises(Invalid):
            Filters({"dangling": values}).flag("dangling")


def test_unknown_key() -> None:
    with pytest.raises(Invalid, match="invalid filter 'colour'"):
        Filters({"colour": ["red"]}).check({"name"})


def message(events: Events, *what: Any) -> dict[str, Any]:
    events.publish(*what)
    return events.history[-1]


def test_shape() -> None:
    start = message(Events(), "container", "start", "id1", {"image": "busybox", "name": "n"})
    assert start["status"] == start["Action"] == "start"
    assert (start["id"], start["from"], start["scope"]) == ("id1", "busybox", "local")
    assert start["Actor"] == {"ID": "id1", "Attributes": {"image": "busybox", "name": "n"}}
    assert start["timeNano"] // SECOND == start["time"]
    assert "status" not in message(Events(), "network", "create", "id2", {})


@pytest.mark.parametrize(
    ("filters", "matches"),
    [
        ({}, True),
        ({"type": ["container"]}, True),
        ({"type": ["image", "container"]}, True),
        ({"type": ["image"]}, False),
        ({"event": ["exec_create"]}, True),
        ({"event": ["exec_create: ls"]}, True),
        ({"event": ["exec_start"]}, False),
        ({"container": ["web"]}, True),
        ({"container": ["abc"]}, True),
        ({"container": ["other"]}, False),
        ({"image": ["busybox"]}, True),
        ({"image": ["busybox:latest"]}, True),
        ({"image": ["alpine"]}, False),
        ({"label": ["a=b"]}, True),
        ({"label": ["a=c"]}, False),
        ({"type": ["container"], "container": ["other"]}, False),
        ({"network": ["web"]}, False),
    ],
)
def test_matching(filters: dict[str, list[str]], matches: bool) -> None:
    attributes = {"image": "busybox", "name": "web", "a": "b"}
    event = message(Events(), "container", "exec_create: ls", "abcdef", attributes)
    assert matcher(Filters(filters))(event) is matches


@pytest.mark.parametrize(
    ("wanted", "name", "matches"),
    [
        ("busybox", "docker.io/library/busybox:1", True),
        ("busybox:1", "docker.io/library/busybox:1", True),
        ("docker.io/library/busybox", "busybox@sha256:ab", True),
        ("busybox:2", "busybox:1", False),
        ("box", "busybox:1", False),
        ("h:5/a", "h:5/a:1", True),
        ("h:5/a", "h:5/a", True),
        ("", "busybox", False),
    ],
)
def test_names_of_images(wanted: str, name: str, matches: bool) -> None:
    event = message(Events(), "image", "tag", "sha256:abc", {"name": name})
    assert matcher(Filters({"image": [wanted]}))(event) is matches


@pytest.mark.parametrize("key", ["image", "container", "event", "type"])
def test_a_filter_of_many_values_is_looked_through_quickly(key: str) -> None:
    wanted = matcher(Filters({key: [f"n{number}" for number in range(5000)]}))
    image = message(Events(), "image", "tag", "sha256:abc", {"name": "busybox"})
    container = message(Events(), "container", "start", "abcdef", {"name": "web", "image": "busybox"})
    before = time.thread_time()
    assert not any(wanted(each) for _ in range(HISTORY // 2) for each in (image, container))
    assert time.thread_time() - before < 0.5


async def test_a_listener_with_much_to_read_lets_others_have_their_turn() -> None:
    events = Events()
    for number in range(100):
        events.publish("container", "create", str(number))
    unwanted = asyncio.ensure_future(anext(events.listen(since=1, filters=Filters({"type": ["image"]}))))
    reading = asyncio.ensure_future(_all(events.listen(None, until=times.now())))
    turns = 0
    while not reading.done() and turns < 3:
        turns += 1
        await asyncio.sleep(0)
    assert turns == 3
    assert len(await reading) == 100
    unwanted.cancel()


async def _all(source: AsyncIterator[dict[str, Any]]) -> list[dict[str, Any]]:
    return [event async for event in source]


async def test_replay_then_live() -> None:
    events = Events()
    events.publish("container", "create", "1")
    source = events.listen(since=1)
    assert (await anext(source))["Action"] == "create"
    waiting = asyncio.ensure_future(anext(source))
    await asyncio.sleep(0)
    events.publish("container", "start", "1")
    assert (await waiting)["Action"] == "start"
    await source.aclose()
    assert len(events) == 0


async def test_until_ends_the_stream() -> None:
    events = Events()
    events.publish("container", "create", "1")
    seen = [e["Action"] async for e in events.listen(since=1, until=times.now() + SECOND // 50)]
    assert seen == ["create"]


@pytest.mark.parametrize(
    ("since", "until", "seen"),
    [
        (0, None, ["create", "start"]),
        (None, 1 << 62, ["create", "start"]),
        (0, 0, []),
        (None, 0, []),
    ],
)
async def test_what_is_kept(since: int | None, until: int | None, seen: list[str]) -> None:
    """Zero is the year 1970, not "none given"; with an end and no beginning, all that is kept is wanted."""
    events = Events()
    for action in ("create", "start"):
        events.publish("container", action, "1")
    source = events.listen(since, until)
    found = [(await anext(source))["Action"] for _ in seen]
    assert found == seen
    assert len(events) == 1 if seen else not [event async for event in source]
    await source.aclose()


async def test_history_and_queues_are_bounded() -> None:
    events = Events()
    slow = events.listen(since=1)
    events.publish("container", "create", "first")
    await anext(slow)
    for number in range(QUEUE + 10):
        events.publish("container", "create", str(number))
    assert len(events.history) == HISTORY
    assert len(events) == 0  # it was cut off
    assert len([event async for event in slow]) == QUEUE


async def test_large_events_are_bounded_in_bytes() -> None:
    """A health check has up to a megabyte of an image's words, and there is one a moment later."""
    events, megabyte = Events(), 1 << 20
    slow = events.listen(since=1)
    events.publish("container", "create", "first")
    await anext(slow)
    most = BYTES // megabyte
    for number in range(100):
        events.publish("container", f"exec_create: {number:0{megabyte}}", "1", {"label": "value"})
    assert len(events.history) == most
    assert len(events) == 0  # it was cut off
    assert len([event async for event in slow]) == most
    events.publish("container", "create", "1", {f"label {number}": "" for number in range(BYTES // 100)})
    events.publish("container", "start", "1")
    assert [event["Action"] for event in events.history] == ["start"]
