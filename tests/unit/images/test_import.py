"""Import of one tree, from a body and from an address."""

from __future__ import annotations

import asyncio
import gzip
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from corten.errors import Corrupt, CortenError, Failed, Forbidden, Invalid, NotFound
from corten.spec.json import Json
from image_parts import tars
from image_parts.registries import Scripted
from image_parts.stores import BOTTOM, Store, body, collect, digest

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="owners and devices need root")


async def test_import(store: Store) -> None:
    changes = ['CMD ["echo", "hi"]', 'ENV A=1 B="2 3"', "EXPOSE 80 53/udp", "LABEL a=b", "WORKDIR /x", "USER 5",
               "VOLUME /v",
               "HEALTHCHECK --interval=5s CMD true"]  # fmt: skip
    (message,) = await collect(store.images.import_(body(BOTTOM), "imp", "1", "from afar", changes, None))
    image = store.images.resolve("imp:1")
    assert message == {"status": image.id}
    assert image.chain_id == digest(BOTTOM)
    shown = store.images.inspect("imp:1")
    assert shown["Comment"] == "from afar"
    assert shown["Config"]["Cmd"] == ["echo", "hi"]
    assert shown["Config"]["Env"] == ["A=1", "B=2 3"]
    assert shown["Config"]["ExposedPorts"] == {"80/tcp": {}, "53/udp": {}}
    assert shown["Config"]["Healthcheck"] == {"Interval": 5 * 10**9, "Test": ["CMD-SHELL", "true"]}
    for bad in ("RUN x", "ENV", "EXPOSE x", "ENV a"):
        with pytest.raises(Invalid):
            store.images.import_(body(BOTTOM), "", "", "", [bad], None)
    with pytest.raises(CortenError):
        await collect(store.images.import_(body(tars.file("../x")), "", "", "", [], None))
    await store.images.remove("imp:1")
    assert store.leftovers() == []


async def test_import_from_an_address(store: Store, server: Scripted) -> None:
    async def before(request: web.Request) -> web.StreamResponse | None:
        if request.path == "/moved.tar.gz":
            return web.Response(status=302, headers={"Location": "/root.tar.gz?x=%2B"})
        if request.path == "/root.tar.gz":
            return web.Response(body=gzip.compress(BOTTOM), headers={"Content-Encoding": "x-gzip"})
        return None

    server.before = before
    source = f"user:hunter2@{server.host}/moved.tar.gz"  # http, as nothing else is said
    messages = await collect(store.images.import_(source, "imp", "1", changes=["CMD a"]))
    image = store.images.resolve("imp:1")
    where = f"http://{server.host}/moved.tar.gz"
    assert messages == [{"status": f"Downloading from {where}"}, {"status": image.id}]
    assert image.chain_id == digest(BOTTOM)
    assert store.images.inspect("imp:1")["Comment"] == f"Imported from {where}"
    assert [request.query_string for request in server.requests] == ["", "x=%2B"]
    await store.images.remove("imp:1")
    assert store.leftovers() == []


@pytest.mark.parametrize(("path", "error", "said"), [
    ("none.tar", NotFound, "failed to GET http://HOST/none.tar with status 404: blob unknown"),
    ("secret.tar", Forbidden, "failed to GET http://HOST/secret.tar with status 403"),
    ("login.tar", Failed, "failed to GET http://HOST/login.tar with status 401"),
    ("away.tar", Failed, "redirects to where it must not: file:///etc/passwd"),
    ("loop.tar", Failed, "redirects more than 10 times"),
    ("page.tar", Invalid, "not a tar archive"),
    ("cut.tar", CortenError, "http://HOST/cut.tar|truncated"),
])  # fmt: skip
async def test_addresses_that_give_no_archive(
    store: Store, server: Scripted, path: str, error: type[CortenError], said: str
) -> None:
    async def before(request: web.Request) -> web.StreamResponse | None:
        match request.path:
            case "/secret.tar":
                return web.Response(status=403)
            case "/login.tar":
                return web.Response(status=401, headers={"WWW-Authenticate": "Basic"})
            case "/away.tar":
                return web.Response(status=302, headers={"Location": "file:///etc/passwd"})
            case "/loop.tar":
                return web.Response(status=302, headers={"Location": "/loop.tar"})
            case "/page.tar":
                return web.Response(text="<html>" * 1000)
            case "/cut.tar":
                return web.Response(body=BOTTOM[:700])
        return None

    server.before = before
    messages: list[dict[str, Any]] = []
    with pytest.raises((error, Corrupt), match=said.replace("HOST", server.host)):
        messages = await collect(store.images.import_(f"http://{server.host}/{path}", "imp", "1"))
        raise Corrupt(messages[-1]["error"])
    assert store.images.list() == []
    assert store.leftovers() == []


