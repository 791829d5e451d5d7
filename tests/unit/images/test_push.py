"""Pushing, and pulling what is pushed whole: against a registry that breaks off, loses uploads, refuses and stalls."""

from __future__ import annotations

import asyncio
import errno
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from corten.errors import NotFound
from corten.spec.oci_image import OCI_INDEX, OCI_MANIFEST
from image_parts import tars
from image_parts.registries import Scripted, scripted
from image_parts.stores import Made, Store, collect, digest, entry

SMALL = tars.archive(tars.file("small", b"1"))
BIG = tars.archive(tars.file("big", os.urandom(10 << 20)))


@pytest.fixture
async def server() -> AsyncIterator[Scripted]:
    async with scripted() as registry:
        yield registry


@pytest.fixture
async def impatient(tmp_path: Path) -> AsyncIterator[Store]:
    """One that waits for two seconds: what goes on is quicker, on a busy machine as well."""
    store = Store(tmp_path / "impatient", stall=2)
    yield store
    await store.close()


async def pulled(store: Store, server: Scripted, image: Made, tag: str = "1", platform: str | None = None) -> str:
    """Have an image here by a pull from `a/b`; the repository's name."""
    server.add(tag, image)
    messages = await collect(store.images.pull(f"{server.host}/a/b", tag, platform))
    assert messages[-1]["status"].startswith("Status: "), messages[-1]
    server.requests.clear()
    return f"{server.host}/a/b"


def forget(server: Scripted) -> None:
    """The registry has nothing any more."""
    server.blobs.clear()
    server.manifests.clear()


def statuses(messages: list[dict[str, Any]]) -> list[str]:
    return [m["status"] for m in messages if "status" in m and m["status"] != "Pushing"]


async def push(store: Store, name: str, tag: str = "1", platform: str | None = None) -> list[str]:
    messages = await collect(store.images.push(name, tag, {}, platform))
    assert "error" not in messages[-1], messages[-1]
    return statuses(messages)


def ranges(server: Scripted) -> list[str]:
    return [r.headers["Content-Range"] for r in server.requests if r.method == "PATCH"]


async def test_an_upload_goes_on_where_it_broke(store: Store, server: Scripted) -> None:
    image = Made([BIG])
    name, size = await pulled(store, server, image), len(image.layers[0])
    forget(server)
    server.uploads.cut = lambda there: there > 5 << 20
    said = await push(store, name)
    assert "Retrying in 1 second" in said and "Pushed" in said
    first, second = ranges(server)[:2]
    start = int(second.partition("-")[0])
    assert first == f"0-{size - 1}" and second == f"{start}-{size - 1}" and start > 5 << 20
    assert server.blobs[digest(image.layers[0])] == image.layers[0]
    assert server.manifests["1"][1] == image.manifest


async def test_a_registry_that_loses_an_upload(store: Store, server: Scripted) -> None:
    image = Made([BIG])
    name, size = await pulled(store, server, image), len(image.layers[0])
    forget(server)

    def cut(there: int) -> bool:
        if there > 1 << 20:
            server.uploads.parts.clear()
            return True
        return False

    server.uploads.cut = cut
    await push(store, name)
    assert ranges(server)[:2] == [f"0-{size - 1}"] * 2
    assert digest(image.layers[0]) in server.blobs


async def test_a_registry_that_is_wrong_about_what_it_has(store: Store, server: Scripted) -> None:
    """It says more than it takes on from: 416. The upload begins anew."""
    image = Made([BIG])
    name = await pulled(store, server, image)
    forget(server)
    server.uploads.cut = lambda there: there > 1 << 20

    async def before(request: web.Request) -> web.StreamResponse | None:
        if request.method == "GET" and "/uploads/" in request.path:
            return web.Response(status=204, headers={"Range": "0-9999"})
        return None

    server.before = before
    await push(store, name)
    assert digest(image.layers[0]) in server.blobs


