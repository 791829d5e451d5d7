"""Content codings, and what is read of a refusal."""

from __future__ import annotations

import gzip
import zlib

import pytest
from aiohttp import web

from corten.errors import Failed
from corten.registry.client.errors import refusal
from corten.registry.client.registry import Registry
from corten.spec.oci_image import OCI_LAYER, Descriptor
from corten.spec.reference import parse
from image_parts.asking import DATA, blob, manifest
from image_parts.registries import Scripted, bearer
from image_parts.stores import digest


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
