"""Our registry and hostile clients: whatever is sent, the answer is no 5xx and no other user's content."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from corten.registry.server.access import Access
from corten.registry.server.app import Registry
from corten.registry.server.htpasswd import Accounts
from corten.registry.server.quotas import Quota
from corten.registry.server.rights import Rights, rule
from corten.registry.server.store import Store
from corten.registry.server.tokens import Tokens
from registry_parts.own import ANN, SECRET, Own, digest, index, manifest, served

NAMES = ["a", "a/b", "a/b/manifests/x", "A", "_blobs", "..", "a//b", "a/../b", "a%2fb", "é", "a" * 300, "", "a\x00"]
LAST = [
    "1",
    "latest",
    "sha256:" + "0" * 64,
    "sha512:" + "0" * 128,
    "sha256:",
    "sha256:zz",
    "..",
    "%2e%2e%2fx",
    "",
    "x" * 200,
]
KINDS = ["manifests", "blobs", "blobs/uploads", "tags", "referrers", "_catalog", "nothing"]
HEADERS = [
    ("Content-Range", ["0-4", "5-1", "bytes 0-4/5", "-1-3", "99999999999999999999-0", "x"]),
    ("Range", ["bytes=0-", "bytes=5-1", "bytes=-1", "bytes=99999999999-", "bytes=0-1,3-4", "x"]),
    ("Content-Type", ["application/json", "application/vnd.oci.image.index.v1+json", "x/" + "y" * 3000, ";;;"]),
    ("Authorization", ["Basic ", "Bearer ", "Bearer a.b.c", "Basic YW5uOnNlY3JldA==", "Digest x", "Basic \xff"]),
    ("Host", ["", "a b", 'x"y', "127.0.0.1", "[::1]:5000"]),
    ("X-Forwarded-Proto", ["https", 'http"', "x"]),
]
QUERIES = [
    "digest=sha256:" + "0" * 64, "digest=x", "mount=x", "mount=sha256:" + "1" * 64, "from=..", "from=a/b", "n=0",
    "n=-1", "n=99999999999", "last=%00", "artifactType=%ff", "scope=repository:a:pull", "offline_token=true",
]  # fmt: skip
BODIES = [
    b"", b"{}", b"[]", b"null", b"x" * 5000, b'{"schemaVersion":2}', b"[" * 100_000, b"\xff\xfe", manifest(b"1", b"2"),
    index(), b'{"schemaVersion":2,"manifests":[{"digest":5}]}', b'{"schemaVersion":2,"config":[],"layers":{}}',
    b'{"schemaVersion":2,"layers":[null]}', b'{"schemaVersion":2,"subject":{"digest":"../../x"}}',
    b'{"schemaVersion":2,"mediaType":{},"annotations":[],"layers":[]}',
    b'{"schemaVersion":2,"artifactType":7,"layers":[]}', b"12345",
]  # fmt: skip


@pytest.fixture(params=["open", "accounts"])
async def own(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Own]:
    store = Store(tmp_path)
    access = Access()
    if request.param == "accounts":
        rights = Rights([rule("ann:a/**,a:read,write,delete"), rule("anonymous:**:read")])
        access = Access(Accounts(f"ann:{SECRET}"), rights, Tokens(b"k" * 32))
    async with served(Registry(store, access, quotas=[Quota("a", 10_000_000)])) as own:
        yield own
    store.close()


def request(dice: random.Random, places: list[str]) -> bytes:
    """One that is wrong somewhere, as bytes."""
    method = dice.choice(["GET", "HEAD", "PUT", "POST", "PATCH", "DELETE", "OPTIONS"])
    path = f"/v2/{dice.choice(NAMES)}/{dice.choice(KINDS)}/{dice.choice(LAST)}"
    if places and dice.random() < 0.5:
        method, path = dice.choice(["PATCH", "PUT", "GET", "DELETE"]), dice.choice(places)
    if dice.random() < 0.1:
        path = dice.choice(["/token", "/v2/_catalog", "/metrics", "/healthz", "/v2", "/", "*", "http://x/v2/"])
    path += "?" * (dice.random() < 0.5) + "&".join(dice.sample(QUERIES, dice.randrange(3)))
    body = dice.choice(BODIES) if method in ("PUT", "POST", "PATCH") else b""
    lines = [f"{method} {path} HTTP/1.1", f"Content-Length: {len(body)}", "Connection: close"]
    chosen = dict(dice.sample(HEADERS, dice.randrange(4)))
    lines += [f"{name}: {dice.choice(values)}" for name, values in ({"Host": ["x"]} | chosen).items()]
    return "\r\n".join(lines).encode("latin-1", "replace") + b"\r\n\r\n" + body


async def ask(host: str, data: bytes) -> tuple[int, bytes]:
    """Status and whole answer; 0 when the connection was closed without one."""
    reader, writer = await asyncio.open_connection(*host.split(":"))
    try:
        writer.write(data)
        await writer.drain()
        answer = await asyncio.wait_for(reader.read(1 << 22), 30)
        while more := await asyncio.wait_for(reader.read(1 << 22), 30):
            answer += more
        return (int(answer.split(b" ", 2)[1]) if answer else 0), answer
    except ConnectionError:
        return 0, b""
    finally:
        writer.close()


async def test_requests_that_are_wrong_somewhere(own: Own, tmp_path: Path) -> None:
    dice, seen = random.Random(20), set()
    places: list[str] = []
    for number in range(800):
        if number % 50 == 0:
            answer = await own.ask("POST", "/v2/a/blobs/uploads/", as_=ANN)
            places = [*places[-3:], answer.headers["Location"]]
        data = request(dice, places)
        status, answer_bytes = await ask(own.host, data)
        assert status < 500, (data[:500], answer_bytes[:500])
        seen.add(status)
    assert {200, 202, 204, 400, 404, 405} <= seen
    for path in tmp_path.rglob("*"):  # nothing lies where it should not
        assert path.relative_to(tmp_path).parts[0] in ("blobs", "repositories", "uploads", "lock"), path
    for name in (await own.ask("GET", "/v2/_catalog", as_=ANN)).json["repositories"]:
        assert name in ("a", "a/b", "a/b/manifests/x")


@pytest.mark.parametrize(
    "kind", ["text/html", "application/x\r\nSet-Cookie: a=b", "application/", "x", "application/x y"]
)
async def test_a_manifest_is_served_as_nothing_that_runs(own: Own, kind: str) -> None:
    body = json.dumps({"schemaVersion": 2, "mediaType": kind, "layers": [], "x": "<script>"}).encode()
    for headers in ({"Content-Type": "application/json"}, {"Content-Type": ""}, {"Content-Type": "text/html"}):
        answer = await own.ask("PUT", "/v2/a/manifests/1", body, {**ANN, **headers})
        assert (answer.status, answer.code) == (400, "MANIFEST_INVALID"), headers
        assert answer.headers["X-Content-Type-Options"] == "nosniff"


async def test_two_writers_of_one_upload(own: Own) -> None:
    place = (await own.ask("POST", "/v2/a/blobs/uploads/", as_=ANN)).headers["Location"]
    go_on = asyncio.Event()

    async def slow() -> AsyncIterator[bytes]:
        yield b"x" * 3_000_000
        await go_on.wait()
        yield b"y"

    async def writing() -> bool:
        return (await own.ask("GET", place, as_=ANN)).headers["Range"] != "0-0"

    async with asyncio.TaskGroup() as group:
        begun = group.create_task(own.session.patch(own.url + place, data=slow(), headers=ANN))
        while not await writing():
            assert not begun.done()
        answer = await own.ask("PATCH", place, b"z", ANN)
        assert (answer.status, answer.code) == (409, "BLOB_UPLOAD_INVALID")
        assert (await own.ask("PUT", f"{place}?digest={digest(b'z')}", b"z", ANN)).status == 409
        go_on.set()
    assert begun.result().status == 202
    begun.result().close()


async def test_an_upload_that_is_given_up_while_it_is_written(own: Own, tmp_path: Path) -> None:
    place = (await own.ask("POST", "/v2/a/blobs/uploads/", as_=ANN)).headers["Location"]
    there, go_on = asyncio.Event(), asyncio.Event()

    async def slow() -> AsyncIterator[bytes]:
        yield b"x" * 10_000
        there.set()
        await go_on.wait()
        yield b"y"

    url = f"{own.url}{place}?digest={digest(b'x' * 10_000 + b'y')}"
    async with asyncio.TaskGroup() as group:
        putting = group.create_task(own.session.put(url, data=slow(), headers=ANN))
        await there.wait()
        assert (await own.ask("DELETE", place, as_=ANN)).status == 204
        go_on.set()
    assert putting.result().status == 404
    putting.result().close()
    assert not list((tmp_path / "uploads").iterdir()) and not list((tmp_path / "blobs/sha256").iterdir())


async def test_what_is_too_large(own: Own) -> None:
    head = "PUT /v2/a/manifests/1 HTTP/1.1\r\nHost: x\r\nAuthorization: Basic YW5uOnNlY3JldA==\r\nConnection: close\r\n"
    body = json.dumps({"schemaVersion": 2, "x": "y" * (5 << 20)}).encode()
    status, answer = await ask(own.host, f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
    assert status == 413 or status == 0, answer[:300]
    status, _ = await ask(own.host, b"GET /v2/ HTTP/1.1\r\nHost: x\r\nX: " + b"y" * (1 << 20) + b"\r\n\r\n")
    assert status in (0, 400)
    assert (await own.ask("GET", "/healthz")).status == 200


@pytest.mark.parametrize(
    ("request_", "status", "text"),
    [
        (b"GET /v2/ HTTP/1.1\r\nHost x\r\n\r\n", 400, "malformed HTTP request: "),
        (b"\x16\x03\x01\x02\x00", 400, "client sent a TLS handshake"),
        (b"PUT /v2/a/manifests/1 HTTP/1.1\r\nHost: x\r\nExpect: foo\r\nContent-Length: 0\r\n\r\n", 417, "unknown"),
    ],
)
async def test_refusals_below_http_have_the_specification_s_form(
    own: Own, request_: bytes, status: int, text: str
) -> None:
    host, _, port = own.host.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(request_)
    head, _, body = (await asyncio.wait_for(reader.read(), 60)).partition(b"\r\n\r\n")
    writer.close()
    assert b" %d " % status in head and b"Server: Corten/" in head
    (error,) = json.loads(body)["errors"]
    assert error["code"] == "UNSUPPORTED" and error["message"].startswith(text)
