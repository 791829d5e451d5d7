"""The history of builds: what is kept, for how long, and what is never in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from corten.build.contract import Asked, Event, Log, Status, Vertex, Warning
from corten.build.history import history as module
from corten.build.history.history import KIND, History
from corten.build.history.log import BuildLog, events
from corten.build.outputs.contract import Predicate
from corten.build.result import Built
from corten.errors import Conflict, Failed, Invalid, NotFound, Unavailable
from fakes.table import MemoryTable

ATTESTED = (Predicate("slsa", b"{}", "provenance.json"), Predicate("huge", b"x" * (5 << 20), "sbom.spdx.json"))
DONE = Built("sha256:id", "sha256:digest", b"{}", {"image.name": "app"}, True, None, ATTESTED)


class World:
    def __init__(self, root: Path) -> None:
        self.root = root
        self.table = MemoryTable()
        self.history = History(self.table, root)

    def build(
        self, ref: str, *said: Event, error: Exception | None = None, given: dict[str, str] | None = None
    ) -> None:
        outputs = [Asked("image", {"name": "app"})]
        with self.history.recording(ref, given or {}, outputs, lambda event: None) as recording:
            for event in said:
                recording.trace(event)
            if error is not None:
                raise error
            recording.made(DONE)

    async def again(self) -> History:
        """As the next daemon finds it."""
        await self.history.settled()
        self.history = History(self.table, self.root)
        return self.history


@pytest.fixture
async def world(tmp_path: Path) -> World:
    return World(tmp_path / "history")


SAID: tuple[Event, ...] = (
    Vertex("a", "[1/2] FROM x"),
    Vertex("b", "[2/2] RUN y"),
    Vertex("a", "[1/2] FROM x", started=1, completed=2, cached=True),
    Vertex("b", "[2/2] RUN y", started=2),
    Status("layer", "a", 5, 10, 1, 0),
    Status("layer", "a", 10, 10, 1, 2, at=2),
    Log("b", 1, b"\xff\n", at=2.5),
    Warning("a", "Rule", "text", "url", (1, 2)),
    Vertex("b", "[2/2] RUN y", started=2, completed=3),
)


async def test_a_build_is_there_for_the_next_daemon(world: World) -> None:
    world.build("r1", *SAID, given={"target": "t"})
    (record,) = (await world.again()).all()
    assert (record.ref, record.state, record.image) == ("r1", "completed", "sha256:id")
    assert (record.total, record.done, record.cached, record.warnings) == (2, 2, 1, 1)
    assert record.attributes == {"target": "t"} and record.answer == {"image.name": "app"}
    assert record.outputs[0].type == "image" and record.bytes == world.history.size > 0
    assert await world.history.events(record) == [event for event in SAID if event != SAID[4]]
    (attached,) = record.attached  # the other one is too large
    assert attached.type == "slsa" and await world.history.attached(attached.digest) == b"{}"
    assert await world.history.attached("sha256:other") is None
    world.history.remove(record)
    assert not list(world.root.iterdir())


async def test_what_ended_a_build(world: World) -> None:
    for error in (Failed("no such thing"), Failed("the build was cancelled: context canceled"), ValueError("private")):
        with pytest.raises(type(error)):
            world.build(f"{error}", error=error)
    found = {record.ref: (record.state, record.error) for record in (await world.again()).all()}
    assert found["no such thing"] == ("error", "no such thing")
    assert found["the build was cancelled: context canceled"][0] == "canceled"
    assert found["private"] == ("error", "internal error")


async def test_a_daemon_that_was_killed(world: World) -> None:
    manager = world.history.recording("r", {}, (), lambda event: None)
    manager.__enter__()
    (world.root).mkdir(exist_ok=True)
    (world.root / "0123").write_bytes(b"of no record")
    (world.root / f"{world.history.find('r').file}.part").write_bytes(b"half of it")
    (record,) = History(world.table, world.root).all()
    assert record.state == "error" and "daemon" in record.error
    assert not list(world.root.iterdir())
    manager.__exit__(None, None, None)
    await world.history.settled()


async def test_secrets_in_addresses(world: World) -> None:
    world.build("r", given={"build-arg:A": "http://user:s3cret@host:1", "context": "https://tok@host/x.git"})
    await world.history.settled()
    assert "s3cret" not in str(world.table.rows) and "tok@" not in str(world.table.rows)


async def test_bounds(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Number, bytes and age; a pinned one stays, and so many can be pinned."""
    monkeypatch.setattr(module, "_MOST", 3)
    monkeypatch.setattr(module, "_PINNED", 1)
    world.build("first")
    await world.history.settled()
    world.history.pin(world.history.find("first"), True)
    for number in range(5):
        world.build(f"r{number}", *SAID)
        await world.history.settled()
    assert [record.ref for record in world.history.all()] == ["r4", "r3", "first"]
    with pytest.raises(Conflict, match="pinned"):
        world.history.pin(world.history.find("r4"), True)
    assert len(list(world.root.iterdir())) == 6 == 2 * len(world.table.list(KIND))
    monkeypatch.setattr(module, "_BYTES", world.history.size + 10)
    world.build("r5", *SAID)
    await world.history.settled()
    assert [record.ref for record in world.history.all()] == ["r5", "r4", "first"]
    monkeypatch.setattr(module, "_AGE", -1.0)
    world.build("old")
    await world.history.settled()
    assert [record.ref for record in world.history.all()] == ["first"]


