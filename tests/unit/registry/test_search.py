"""Looking into registries without pulling: search by index and by catalog, DistributionInspect."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from corten.errors import Corrupt, Failed, Invalid, NotFound, Unauthorized, Unsupported
from corten.images.remote import Remote
from corten.registry.client.registry import Registry, Settings
from corten.registry.client.sources import Rule
from corten.spec.docker.filters import Filters
from corten.spec.oci_image import DOCKER_LIST
from corten.store.blobs import Blobs
from image_parts.registries import Scripted, scripted
from image_parts.stores import Made, digest, entry

NAMES = ["a/app", "b/app", "c/other", "d/app"]


@pytest.fixture
async def server() -> AsyncIterator[Scripted]:
    async with scripted() as registry:
        yield registry


@pytest.fixture
async def remote(tmp_path: Path) -> AsyncIterator[Remote]:
    registry = Registry(Blobs(tmp_path), pause=0.01)
    yield Remote(registry)
    await registry.close()


def catalog(server: Scripted, user: str = "") -> None:
    async def before(request: web.Request) -> web.StreamResponse | None:
        if user and "Authorization" not in request.headers:
            return web.Response(status=401, headers={"WWW-Authenticate": 'Basic realm="x"'})
        if request.path != "/v2/_catalog":
            return None
        last = request.query.get("last", "")
        return web.json_response({"repositories": [name for name in NAMES if name > last][:2]})

    server.before = before


async def names(remote: Remote, term: str, limit: int = 0, **filters: Any) -> list[str]:
    found = await remote.search(term, limit, Filters(filters), {})
    return [row["name"] for row in found]


async def test_a_catalog(remote: Remote, server: Scripted) -> None:
    catalog(server)
    host = server.host
    assert await names(remote, f"{host}/app") == [f"{host}/a/app", f"{host}/b/app", f"{host}/d/app"]
    assert await names(remote, f"{host}/app", 2) == [f"{host}/a/app", f"{host}/b/app"]
    assert await names(remote, f"{host}/") == [f"{host}/{name}" for name in NAMES]
    assert await names(remote, f"{host}/nothing") == []
    assert await names(remote, f"{host}/app", stars=["1"]) == []
    assert await names(remote, f"{host}/app", 0, **{"is-official": ["true"]}) == []
    assert len(await names(remote, f"{host}/app", 0, **{"is-official": ["false"]})) == 3


async def test_an_index(remote: Remote, server: Scripted) -> None:
    results = [
        {"name": "library/app", "description": "good\nthing", "star_count": 9, "is_official": True},
        {"name": "x/app", "description": None, "star_count": "many", "is_official": "yes"},
        {"name": 5},
        "nonsense",
    ]

    async def before(request: web.Request) -> web.StreamResponse | None:
        return web.json_response({"results": results}) if request.path == "/v1/search" else None

    server.before = before
    first, second = await remote.search(f"{server.host}/app", 7, Filters(), {})
    assert first == {"name": f"{server.host}/library/app", "description": "good\nthing", "star_count": 9,
                     "is_official": True, "is_automated": False}  # fmt: skip
    assert (second["star_count"], second["is_official"], second["description"]) == (0, False, "")
    assert dict(server.requests[-1].query) == {"q": "app", "n": "7"}
    assert await names(remote, f"{server.host}/app", stars=["3"]) == [f"{server.host}/library/app"]


async def test_searching_with_credentials(remote: Remote, server: Scripted) -> None:
    catalog(server, "u")
    with pytest.raises(Failed, match="no basic auth credentials"):
        await remote.search(f"{server.host}/app", 0, Filters(), {})
    assert await remote.search(f"{server.host}/app", 0, Filters(), {"username": "u", "password": "p"})


@pytest.mark.parametrize("answer", [b"", b"[]", b'{"repositories": 5}', b'{"repositories": [1]}'])
async def test_answers_that_are_no_catalog(remote: Remote, server: Scripted, answer: bytes) -> None:
    async def before(request: web.Request) -> web.StreamResponse | None:
        return web.Response(body=answer) if request.path == "/v2/_catalog" else None

    server.before = before
    with pytest.raises(Failed):
        await names(remote, f"{server.host}/app")


async def test_registries_that_cannot_be_searched(remote: Remote, server: Scripted) -> None:
    with pytest.raises(Unsupported, match="cannot be searched"):
        await names(remote, f"{server.host}/app")

    async def before(request: web.Request) -> web.StreamResponse | None:
        return web.Response(status=403)

    server.before = before
    with pytest.raises(Unauthorized):
        await names(remote, f"{server.host}/app")


@pytest.mark.parametrize(
    ("term", "limit", "filters"),
    [
        ("https://x/y", 0, {}),
        ("", 0, {}),
        ("x", 101, {}),
        ("x", -1, {}),
        ("x", 0, {"stars": ["many"]}),
        ("a..b:x/y", 0, {}),
    ],
)
async def test_bad_searches(remote: Remote, term: str, limit: int, filters: Any) -> None:
    with pytest.raises(Invalid):
        await names(remote, term, limit, **filters)


async def test_distribution(remote: Remote, server: Scripted) -> None:
    image = Made([b"layer"], "riscv64")
    top = server.add("1", image)
    ref = f"{server.host}/a/b"
    kind = "application/vnd.oci.image.manifest.v1+json"
    wanted = {"mediaType": kind, "digest": top, "size": len(image.manifest)}
    found = {"Descriptor": wanted, "Platforms": [{"architecture": "riscv64", "os": "linux"}]}
    assert await remote.distribution(f"{ref}:1", {}) == found
    assert await remote.distribution(f"{ref}@{top}", {}) == found
    platform = {"architecture": "arm", "os": "linux", "variant": "v7", "os.version": "1", "junk": 1}
    index = {
        "schemaVersion": 2,
        "mediaType": DOCKER_LIST,
        "manifests": [
            {**entry(kind, image.manifest), "platform": platform},
            entry(kind, image.manifest),
        ],
    }
    body = json.dumps(index).encode()
    server.manifests["latest"] = (DOCKER_LIST, body)
    assert await remote.distribution(ref, {}) == {
        "Descriptor": {"mediaType": DOCKER_LIST, "digest": digest(body), "size": len(body)},
        "Platforms": [{"architecture": "arm", "os": "linux", "variant": "v7", "os.version": "1"}],
    }
    assert not [r for r in server.requests if r.path.endswith(digest(image.layers[0]))]
    with pytest.raises(NotFound):
        await remote.distribution(f"{ref}:no", {})
    server.blobs[digest(image.config)] = b"{}"
    with pytest.raises(Corrupt):
        await remote.distribution(f"{ref}:1", {})


@pytest.mark.parametrize("status", [0, 404, 500])
async def test_distribution_beside_a_broken_mirror(tmp_path: Path, server: Scripted, status: int) -> None:
    async with scripted() as mirror:

        async def fails(request: web.Request) -> web.StreamResponse:
            return web.Response(status=status)

        mirror.before = fails
        place = f"http://{mirror.host}" if status else "http://127.0.0.1:1"
        registry = Registry(Blobs(tmp_path), pause=0.01)
        registry.configure(Settings(rules=(Rule(server.host, (place,)),)))
        top = server.add("1", Made([b"layer"]))
        found = await Remote(registry).distribution(f"{server.host}/a/b:1", {})
        assert found["Descriptor"]["digest"] == top
        await registry.close()
