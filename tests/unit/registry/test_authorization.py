"""Tokens, passwords and identity tokens, and what gets none of them."""

from __future__ import annotations

import time

import pytest
from aiohttp import web

from corten.errors import CortenError, Failed, Invalid, NotFound, Unauthorized, Unavailable
from corten.registry.client.auth import challenges, check_realm, credentials, joined
from corten.registry.client.endpoints import Endpoints
from corten.registry.client.registry import Registry
from image_parts.asking import blob, manifest
from image_parts.registries import Scripted, bearer, scripted


async def test_tokens(client: Registry, server: Scripted) -> None:
    bearer(server)
    await manifest(client, server, auth={"username": "u", "password": "p"})
    token = next(r for r in server.requests if r.path == "/token")
    assert token.query["scope"] == "repository:a/b:pull"
    assert token.query["service"] == "s"
    await blob(client, server)  # anonymous tokens too


@pytest.mark.parametrize(
    "blanks",
    ['Bearer{}"', "Bearer a=b{}!", "x{}\u00e9", "Bearer a{}b", "Bearer{}a{}=b"],
    ids=lambda text: text.encode().hex(),
)
def test_blanks_in_a_challenge_are_read_in_linear_time(blanks: str) -> None:
    """8,000 of them took half a second of the event loop, and an answer may have a hundred such headers."""
    began = time.thread_time()
    assert len(challenges([blanks.replace("{}", " " * 100_000)])) <= 3
    assert time.thread_time() - began < 1


@pytest.mark.parametrize("location", ["/v2/a\x01b", "http://h/\x7f", "http://h/a?b\x1b"])
def test_control_characters_in_a_location(location: str) -> None:
    with pytest.raises(Failed, match="malformed address"):
        joined("http://registry/v2/", location)


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
