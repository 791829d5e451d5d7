"""Control groups that were made for containers go when they are empty, whatever is in the way meanwhile."""

from __future__ import annotations

import asyncio
import errno
import os

import pytest

from corten.engine.containers import parents
from corten.engine.containers import remove as container_remove
from corten.engine.engine import Engine
from fakes.containers import make, run

PARENT = "/pods/web"


class MemoryGroups:
    """In one tree at /tree. Those in `busy` cannot be removed, and `refusal` is why none can."""

    def __init__(self) -> None:
        self.there = {"/tree"}
        self.busy: set[str] = set()
        self.refusal = 0
        self.tried: list[str] = []
        self.changed = asyncio.Event()

    def missing(self, path: str) -> dict[str, str]:
        parts = path.strip("/").split("/")
        above = ["/" + "/".join(parts[: count + 1]) for count in range(len(parts))]
        found = {f"/tree{one}": one for one in above if f"/tree{one}" not in self.there}
        self.there |= set(found)
        return found

    def remove(self, directory: str) -> bool:
        self.tried.append(directory)
        self.changed.set()
        if self.refusal:
            raise OSError(self.refusal, os.strerror(self.refusal), directory)
        if directory in self.busy or any(one.startswith(f"{directory}/") for one in self.there):
            return False
        self.there.discard(directory)
        return True

    async def empty(self) -> None:
        async with asyncio.timeout(60):
            while self.there != {"/tree"}:
                self.changed.clear()
                await self.changed.wait()


@pytest.fixture
async def groups(engine: Engine) -> MemoryGroups:
    engine.containers.groups = made = MemoryGroups()
    return made


def _recorded(engine: Engine) -> set[str]:
    return set(engine.containers.table.list(parents.KIND))


async def test_they_stay_recorded_while_something_is_in_them(engine: Engine, groups: MemoryGroups) -> None:
    """As a container that is still being erased when the erasure of another one is done."""
    first, second = [await run(engine, "true", CgroupParent=PARENT) for _ in range(2)]
    groups.busy = {f"/tree{PARENT}"}
    for container in (first, second):
        await container_remove.remove(engine.containers, container, force=True)
    await engine.settle()
    assert _recorded(engine) == {"/tree/pods", f"/tree{PARENT}"}
    groups.busy = set()
    await groups.empty()
    assert not _recorded(engine)


async def test_what_others_hold_goes_with_a_later_container(
    engine: Engine, groups: MemoryGroups, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    monkeypatch.setattr(parents, "_PAUSES", (0.0, 0.0))
    groups.busy = {f"/tree{PARENT}"}
    container = await run(engine, "true", CgroupParent=PARENT)
    await container_remove.remove(engine.containers, container, force=True)
    await engine.settle()
    assert engine.containers.emptying is not None
    await engine.containers.emptying
    assert "in use by others" in caplog.text and f"/tree{PARENT}" in caplog.text
    groups.busy = set()
    other = await make(engine, CgroupParent="/other")
    await container_remove.remove(engine.containers, other)
    await engine.settle()
    assert groups.there == {"/tree"} and not _recorded(engine)


async def test_an_error_is_named_and_the_group_stays_recorded(
    engine: Engine, groups: MemoryGroups, caplog: pytest.LogCaptureFixture
) -> None:
    groups.refusal = errno.EROFS
    container = await run(engine, "true", CgroupParent=PARENT)
    await container_remove.remove(engine.containers, container, force=True)
    await engine.settle()
    assert f"control group /tree{PARENT} cannot be removed: read-only file system" in caplog.text
    assert _recorded(engine) == {"/tree/pods", f"/tree{PARENT}"}
    groups.refusal = 0
    parents.remove_unused(engine.containers)
    assert groups.there == {"/tree"} and not _recorded(engine)


async def test_a_group_of_a_container_that_is_there_stays(engine: Engine, groups: MemoryGroups) -> None:
    first, second = [await run(engine, "true", CgroupParent=PARENT) for _ in range(2)]
    await container_remove.remove(engine.containers, first, force=True)
    await engine.settle()
    assert not groups.tried
    await container_remove.remove(engine.containers, second, force=True)
    await engine.settle()
    assert groups.tried == [f"/tree{PARENT}", "/tree/pods"]
