"""Registries that are unlike distribution's in what the specifications leave open, after public bug reports: each is
pulled from. What is refused has its tests in test_authorization.py and test_client.py."""

from __future__ import annotations

from typing import Any

import pytest
from aiohttp import web
from multidict import CIMultiDict

from corten.registry.client.registry import Registry
from corten.spec.reference import parse
from image_parts.asking import DATA, blob, manifest
from image_parts.registries import Scripted, scripted
from image_parts.stores import digest

ACCOUNT = {"username": "u", "password": "p"}
SCOPE = 'scope="repository:a/b:pull"'


@pytest.mark.parametrize("challenge", [
    ['Basic realm="x", Bearer realm="PLACE",service="s",' + SCOPE],
    ['Bearer realm="PLACE",service="s",' + SCOPE + ', Basic realm="x"'],
    ["Negotiate", "NTLM", 'Bearer realm="PLACE",service="s",' + SCOPE],
    ['Bearer   realm = "PLACE" , service = "s" , ' + SCOPE],
    ['bearer REALM="PLACE",SERVICE="s",SCOPE="repository:a/b:pull"'],
    ['Bearer realm="PLACE",service="s",' + SCOPE + ',error="invalid_token"'],
    ['Bearer realm="PLACE",' + SCOPE],
    ['Bearer realm="PLACE",service="s"'],
    ['Bearer realm="PLACE",service="s",scope="repository:a/b:pull repository:c/d:pull"'],
    ['Bearer realm="PLACE?x=1&y=%2B",service="s",' + SCOPE],
], ids=["basic-first", "basic-behind", "others-first", "blanks", "case", "error", "no-service", "no-scope",
        "two-scopes", "query"])  # fmt: skip
@pytest.mark.parametrize("auth", [None, ACCOUNT], ids=["anonymous", "account"])
async def test_challenges(client: Registry, server: Scripted, challenge: list[str], auth: Any) -> None:
    async def before(request: web.Request) -> web.StreamResponse | None:
        if request.path == "/token":
            return web.json_response({"token": "good"})
        if request.headers.get("Authorization") == "Bearer good":
            return None
        lines = [line.replace("PLACE", f"http://{server.host}/token") for line in challenge]
        return web.Response(status=401, headers=CIMultiDict([("WWW-Authenticate", line) for line in lines]))

    server.before = before
    assert await manifest(client, server, auth=auth) == server.manifests["1"][1]
    asked = next(request for request in server.requests if request.path == "/token")
    assert asked.query.getall("scope")[0].startswith("repository:a/b:pull")
    assert ("x=1&y=%2B" in asked.raw_path) == ("?x=1" in challenge[0])


@pytest.mark.parametrize("answer", [
    {"access_token": "good"},
    {"token": "", "access_token": "good"},
    {"token": "good", "access_token": "other"},
    {"token": "good", "expires_in": "soon", "issued_at": 5},
    {"token": "good", "expires_in": -1, "issued_at": "yesterday"},
    {"token": "good", "expires_in": None, "scope": ["x"]},
])  # fmt: skip
async def test_tokens(client: Registry, server: Scripted, answer: Any) -> None:
    async def before(request: web.Request) -> web.StreamResponse | None:
        if request.path == "/token":
            return web.json_response(answer)
        if request.headers.get("Authorization") == "Bearer good":
            return None
        return web.Response(status=401, headers={"WWW-Authenticate": f'Bearer realm="http://{server.host}/token"'})

    server.before = before
    assert await manifest(client, server) == server.manifests["1"][1]


async def test_a_token_that_expires_meanwhile(client: Registry, server: Scripted) -> None:
    """Each is good for two requests of the registry; what is refused then is asked for again with another."""
    made, used = [0], [0]

    async def before(request: web.Request) -> web.StreamResponse | None:
        if request.path == "/token":
            made[0] += 1
            used[0] = 0
            return web.json_response({"token": f"token{made[0]}", "expires_in": 60})
        if request.headers.get("Authorization") == f"Bearer token{made[0]}" and used[0] < 2:
            used[0] += 1
            return None
        return web.Response(status=401, headers={"WWW-Authenticate": f'Bearer realm="http://{server.host}/token"'})

    server.before = before
    reference = parse(f"{server.host}/a/b:1")
    repository = client.repository(reference, None)
    for _ in range(5):
        assert (await client.manifest(repository, reference)).body == server.manifests["1"][1]
    assert made[0] >= 3


async def test_a_signed_address_elsewhere_is_asked_for_as_it_stands(client: Registry, server: Scripted) -> None:
    address = f"/bucket/a%2Fb/x%20y?X-Amz-Credential=a%2F20260101%2Fr&X-Amz-Signature=%2B%20~;z&e=a+b&{digest(DATA)}"
    async with scripted() as store:

        async def stored(request: web.Request) -> web.StreamResponse:
            return web.Response(body=DATA)

        async def before(request: web.Request) -> web.StreamResponse | None:
            if "Authorization" not in request.headers:
                return web.Response(status=401, headers={"WWW-Authenticate": "Basic"})
            if "/blobs/" in request.path:
                return web.Response(status=307, headers={"Location": f"http://{store.host}{address}"})
            return None

        store.before, server.before = stored, before
        await blob(client, server, auth=ACCOUNT)
        assert [(r.raw_path, r.headers.get("Authorization")) for r in store.requests] == [(address, None)]


@pytest.mark.parametrize("headers", [
    {"Content-Type": "application/vnd.oci.image.manifest.v1+json; charset=utf-8"},
    {"Content-Type": "application/json"},
    {"Content-Type": "text/plain"},
    {},
])  # fmt: skip
async def test_answers_in_chunks_without_a_digest(client: Registry, server: Scripted, headers: dict[str, str]) -> None:
    """No Content-Length, no Docker-Content-Digest, and HEAD is not allowed. The type stands in the manifest."""

    async def before(request: web.Request) -> web.StreamResponse | None:
        kind, _, name = request.path.rpartition("/")
        if request.method == "HEAD":
            return web.Response(status=405)
        data = server.manifests[name][1] if kind.endswith("/manifests") else server.blobs.get(name)
        if data is None:
            return None
        answer = web.StreamResponse(headers=headers)
        answer.enable_chunked_encoding()
        await answer.prepare(request)
        for at in range(0, len(data), 1 << 20):
            await answer.write(data[at : at + (1 << 20)])
        await answer.write_eof()
        return answer

    server.before = before
    assert await manifest(client, server) == server.manifests["1"][1]
    await blob(client, server)