async def test_finding_and_removing(world: World) -> None:
    world.build("abc1")
    world.build("abc2")
    assert world.history.find("abc1").ref == "abc1"
    with pytest.raises(Invalid, match="several"):
        world.history.find("abc")
    for ref in ("x", "", "../etc"):
        with pytest.raises((NotFound, Invalid)):
            world.history.find(ref)
    world.history.remove(world.history.find("abc2"))
    assert world.history.find("ab").ref == "abc1"
    await world.history.settled()
    assert {path.stem for path in world.root.iterdir()} == {world.history.find("abc1").file}


async def test_a_reference_that_comes_again(world: World) -> None:
    with world.history.recording("r", {}, (), lambda event: None):
        with pytest.raises(Conflict), world.history.recording("r", {}, (), lambda event: None):
            pass
        with pytest.raises(Conflict):
            world.history.remove(world.history.find("r"))
    world.build("r", given={"target": "second"})
    (record,) = (await world.again()).all()
    assert record.attributes == {"target": "second"}


async def test_too_much_is_clipped() -> None:
    log = BuildLog()
    for _ in range(300):
        log.add(Log("v", 1, b"x" * 10_000))
    for number in range(100_000):
        log.add(Vertex(f"v{number}", "name" * 10))
    data = log.encoded()
    said = [event for event in events(data) if isinstance(event, Log)]
    assert len(data) < 4 << 20 and b"clipped" in said[-1].data and log.total == 100_000
    assert len(list(events(data[:1000] + b"\xff" + data))) < 5


async def test_a_huge_request_is_kept_in_part(world: World) -> None:
    world.build("r", given={f"build-arg:{number}": "x" * 1000 for number in range(1000)})
    assert sum(map(len, world.history.find("r").attributes.values())) < 256 << 10
    with pytest.raises(Invalid, match="256 characters"):
        world.build("r" * 257)
    await world.history.settled()


async def test_listening(world: World) -> None:
    with world.history.listening() as changes:
        world.build("r")  # which is not read yet
        world.history.remove(world.history.find("r"))
        found = [await anext(changes) for _ in range(3)]
        assert [(kind, record.ref) for kind, record in found] == [("started", "r"), ("complete", "r"), ("deleted", "r")]
        for number in range(module._BEHIND):
            world.build(f"{number}")
        with pytest.raises(Unavailable):
            async for _ in changes:
                pass
    assert not world.history._listeners
    await world.history.settled()


async def test_a_full_disk(world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    def full(*args: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "_written", full)
    world.build("r", *SAID)
    await world.history.settled()
    assert "No space left" in caplog.text and await world.history.events(world.history.find("r")) == []
