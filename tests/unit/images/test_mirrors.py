"""Pulls by way of mirrors that lack something, lie, or are not there: the next place is asked, and it is said."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from corten.registry.client import registry, repository
from corten.registry.client.registry import Settings
from corten.registry.client.sources import Rule
from image_parts import tars
from image_parts.registries import Scripted, scripted
from image_parts.stores import Made, Store, collect, digest

IMAGE = Made([tars.archive(tars.file("a", b"1")), tars.archive(tars.file("b", b"2"))])


@pytest.fixture
async def origin() -> AsyncIterator[Scripted]:
    async with scripted() as registry:
        registry.add("1", IMAGE)
        yield registry


@pytest.fixture
async def mirror() -> AsyncIterator[Scripted]:
    async with scripted() as registry:
        registry.add("1", IMAGE)
        yield registry


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    store = Store(tmp_path / "root", stall=5)
    yield store
    await store.close()


async def pull(store: Store, origin: Scripted, *mirrors: str, only: bool = False) -> list[dict[str, Any]]:
    """A pull of the origin's image by these mirrors."""
    store.registry.configure(Settings(rules=(Rule(origin.host, mirrors, "", only),)))
    return await collect(store.images.pull(f"{origin.host}/a/b", "1"))


def arrived(store: Store, origin: Scripted) -> None:
    found = store.images.resolve(f"{origin.host}/a/b:1")
    assert found.repo_digests == (f"{origin.host}/a/b@{digest(IMAGE.manifest)}",)


async def test_a_mirror_that_has_all_of_it(store: Store, origin: Scripted, mirror: Scripted) -> None:
    await pull(store, origin, f"http://{mirror.host}/cache")
    arrived(store, origin)
    assert origin.requests == []
    first, *others = (request.path for request in mirror.requests)
    assert first == "/v2/" and {path.rpartition("/b/")[0] for path in others} == {"/v2/cache/a"}


@pytest.mark.parametrize("wrong", ["absent", "no-tag", "no-layer", "other-layer", "error"])
async def test_mirrors_that_do_not(store: Store, origin: Scripted, mirror: Scripted, wrong: str) -> None:
    layer = digest(IMAGE.layers[1])
    address = "127.0.0.1:1" if wrong == "absent" else mirror.host
    if wrong == "no-tag":
        mirror.manifests.clear()
    if wrong == "no-layer":
        del mirror.blobs[layer]
    if wrong == "other-layer":
        mirror.blobs[layer] = bytes(len(mirror.blobs[layer]))
    if wrong == "error":

        async def before(request: web.Request) -> web.StreamResponse:
            return web.Response(status=500)

        mirror.before = before
    messages = await pull(store, origin, f"http://{address}")
    assert messages[-1]["status"].startswith("Status: Downloaded newer image"), messages[-1]
    arrived(store, origin)
    asked = {request.path.rpartition("/")[2] for request in origin.requests}
    if wrong in ("no-layer", "other-layer"):
        assert any(m.get("status", "").endswith("asking the next") for m in messages)
        assert layer in asked and digest(IMAGE.config) not in asked  # what the mirror had is kept


@pytest.mark.parametrize("wrong", ["503", "429", "layer", "cut"])
async def test_a_mirror_is_tried_once(store: Store, origin: Scripted, mirror: Scripted, wrong: str) -> None:
    """Retries, and the pauses that a place asks for, are the last one's: a mirror is there to be quicker."""
    layer = digest(IMAGE.layers[1])

    async def before(request: web.Request) -> web.StreamResponse | None:
        if wrong == "cut" and request.path.endswith(layer):
            return web.Response(body=IMAGE.layers[1][:100])  # ends before it should
        if wrong == "cut" or (wrong == "layer" and not request.path.endswith(layer)):
            return None
        return web.Response(status=int(wrong) if wrong.isdigit() else 503, headers={"Retry-After": "120"})

    mirror.before = before
    async with asyncio.timeout(30):
        messages = await pull(store, origin, f"http://{mirror.host}")
    assert messages[-1]["status"].startswith("Status: Downloaded newer image"), messages[-1]
    arrived(store, origin)
    asked = [request.path for request in mirror.requests]
    assert sorted(asked) == sorted(set(asked)), "asked twice"
    assert not any("Retrying" in message.get("status", "") for message in messages)


@pytest.mark.parametrize("silent", ["/v2/", "1", "token", "layer"])
async def test_a_silent_mirror_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, origin: Scripted, mirror: Scripted, silent: str
) -> None:
    """It takes the connection and says nothing; the last place may be as slow as it is."""
    for module, name in ((repository, "FIRST_ANSWER"), (registry, "MIRROR_STALL")):
        monkeypatch.setattr(module, name, 0.3)
    layer = digest(IMAGE.layers[1])

    async def hold(request: web.Request) -> web.StreamResponse | None:
        if silent == "token" and not request.path.endswith("/token"):
            asks = f'Bearer realm="http://{mirror.host}/token",service="x"'
            return web.Response(status=401, headers={"WWW-Authenticate": asks})
        if request.path.endswith(layer if silent == "layer" else silent):
            await asyncio.sleep(60)
        return None

    async def slow(request: web.Request) -> web.StreamResponse | None:
        await asyncio.sleep(0.6)
        return None

    mirror.before, origin.before = hold, slow
    store = Store(tmp_path / "root", stall=20)
    try:
        async with asyncio.timeout(60):
            messages = await pull(store, origin, f"http://{mirror.host}")
        assert messages[-1]["status"].startswith("Status: Downloaded newer image"), messages[-1]
        arrived(store, origin)
    finally:
        await store.close()


async def test_only_mirrors(store: Store, origin: Scripted, mirror: Scripted) -> None:
    mirror.blobs.clear()
    messages = await pull(store, origin, "http://127.0.0.1:1", f"http://{mirror.host}", only=True)
    assert "blob unknown" in messages[-1]["error"]
    assert origin.requests == [] and store.leftovers() == []