async def test_no_server_to_import_from(store: Store) -> None:
    with pytest.raises(Failed, match=r'Get "http://127.0.0.1:1/x": dial tcp 127.0.0.1:1: connect: connection refused'):
        await collect(store.images.import_("http://u:p@127.0.0.1:1/x"))
    for nonsense in ("ftp://x/y", "file:///etc/passwd", "http://", "http://x:99999/", "http://x y/", "http://[x/"):
        with pytest.raises(Invalid, match="is no http:// or https:// URL"):
            store.images.import_(nonsense)


@pytest.mark.parametrize(("said", "seconds"), [
    ("Wed, 01 Jan 2020 10:00:00 GMT", 1577872800),
    ("Wed, 01 Jan 2020 12:00:00 +0200", 1577872800),
    ("Mon, 01 Jan 1900 10:00:00 GMT", 0),
    ("yesterday", 0),
    (None, 0),
])  # fmt: skip
async def test_when_a_file_was_modified(store: Store, server: Scripted, said: str | None, seconds: int) -> None:
    async def before(request: web.Request) -> web.StreamResponse | None:
        return web.Response(body=b"content", headers={"Last-Modified": said} if said else {})

    server.before = before
    async with store.images.download(f"http://{server.host}/x") as found:
        assert b"".join([piece async for piece in found.pieces]) == b"content"
        assert found.modified == seconds


@pytest.mark.parametrize(
    "data",
    [
        b"\x1f\x8b\x08\0garbage, and more of it",
        gzip.compress(os.urandom(5000))[:3000] + bytes(3000),
        gzip.compress(b"no tar archive, " * 100),
        b"no tar archive, " * 100,
        tars.file("../x") + bytes(2000),
        b"(\xb5/\xfdgarbage, and more of it",
    ],
    ids=["gzip", "damaged-gzip", "no-tar-gzip", "no-tar", "outside", "zstd"],
)
async def test_what_is_refused_ends_a_sender_that_waits(store: Store, data: bytes) -> None:
    async def sent() -> AsyncIterator[bytes]:
        yield data
        await asyncio.Event().wait()

    async with asyncio.timeout(20):
        with pytest.raises(CortenError):
            await collect(store.images.import_(sent(), "imp", "1", "", [], None))
    assert store.images.list() == []
    assert store.leftovers() == []


async def test_an_import_is_unpacked_while_it_arrives(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no second pass over its blob."""
    unpacker = store.images.store.unpacker
    monkeypatch.delattr(type(unpacker), "unpack")
    begun, unpack = asyncio.Event(), unpacker._workers.unpack

    async def unpacking(tree: Path, source_fd: int) -> Json:
        begun.set()
        return await unpack(tree, source_fd)

    monkeypatch.setattr(unpacker._workers, "unpack", unpacking)

    async def sent() -> AsyncIterator[bytes]:
        yield BOTTOM[:700]
        await begun.wait()  # a blob that is complete before is unpacked afterwards
        for at in range(700, len(BOTTOM), 700):
            yield BOTTOM[at : at + 700]

    await collect(store.images.import_(sent(), "imp", "1", "", [], None))
    assert store.images.resolve("imp:1").chain_id == digest(BOTTOM)
