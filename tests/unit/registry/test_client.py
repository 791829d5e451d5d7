"""The client against a registry that misbehaves on purpose: blobs, manifests, addresses."""

from __future__ import annotations

from pathlib import Path

import pytest
from aiohttp import web

from corten.errors import Corrupt, Failed, Invalid, NotFound, Unavailable
from corten.registry.client.endpoints import Endpoints
from corten.registry.client.registry import Registry
from corten.spec.reference import parse
from image_parts.asking import DATA, blob, manifest
from image_parts.registries import Scripted, bearer
from image_parts.stores import digest


def test_which_registries_may_do_without_tls() -> None:
    plain = Endpoints()
    assert plain.find("docker.io").schemes == ("https",)
    assert plain.find("docker.io").host == "registry-1.docker.io"
    for host in ("localhost", "localhost:5000", "127.0.0.1:5000", "127.8.9.1", "[::1]:5000"):
        assert (plain.find(host).schemes, plain.find(host).verify) == (("https", "http"), False)
        assert not plain.mirror(host, "https").verify
    for host in ("localhost.evil.com", "127.0.0.1.evil.com", "10.0.0.1:5000", "registry.local"):
        assert (plain.find(host).schemes, plain.find(host).verify) == (("https",), True)
        assert plain.mirror(host, "https").verify
    some = Endpoints(["10.0.0.0/8", "registry.local:5000"])
    assert some.find("10.1.2.3:5000").insecure
    assert some.find("registry.local:5000").insecure
    assert not some.find("registry.local:5001").insecure
    with pytest.raises(Invalid):
        Endpoints(["10.0.0.0/99"])


async def test_what_is_there(client: Registry, server: Scripted, tmp_path: Path) -> None:
    assert await manifest(client, server) == server.manifests["1"][1]
    await blob(client, server)
    assert client._blobs.read(digest(DATA), len(DATA)) == DATA


async def test_what_is_not_there(client: Registry, server: Scripted) -> None:
    with pytest.raises(NotFound, match=r"manifest for .*/a/b:2 not found: manifest unknown: manifest unknown"):
        await manifest(client, server, "2")


async def test_no_registry_listens(client: Registry) -> None:
    reference = parse("127.0.0.1:1/a:b")
    with pytest.raises(
        Failed, match=r'Get "http://127.0.0.1:1/v2/": dial tcp 127.0.0.1:1: connect: connection refused'
    ):
        await client.manifest(client.repository(reference, None), reference)


async def test_wrong_digests_keep_nothing(client: Registry, server: Scripted) -> None:
    server.blobs[digest(b"wanted")] = b"served"
    with pytest.raises(Corrupt, match="digest mismatch"):
        await blob(client, server, b"wanted")
    server.manifests[digest(b"x")] = server.manifests["1"]
    reference = parse(f"{server.host}/a/b@{digest(b'x')}")
    with pytest.raises(Corrupt, match="verification failed"):
        await client.manifest(client.repository(reference, None), reference)
    assert not list(client._blobs.list())
    assert not list((client._blobs.root / "ingest").iterdir())


async def test_another_length_than_said(client: Registry, server: Scripted) -> None:
    for size in (1000, len(DATA) + 1, 1 << 49):
        with pytest.raises(Corrupt, match="not the"):
            await blob(client, server, size=size)

    async def before(request: web.Request) -> web.StreamResponse | None:
        if "/blobs/" not in request.path:
            return None
        response = web.StreamResponse()  # in chunks: no Content-Length
        await response.prepare(request)
        await response.write(DATA)
        return response

    server.before = before
    with pytest.raises(Corrupt, match="longer"):
        await blob(client, server, size=1000)
    assert not list((client._blobs.root / "ingest").iterdir())


async def test_server_errors_and_rate_limits_are_tried_again(client: Registry, server: Scripted) -> None:
    answers = [
        web.Response(status=503),
        web.Response(status=429, headers={"Retry-After": "0"}),
        web.Response(status=500),
    ]

    async def before(request: web.Request) -> web.StreamResponse | None:
        return answers.pop() if answers else None

    server.before = before
    await blob(client, server)
    assert client._blobs.has(digest(DATA))
    assert len(server.requests) == 4


