"""The garbage collection policy: what it reads, and what it decides."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from corten.errors import Invalid
from corten.images import gc
from corten.images.images import Images
from corten.images.policy import Disk, Holding, Policy, decide, parse
from corten.images.uses import Uses
from corten.store.database import Database
from corten.store.records import Records

NOW, DAY, MB = 1_000_000_000.0, 86400.0, 1000**2
FULL, EMPTY = Disk(0, 1000 * MB), Disk(900 * MB, 1000 * MB)
SIZES = {"base": 50 * MB, "a": 10 * MB, "b": 20 * MB, "c": 30 * MB}


def store(**kept_by: str) -> list[Holding]:
    """Three images on one base; a was not used for 30 days, b for 20, c for 10."""
    ages = {"a": 30, "b": 20, "c": 10}
    return [
        Holding(name, frozenset(("base", name)), NOW - days * DAY, kept_by.get(name, "")) for name, days in ages.items()
    ]


def gone(policy: Policy, disk: Disk, **kept_by: str) -> list[str]:
    return [v.id for v in decide(policy, store(**kept_by), SIZES, disk, NOW) if v.goes]


def test_sections() -> None:
    assert parse({}) == Policy() and not Policy().active
    policy = parse({"keep-images": 3, "keep-bytes": "1.5g", "max-age": "720h", "free-space": "12.5%"})
    assert policy == Policy(3, 3 << 29, 30 * DAY, 0, 12.5) and policy.active
    assert parse({"free-space": "64MiB"}, policy) == Policy(3, 3 << 29, 30 * DAY, 64 << 20, 0)
    assert policy.wanted(1000) == 125


@pytest.mark.parametrize(
    ("key", "value"),
    [("keep-images", "-1"), ("keep-images", "x"), ("keep-bytes", "1q"), ("keep-bytes", ""), ("max-age", "30"),
     ("max-age", "-1h"), ("free-space", "100%"), ("free-space", "-5%"), ("free-space", [1]), ("nosuch", "1")],
)  # fmt: skip
def test_bad_values_are_named(key: str, value: object) -> None:
    with pytest.raises(Invalid, match=key):
        parse({key: value})


def test_no_policy_removes_nothing() -> None:
    assert gone(Policy(keep_images=1), FULL) == []


def test_age() -> None:
    assert gone(Policy(max_age=15 * DAY), EMPTY) == ["a", "b"]
    assert gone(Policy(max_age=15 * DAY), EMPTY, a="container x uses it") == ["b"]
    assert gone(Policy(max_age=15 * DAY, keep_images=2), EMPTY) == ["a"]
    assert gone(Policy(max_age=DAY, keep_bytes=100 * MB), EMPTY) == ["a"]
    assert gone(Policy(max_age=DAY), EMPTY) == ["a", "b", "c"]


def test_space_is_made_by_what_was_not_used_longest() -> None:
    assert gone(Policy(free_bytes=5 * MB), FULL) == ["a"]
    assert gone(Policy(free_bytes=25 * MB), FULL) == ["a", "b"]
    assert gone(Policy(free_bytes=25 * MB), FULL, a="work under way needs it") == ["b", "c"]
    assert gone(Policy(free_percent=1), FULL) == ["a"]
    assert gone(Policy(free_percent=1), EMPTY) == []
    assert gone(Policy(free_percent=99), FULL) == ["a", "b", "c"]


def test_what_was_just_pulled_is_there_to_be_run() -> None:
    fresh = Holding("new", frozenset(("base",)), NOW - 60, "")
    (stays,) = [v for v in decide(Policy(free_percent=99), [*store(), fresh], SIZES, FULL, NOW) if not v.goes]
    assert (stays.id, stays.reason) == ("new", "used 1 minute ago, too recently to go")
    assert decide(Policy(max_age=30), [fresh], SIZES, FULL, NOW)[0].goes


def test_shared_layers_count_for_the_last() -> None:
    freed = {v.id: v.bytes for v in decide(Policy(free_percent=99), store(), SIZES, FULL, NOW)}
    assert freed == {"a": 10 * MB, "b": 20 * MB, "c": 80 * MB}


def test_reasons() -> None:
    decisions = decide(Policy(max_age=15 * DAY, keep_images=2), store(c="container web uses it"), SIZES, EMPTY, NOW)
    assert [v.reason for v in decisions] == [
        "not used for 30 days, more than 15 days",
        "among the 2 that are kept at least",
        "container web uses it",
    ]
    assert decide(Policy(free_bytes=5 * MB), store(), SIZES, FULL, NOW)[0].reason == (
        "0B of the disk would be free, 5MB are wanted"
    )
    assert decide(Policy(), store(), SIZES, FULL, NOW)[0].reason == "used 30 days ago"


async def test_uses_are_written_down_later(tmp_path: Path) -> None:
    database = Database(tmp_path / "db")
    try:
        uses = Uses(Records(database))
        uses.note("one")
        uses.note("two")
        assert Records(database).list("image-use") == {}  # no caller waits for the disk
        uses.flush()
        again = Uses(Records(database))
        assert again.last("one") == uses.last("one") > 0 and again.last("nosuch") == 0
        again.forget_all_but({"two"})
        assert list(Records(database).list("image-use")) == ["two"] and again.last("one") == 0
    finally:
        database.close()


async def test_one_failure_is_not_the_last_attempt(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    loop, done, calls = asyncio.get_running_loop(), asyncio.Event(), list[float]()

    def everything(older_than: float) -> int:
        calls.append(older_than)
        if len(calls) == 1:
            raise OSError("the disk failed")
        loop.call_soon_threadsafe(done.set)
        return 0

    images = SimpleNamespace(store=SimpleNamespace(collector=SimpleNamespace(everything=everything)))
    monkeypatch.setattr(gc, "INTERVAL", 0.0)
    collection = gc.Gc(cast(Images, images), lambda id: [], Policy, Path())
    task = asyncio.create_task(collection.run_periodically())
    await asyncio.wait({task, asyncio.create_task(done.wait())}, return_when="FIRST_COMPLETED", timeout=60)
    assert done.is_set()
    assert "the disk failed" in caplog.text
    task.cancel()
    await asyncio.wait({task})
