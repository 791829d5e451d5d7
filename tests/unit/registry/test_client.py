"""The client against a registry that misbehaves on purpose."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import gzip
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from corten.errors import Corrupt, CortenError, Failed, Invalid, NotFound, Unauthorized, Unavailable
from corten.registry.client import pace
from corten.registry.client import web as web_
from corten.registry.client.auth import challenges, check_realm, credentials
from corten.registry.client.endpoints import Endpoints
from corten.registry.client.errors import refusal
from corten.registry.client.registry import Registry, Settings
from corten.spec.oci_image import OCI_LAYER, Descriptor
from corten.spec.reference import parse
from corten.store.blobs import Blobs
from image_parts.registries import Scripted, scripted
from image_parts.stores import Made, digest

DATA = bytes(range(256)) * 20_000


@pytest.fixture
async def server() -> AsyncIterator[Scripted]:
    async with scripted() as registry:
        registry.add("1", Made([b"layer"]))
        registry.blobs[digest(DATA)] = DATA
        yield registry


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[Registry]:
    registry = Registry(Blobs(tmp_path), pause=0.01)
    yield registry
    await registry.close()


async def blob(
    client: Registry, server: Scripted, data: bytes = DATA, auth: Any = None, size: int | None = None
) -> None:
    repository = client.repository(parse(f"{server.host}/a/b:1"), auth)
    await client.blob(repository, Descriptor(OCI_LAYER, digest(data), len(data) if size is None else size))


async def manifest(client: Registry, server: Scripted, tag: str = "1", auth: Any = None) -> bytes:
    reference = parse(f"{server.host}/a/b:{tag}")
    return (await client.manifest(client.repository(reference, auth), reference)).body


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


# ---------------------------------------------------------------------------------------------------- authorisation


def bearer(server: Scripted, realm: str | None = None, accept: str = "good") -> None:
    async def before(request: web.Request) -> web.StreamResponse | None:
        if request.path == "/token":
            basic = request.headers.get("Authorization", "")
            token = "good" if basic in ("", "Basic " + base64.b64encode(b"u:p").decode()) else "bad"
            return web.json_response({"token": token})
        if request.headers.get("Authorization") == f"Bearer {accept}":
            return None
        where = realm or f"http://{server.host}/token"
        challenge = f'Bearer realm="{where}",service="s",scope="repository:a/b:pull"'
        return web.Response(status=401, headers={"WWW-Authenticate": challenge})

    server.before = before


async def test_tokens(client: Registry, server: Scripted) -> None:
    bearer(server)
    await manifest(client, server, auth={"username": "u", "password": "p"})
    token = next(r for r in server.requests if r.path == "/token")
    assert token.query["scope"] == "repository:a/b:pull"
    assert token.query["service"] == "s"
    await blob(client, server)  # anonymous tokens too


async def test_refused(client: Registry, server: Scripted) -> None:
    bearer(server, accept="nothing")
    with pytest.raises(NotFound, match=r"pull access denied for .*may require 'docker login'"):
        await manifest(client, server)
    assert len(server.requests) < 8


async def test_basic(client: Registry, server: Scripted) -> None:
    async def before(request: web.Request) -> web.StreamResponse | None:
        if "Authorization" in request.headers:
            return None
        return web.Response(status=401, headers={"WWW-Authenticate": 'Basic realm="here"'})

    server.before = before
    with pytest.raises(CortenError, match="no basic auth credentials"):
        await manifest(client, server)
    await manifest(client, server, auth={"username": "u", "password": "p"})
    with pytest.raises(CortenError):  # credentials of another registry stay at home
        await manifest(client, server, auth={"username": "u", "password": "p", "serveraddress": "other.example"})


@pytest.mark.parametrize(
    "realm", ["http://evil.example/token", "http://169.254.169.254/token", "ftp://x/", "https://u:p@x/", "x"]
)
async def test_realms_that_get_nothing(client: Registry, server: Scripted, realm: str) -> None:
    bearer(server, realm)
    with pytest.raises(Failed, match="cannot be trusted"):
        await manifest(client, server, auth={"username": "u", "password": "p"})
    with pytest.raises(Failed):
        check_realm("http://127.0.0.1/token", Endpoints().find("registry.example"), "https://registry.example", False)


async def test_credentials_go_to_no_other_port(client: Registry, server: Scripted) -> None:
    """Over http another port is another program; without credentials it may be asked for a token."""
    async with scripted() as other:

        async def token(request: web.Request) -> web.StreamResponse:
            return web.json_response({"token": "good"})

        other.before = token
        bearer(server, f"http://{other.host}/token")
        for auth in ({"username": "u", "password": "p"}, {"identitytoken": "t"}):
            with pytest.raises(Failed, match="neither https nor the registry itself: they are not sent there"):
                await manifest(client, server, auth=auth)
        assert other.requests == []
        await manifest(client, server)
        assert [r.headers.get("Authorization") for r in other.requests] == [None]


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


async def test_a_registry_that_trickles_is_given_up_and_gone_on_with(
    client: Registry, server: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pace, "WINDOW", 0.2)
    given_up = asyncio.Event()

    async def trickle(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse(headers={"Content-Length": str(len(DATA))})
        await answer.prepare(request)
        for at in range(0, len(DATA), 10):
            await answer.write(DATA[at : at + 10])
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(given_up.wait(), 0.05)
        return answer

    server.before = trickle
    with pytest.raises(Unavailable, match=r"registry sends too slowly: \d+ bytes in .*kept for the next pull"):
        await blob(client, server)
    given_up.set()
    asked = len(server.requests)
    server.before = None
    await blob(client, server)
    assert asked == 1 and server.requests[-1].headers["Range"].startswith("bytes=")


def test_the_pace_is_an_average() -> None:
    now = [0.0]
    measured = pace.Pace(lambda: now[0])
    for second in range(1, 1000):  # a burst every 100 seconds is enough
        now[0] = second
        measured.took(200 * pace.LEAST if second % 100 == 0 else 0)
    slow = pace.Pace(lambda: now[0])
    for _ in range(int(pace.WINDOW) - 1):
        now[0] += 1
        slow.took(pace.LEAST - 10)
    now[0] += 1
    with pytest.raises(Unavailable):
        slow.took(pace.LEAST - 10)


@asynccontextmanager
async def raw(answer: Callable[[asyncio.StreamWriter], Awaitable[None]]) -> AsyncIterator[str]:
    """HOST:PORT of a server that reads a request's head and leaves the rest to `answer`."""
    serving: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while await reader.readuntil(b"\r\n\r\n"):  # and not closed before the client closes
                await answer(writer)
        writer.transport.abort()

    def begin(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving.add(asyncio.ensure_future(serve(reader, writer)))

    server = await asyncio.start_server(begin, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    try:
        yield f"{host}:{port}"
    finally:
        server.close()
        if serving:
            await asyncio.wait(serving, timeout=10)


async def test_a_head_that_trickles_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web_, "CONNECT", 0.1)
    impatient = Registry(Blobs(tmp_path), Settings(attempts=1), stall=0.2)

    async def trickle(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nX: ")
        while not writer.is_closing():
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.05)

    async with raw(trickle) as host:
        reference = parse(f"{host}/a/b:1")
        with pytest.raises(Unavailable, match=r"Client\.Timeout exceeded while awaiting headers"):
            await impatient.manifest(impatient.repository(reference, None), reference)
        await impatient.close()


@pytest.mark.parametrize(
    "answer",
    [b"SSH-2.0-OpenSSH\r\n", b"HTTP/1.1 xyz\r\n\r\n", b"HTTP/1.1 200 OK\r\n" + b"X: " + b"y" * 100_000,
     b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 100_000],
)  # fmt: skip
async def test_what_is_no_answer_is_reported(client: Registry, answer: bytes) -> None:
    async def junk(writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        await writer.drain()

    async with raw(junk) as host:
        reference = parse(f"{host}/a/b:1")
        with pytest.raises(Failed, match="malformed HTTP response"):
            await client.manifest(client.repository(reference, None), reference)


async def test_redirects_lose_credentials(client: Registry, server: Scripted) -> None:
    async with scripted() as other:
        other.blobs = server.blobs

        async def before(request: web.Request) -> web.StreamResponse | None:
            if "Authorization" not in request.headers:
                return web.Response(status=401, headers={"WWW-Authenticate": "Basic"})
            if "/blobs/" in request.path:
                return web.Response(status=307, headers={"Location": f"http://{other.host}{request.path}"})
            return None

        server.before = before
        await blob(client, server, auth={"username": "u", "password": "p"})
        assert [r.headers.get("Authorization") for r in other.requests] == [None]


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


def test_challenges() -> None:
    found = challenges(['Basic realm="a, b", Bearer realm="https://x/?a=\\"1\\"",scope=s', "Negotiate"])
    assert [c.scheme for c in found] == ["basic", "bearer", "negotiate"]
    assert found[1].parameters == {"realm": 'https://x/?a="1"', "scope": "s"}


def test_secrets_are_not_shown() -> None:
    known = credentials({"username": "u", "password": "hunter2", "identitytoken": "tok"}, "docker.io")
    assert "hunter2" not in repr(known)
    assert "tok" not in repr(known)
    with pytest.raises(Invalid):
        credentials({"password": "a\nb"}, "docker.io")


async def test_identity_tokens(client: Registry, server: Scripted) -> None:
    """Logging in gets one; with it, access tokens come by the refresh_token grant, and the password stays at home."""
    forms: list[dict[str, str]] = []

    async def before(request: web.Request) -> web.StreamResponse | None:
        if request.path == "/token" and request.method == "POST":
            forms.append({key: str(value) for key, value in (await request.post()).items()})
            good = forms[-1]["refresh_token"] == "kept"
            return web.json_response({"access_token": "good"} if good else {}, status=200 if good else 401)
        if request.path == "/token":
            offered = {"refresh_token": "kept"} if "offline_token" in request.query else {}
            return web.json_response({"token": "good", **offered})
        if request.headers.get("Authorization") == "Bearer good":
            return web.Response() if request.path == "/v2/" else None
        challenge = f'Bearer realm="http://{server.host}/token?x=1",service="s"'
        return web.Response(status=401, headers={"WWW-Authenticate": challenge})

    server.before = before
    place = {"serveraddress": server.host}
    assert await client.login({"username": "u", "password": "p", **place}) == "kept"
    asked = next(r for r in server.requests if r.path == "/token").query
    assert dict(asked) == {"x": "1", "service": "s", "account": "u", "offline_token": "true", "client_id": "corten"}
    await manifest(client, server, auth={"identitytoken": "kept", **place})
    assert forms[-1]["grant_type"] == "refresh_token" and forms[-1]["scope"] == "repository:a/b:pull"
    assert await client.login({"identitytoken": "kept", **place}) == ""
    with pytest.raises(Unauthorized, match="401"):
        await client.login({"identitytoken": "stale", **place})
    assert all("Authorization" not in r.headers for r in server.requests if r.method == "POST")


@pytest.mark.parametrize(
    "answer", [b"", b"[]", b"{}", b'{"token": "a b"}', b'{"token": "a\\r\\nX: y"}', b'{"token": 5}']
)
async def test_answers_that_are_no_token(client: Registry, server: Scripted, answer: bytes) -> None:
    async def before(request: web.Request) -> web.StreamResponse:
        if request.path == "/token":
            return web.Response(body=answer)
        challenge = f'Bearer realm="http://{server.host}/token"'
        return web.Response(status=401, headers={"WWW-Authenticate": challenge})

    server.before = before
    with pytest.raises(Failed, match=r"authentication server http://.*/token answers with no token"):
        await manifest(client, server)


@pytest.mark.parametrize(("status", "error", "said"), [
    (404, Failed, "authentication server http://.*/token answers 404: status 404"),
    (400, Failed, "authentication server http://.*/token answers 400: unsupported: no such grant"),
    (503, Unavailable, "503"),
    (401, NotFound, "may require 'docker login'"),
])  # fmt: skip
async def test_authentication_servers_that_refuse(
    client: Registry, server: Scripted, status: int, error: type[CortenError], said: str
) -> None:
    """What no password would change is no 401: Docker's client would ask for one and hide the reason."""

    async def before(request: web.Request) -> web.StreamResponse:
        if request.path == "/token":
            errors = [{"code": "UNSUPPORTED", "message": "no such grant"}] if status == 400 else []
            return web.json_response({"errors": errors}, status=status)
        challenge = f'Bearer realm="http://{server.host}/token"'
        return web.Response(status=401, headers={"WWW-Authenticate": challenge})

    server.before = before
    with pytest.raises(error, match=said):
        await manifest(client, server)


async def test_an_authentication_server_that_is_down(client: Registry, server: Scripted) -> None:
    bearer(server, "http://127.0.0.1:1/token")
    with pytest.raises(Failed, match=r'Get "http://127.0.0.1:1/token": dial tcp 127.0.0.1:1: connect: connection ref'):
        await manifest(client, server)
    assert len(server.requests) == 1


# --------------------------------------------------------------------------------------------------- content codings


def compressed(answer: web.StreamResponse | None, coding: str) -> web.Response:
    """The same answer as some servers send it, whatever they were asked for."""
    assert isinstance(answer, web.Response) and isinstance(answer.body, bytes)
    packed = (
        zlib.compress(answer.body)
        if coding == "deflate"
        else gzip.compress(answer.body[:5]) + gzip.compress(answer.body[5:])
    )
    headers = {**answer.headers, "Content-Encoding": coding}
    headers.pop("Content-Length", None)
    return web.Response(body=packed, headers=headers, status=answer.status)


@pytest.mark.parametrize("coding", ["gzip", "x-gzip", "deflate"])
async def test_answers_that_are_compressed_unasked(client: Registry, server: Scripted, coding: str) -> None:
    """Tokens, manifests, lists, errors."""
    bearer(server)
    plain = server.before
    assert plain is not None

    async def before(request: web.Request) -> web.StreamResponse | None:
        if (early := await plain(request)) is not None:
            return compressed(early, coding) if request.path == "/token" else early
        if request.path.endswith("/tags/list"):
            return compressed(web.json_response({"tags": [] if "last" in request.query else ["1", "2"]}), coding)
        if request.path.endswith("/manifests/1"):
            kind, body = server.manifests["1"]
            return compressed(web.Response(body=body, headers={"Content-Type": kind}), coding)
        errors = {"errors": [{"code": "TOOMANYREQUESTS", "message": "not so fast"}]}
        return compressed(web.json_response(errors, status=418), coding)

    server.before = before
    place = {"serveraddress": server.host}
    reference = parse(f"{server.host}/a/b")
    assert await manifest(client, server, auth={"username": "u", "password": "p", **place}) == server.manifests["1"][1]
    assert await client.tags(client.repository(reference, None), reference) == ["1", "2"]
    with pytest.raises(Failed, match="toomanyrequests: not so fast"):
        await manifest(client, server, "2")
    assert {request.headers["Accept-Encoding"] for request in server.requests} == {"identity"}


async def test_blobs_are_taken_as_they_come(client: Registry, server: Scripted) -> None:
    """A layer's own compression, which some servers say again in a header."""
    layer = gzip.compress(DATA)
    server.blobs[digest(layer)] = layer

    async def before(request: web.Request) -> web.StreamResponse | None:
        if "/blobs/" not in request.path:
            return None
        return web.Response(body=layer, headers={"Content-Encoding": "gzip"})

    server.before = before
    await blob(client, server, layer)
    repository = client.repository(parse(f"{server.host}/a/b:1"), None)
    assert await client.small_blob(repository, Descriptor(OCI_LAYER, digest(layer), len(layer)), 1 << 20) == layer


@pytest.mark.parametrize(("coding", "body", "said"), [
    ("br", b"x", "in the content coding 'br', which it was not asked for"),
    ("gzip, gzip", b"x", "in the content coding 'gzip, gzip'"),
    ("gzip", b"plain", "not in the content coding"),
    ("gzip", gzip.compress(b"{}", mtime=0)[:-4], "ends in the middle"),
    ("gzip", gzip.compress(bytes(1 << 24), mtime=0), "larger than 4194304 bytes"),
])  # fmt: skip
async def test_codings_that_cannot_be_read(
    client: Registry, server: Scripted, coding: str, body: bytes, said: str
) -> None:
    async def before(request: web.Request) -> web.StreamResponse:
        return web.Response(body=body, headers={"Content-Encoding": coding})

    server.before = before
    with pytest.raises(Failed, match=said):
        await manifest(client, server)
    server.before = None
    await manifest(client, server)


@pytest.mark.parametrize(
    ("value", "low", "high"),
    [("0", 0, 0), ("7", 7, 7), ("99999999999999999999", 60, 60), ("Wed, 21 Oct 2015 07:28:00 GMT", 0, 0),
     ("Fri, 31 Dec 9999 23:59:59 GMT", 60, 60)],
)  # fmt: skip
def test_when_to_come_again(value: str, low: float, high: float) -> None:
    found = refusal(429, {"Retry-After": value}, b"").retry_after
    assert found is not None and low <= found <= high


@pytest.mark.parametrize("value", ["", "-5", "soon", "1e9", "\u0663", "Wed, 99 Foo 2015"])
def test_no_time_to_come_again(value: str) -> None:
    assert refusal(429, {"Retry-After": value}, b"").retry_after is None


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[]", b'{"errors":[]}', b'{"errors":[5]}', b'{"errors":[{"code":["x"],"message":{}}]}',
             b"[" * 100_000, b'{"errors":[{"message":"a\\nb"}]}'],
)  # fmt: skip
def test_refusals_are_one_line_whatever_the_body(body: bytes) -> None:
    found = refusal(500, {}, body)
    assert "\n" not in found.text and len(found.text) < 1000


def test_a_refusal_in_what_is_no_unicode() -> None:
    body = b'{"errors":[{"code":"DENIED","message":"no \\ud800 \xff"}]}'
    assert refusal(403, {}, body).message == "no \ufffd \ufffd"
    assert refusal(502, {}, b'{"errors":{"a":NaN}}').message == ""