async def test_limits_and_errors_are_said_and_tried_again(store: Store, server: Scripted) -> None:
    image = Made([SMALL])
    name = await pulled(store, server, image)
    forget(server)
    troubles = {
        ("HEAD", "blobs"): web.Response(status=500),
        ("POST", "uploads"): web.Response(status=429, headers={"Retry-After": "0"}),
        ("PATCH", "uploads"): web.Response(status=503),
        ("PUT", "uploads"): web.Response(status=502),
        ("PUT", "manifests"): web.Response(status=429, headers={"Retry-After": "0"}),
    }

    async def before(request: web.Request) -> web.StreamResponse | None:
        kind = next(kind for kind in ("uploads", "manifests", "blobs") if f"/{kind}/" in request.path)
        return troubles.pop((request.method, kind), None)

    server.before = before
    said = await push(store, name)
    assert troubles == {}
    assert said.count("Retrying in 1 second") >= 5
    assert server.manifests["1"][1] == image.manifest


async def test_giving_up(store: Store, server: Scripted) -> None:
    name = await pulled(store, server, Made([SMALL]))
    forget(server)

    async def before(request: web.Request) -> web.StreamResponse | None:
        return web.Response(status=503) if request.method == "PATCH" else None

    server.before = before
    messages = await collect(store.images.push(name, "1"))
    assert "503" in messages[-1]["error"]
    assert statuses(messages).count("Retrying in 1 second") == 4


async def test_a_registry_that_stops_reading(impatient: Store, server: Scripted) -> None:
    """More than fits between the two: only a clock can show it."""
    image, once = Made([BIG]), asyncio.Event()
    name = await pulled(impatient, server, image)
    forget(server)

    async def before(request: web.Request) -> web.StreamResponse | None:
        if request.method == "PATCH" and not once.is_set():
            once.set()
            await asyncio.sleep(3600)
        return None

    server.before = before
    said = await push(impatient, name)
    assert "Retrying in 1 second" in said
    assert digest(image.layers[0]) in server.blobs


async def test_a_download_that_stalls_goes_on_where_it_stood(impatient: Store, server: Scripted) -> None:
    image = Made([BIG])
    server.add("1", image)
    layer = image.layers[0]

    async def before(request: web.Request) -> web.StreamResponse | None:
        if not request.path.endswith(digest(layer)) or "Range" in request.headers:
            return None
        response = web.StreamResponse(headers={"Content-Length": str(len(layer))})
        await response.prepare(request)
        await response.write(layer[: 3 << 20])
        await asyncio.sleep(3600)
        return response

    server.before = before
    messages = await collect(impatient.images.pull(f"{server.host}/a/b", "1"))
    assert messages[-1]["status"].startswith("Status: Downloaded newer image")
    assert [m["id"] for m in messages if m.get("status") == "Retrying in 1 second"] == [digest(layer)[7:19]]
    (again,) = [r.headers["Range"] for r in server.requests if "Range" in r.headers]
    assert again == f"bytes={3 << 20}-"


async def test_mounts(store: Store, server: Scripted) -> None:
    name = await pulled(store, server, Made([SMALL]))
    store.images.tag(f"{name}:1", f"{server.host}/other", "1")
    real = dict(server.blobs)

    async def before(request: web.Request) -> web.StreamResponse | None:
        return web.Response(status=404) if request.method == "HEAD" else None

    server.before = before
    assert "Mounted from a/b" in await push(store, f"{server.host}/other")
    assert ranges(server) == ["0-" + str(len(real[digest(Made([SMALL]).config)]) - 1)]  # the configuration alone
    server.uploads.mounts = False
    assert "Pushed" in await push(store, f"{server.host}/other")
    assert server.uploads.parts == {}  # what was begun for nothing was given up


async def test_what_is_given_up_elsewhere_is_left_there(store: Store, server: Scripted) -> None:
    """A registry would choose which server of a private network is sent a DELETE, and of what."""
    name = await pulled(store, server, Made([SMALL]))
    store.images.tag(f"{name}:1", f"{server.host}/other", "1")
    async with scripted() as elsewhere:

        async def before(request: web.Request) -> web.StreamResponse | None:
            if request.method == "HEAD":
                return web.Response(status=404)
            if "mount" in request.query:
                return web.Response(status=202, headers={"Location": f"http://{elsewhere.host}/v2/a/manifests/1"})
            return None

        server.before = before
        assert "Pushed" in await push(store, f"{server.host}/other")
        assert elsewhere.requests == []