async def test_giving_up(client: Registry, server: Scripted) -> None:
    async def before(request: web.Request) -> web.StreamResponse:
        return web.Response(status=502)

    server.before = before
    with pytest.raises(Unavailable, match="502"):
        await manifest(client, server)
    assert len(server.requests) == 5


async def test_a_broken_connection_is_resumed_where_it_broke(client: Registry, server: Scripted) -> None:
    async def before(request: web.Request) -> web.StreamResponse | None:
        if len(server.requests) > 2:
            return None
        response = web.StreamResponse(headers={"Content-Length": str(len(DATA))})
        if "Range" in request.headers:
            return None
        await response.prepare(request)
        await response.write(DATA[:3_000_000])
        assert request.transport is not None
        request.transport.close()
        return response

    server.before = before
    await blob(client, server)
    assert client._blobs.read(digest(DATA), len(DATA)) == DATA
    assert server.requests[-1].headers["Range"].startswith("bytes=")


@pytest.mark.parametrize("part", [DATA[:1000], b"wrong" * 100, DATA + b"more"])
async def test_parts_of_an_earlier_daemon(client: Registry, server: Scripted, part: bytes) -> None:
    ingest = client._blobs.ingest(digest(DATA))
    ingest.write(part)
    ingest.close()
    await blob(client, server)
    assert client._blobs.read(digest(DATA), len(DATA)) == DATA
    if part == DATA[:1000]:
        assert server.requests[0].headers["Range"] == "bytes=1000-"


async def test_a_registry_that_ignores_ranges(client: Registry, server: Scripted) -> None:
    ingest = client._blobs.ingest(digest(DATA))
    ingest.write(DATA[:1000])
    ingest.close()

    async def before(request: web.Request) -> web.StreamResponse:
        return web.Response(body=DATA)

    server.before = before
    await blob(client, server)
    assert client._blobs.has(digest(DATA))


@pytest.mark.parametrize("target", ["http://127.0.0.1:99999/", "http://[x/", "http://h:x/"])
async def test_malformed_addresses(client: Registry, server: Scripted, target: str) -> None:
    bearer(server, target)
    with pytest.raises(Failed, match="malformed address"):
        await manifest(client, server)

    async def away(request: web.Request) -> web.StreamResponse:
        return web.Response(status=307, headers={"Location": target})

    server.before = away
    with pytest.raises(Failed, match="malformed address"):
        await manifest(client, server)


@pytest.mark.parametrize("target", ["ftp://x/y", "file:///etc/passwd", "http://u:p@127.0.0.1/", "http:///x"])
async def test_redirects_that_are_not_followed(client: Registry, server: Scripted, target: str) -> None:
    async def before(request: web.Request) -> web.StreamResponse:
        return web.Response(status=302, headers={"Location": target})

    server.before = before
    with pytest.raises(Failed):
        await blob(client, server)


async def test_redirect_loop(client: Registry, server: Scripted) -> None:
    async def before(request: web.Request) -> web.StreamResponse:
        return web.Response(status=302, headers={"Location": request.path})

    server.before = before
    with pytest.raises(Failed, match="redirects more than"):
        await blob(client, server)


async def test_huge_manifests(client: Registry, server: Scripted) -> None:
    server.manifests["1"] = ("application/json", bytes(5 << 20))
    with pytest.raises(Failed, match="larger"):
        await manifest(client, server)


async def test_all_tags(client: Registry, server: Scripted) -> None:
    async def before(request: web.Request) -> web.StreamResponse | None:
        tags = ["a", "b", "c"]
        last = request.query.get("last", "")
        return web.json_response({"name": "a/b", "tags": [t for t in tags if t > last][:2]})

    server.before = before
    reference = parse(f"{server.host}/a/b")
    assert await client.tags(client.repository(reference, None), reference) == ["a", "b", "c"]