async def test_mounts_with_tokens(store: Store, server: Scripted) -> None:
    """The token says from the beginning what is to be mounted from: a registry need not ask for that."""
    name = await pulled(store, server, Made([SMALL]))
    store.images.tag(f"{name}:1", f"{server.host}/other", "1")

    async def before(request: web.Request) -> web.StreamResponse | None:
        if request.path == "/token":
            return web.json_response({"token": "+".join(request.query.getall("scope")).replace(":", ".")})
        if "Authorization" not in request.headers:
            challenge = f'Bearer realm="http://{server.host}/token",scope="repository:other:pull,push"'
            return web.Response(status=401, headers={"WWW-Authenticate": challenge})
        if request.method == "HEAD":
            return web.Response(status=404)
        server.uploads.mounts = "repository.a/b.pull" in request.headers["Authorization"].split("+")
        return None

    server.before = before
    assert "Mounted from a/b" in await push(store, f"{server.host}/other")


async def test_credentials_stay_with_the_registry_that_uploads_elsewhere(store: Store, server: Scripted) -> None:
    name = await pulled(store, server, Made([SMALL]))
    forget(server)
    async with scripted() as other:
        other.uploads.parts = server.uploads.parts
        other.uploads._blobs = server.blobs
        server.uploads.place = f"http://{other.host}"

        async def before(request: web.Request) -> web.StreamResponse | None:
            if "Authorization" in request.headers:
                return None
            return web.Response(status=401, headers={"WWW-Authenticate": "Basic"})

        server.before = before
        messages = await collect(store.images.push(name, "1", {"username": "u", "password": "p"}))
        assert "error" not in messages[-1], messages[-1]
        assert {r.method for r in other.requests} == {"PATCH", "PUT"}
        assert all("Authorization" not in r.headers for r in other.requests)
        assert all("Authorization" in r.headers for r in server.requests[1:])


async def test_a_place_for_uploads_that_asks_for_credentials_gets_none(store: Store, server: Scripted) -> None:
    name = await pulled(store, server, Made([SMALL]))
    forget(server)
    async with scripted() as other:
        server.uploads.place = f"http://{other.host}"

        async def demands_token(request: web.Request) -> web.StreamResponse:
            return web.Response(status=401, headers={"WWW-Authenticate": f'Bearer realm="http://{other.host}/token"'})

        other.before = demands_token
        messages = await collect(store.images.push(name, "1", {"username": "u", "password": "p"}))
        assert "error" in messages[-1]
        assert other.requests and all("Authorization" not in r.headers for r in other.requests)


@pytest.mark.parametrize(
    "place", ["", "ftp://x/y", "file:///etc/passwd", "http:///x", "http://[::1", "http://u:p@127.0.0.1:1/", "//\u2028/"]
)
async def test_places_for_uploads_that_are_none(store: Store, server: Scripted, place: str) -> None:
    name = await pulled(store, server, Made([SMALL]))
    forget(server)

    async def before(request: web.Request) -> web.StreamResponse | None:
        if request.method != "POST":
            return None
        return web.Response(status=202, headers={"Location": place} if place else {})

    server.before = before
    messages = await collect(store.images.push(name, "1", {"username": "u", "password": "p"}))
    errors = [message["error"] for message in messages if "error" in message]
    assert len(errors) == 1 and "\n" not in errors[0] and "u:p" not in errors[0]


# ---------------------------------------------------------------------------------------------------- every platform


def index(images: dict[str, Made]) -> bytes:
    manifests = [
        {**entry(OCI_MANIFEST, image.manifest), "platform": {"os": "linux", "architecture": architecture}}
        for architecture, image in images.items()
    ]
    return json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests}).encode()


@pytest.fixture
def images(server: Scripted) -> dict[str, Made]:
    """Images of three platforms, of which one is this machine's, behind the tag `multi`."""
    made = {name: Made([SMALL, tars.archive(tars.file(name))], name) for name in ("amd64", "arm64", "riscv64")}
    for image in made.values():
        server.add(digest(image.manifest), image)
    body = index(made)
    server.manifests["multi"] = server.manifests[digest(body)] = (OCI_INDEX, body)
    return made


async def test_an_index_comes_and_goes_whole(store: Store, server: Scripted, images: dict[str, Made]) -> None:
    name, top = f"{server.host}/a/b", digest(index(images))
    before = dict(server.blobs), dict(server.manifests)
    await collect(store.images.pull(name, "multi", "all"))
    assert len(store.images.list()) == 1
    store.images.store.collector.everything()  # nothing of it may be removed
    await collect(store.images.pull(name, "multi"))  # nor when the image alone comes again
    store.images.tag(f"{name}:multi", f"{server.host}/new", "all")
    forget(server)
    said = await push(store, f"{server.host}/new", "all")
    assert said[-1] == f"all: digest: {top} size: {len(index(images))}"
    assert f"{server.host}/new@{top}" in store.images.inspect(f"{name}:multi")["RepoDigests"]
    assert server.blobs == before[0]
    assert server.manifests["all"] == before[1]["multi"]
    assert {digest(image.manifest) for image in images.values()} < set(server.manifests)
    for ref in (f"{name}:multi", f"{server.host}/new:all"):
        await store.images.remove(ref)
    assert store.leftovers() == []


async def test_one_platform_of_it(store: Store, server: Scripted, images: dict[str, Made]) -> None:
    name = f"{server.host}/a/b"
    await collect(store.images.pull(name, "multi", "all"))
    said = await push(store, name, "multi", "linux/riscv64")
    assert digest(images["riscv64"].manifest) in said[-1]
    assert server.manifests["multi"][1] == images["riscv64"].manifest
    with pytest.raises(NotFound, match=r"was found but does not provide the specified platform \(linux/s390x\)"):
        await collect(store.images.push(name, "multi", {}, "linux/s390x"))


async def test_without_the_rest_of_it_the_image_goes_alone(
    store: Store, server: Scripted, images: dict[str, Made]
) -> None:
    name = f"{server.host}/a/b"
    await collect(store.images.pull(name, "multi", "linux/arm64"))
    await push(store, name, "multi")
    assert server.manifests["multi"][1] == images["arm64"].manifest


async def test_an_index_whose_parts_are_not_there(store: Store, server: Scripted, images: dict[str, Made]) -> None:
    del server.manifests[digest(images["riscv64"].manifest)]
    name = f"{server.host}/a/b"
    messages = await collect(store.images.pull(name, "multi", "all"))
    assert "manifest unknown" in messages[-1]["error"]
    assert store.images.list() == []
    assert store.leftovers() == []
    await collect(store.images.pull(name, "multi"))
    assert len(store.images.list()) == 1


async def test_a_disk_that_cannot_be_read_is_reported_at_once_and_as_ours(
    store: Store, server: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = await pulled(store, server, Made([BIG]))
    forget(server)

    def fail(fd: int, count: int, at: int) -> bytes:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as broken:
        broken.setattr(os, "pread", fail)
        messages = await collect(store.images.push(name, "1", {}))
    assert messages[-1]["error"].startswith("cannot read blob sha256:"), messages[-1]
    assert not [message for message in messages if "Retrying" in message.get("status", "")]


async def test_an_image_that_is_removed_while_it_is_pushed_stays_removed(store: Store, server: Scripted) -> None:
    name = await pulled(store, server, Made([SMALL]))
    forget(server)

    async def before(request: web.Request) -> web.StreamResponse | None:
        if request.method == "PUT" and "/manifests/" in request.path:
            await store.images.remove(f"{name}:1")
        return None

    server.before = before
    await push(store, name)
    assert server.manifests
    assert store.images.list() == []
    assert store.leftovers() == []
