"""Access over HTTP: basic authentication, tokens, challenges, the catalog, mounts from elsewhere."""

from __future__ import annotations

import asyncio
import base64
import ctypes.util
import json
import re
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from threading import Event

import pytest

from corten.registry.server import access, htpasswd
from corten.registry.server.access import Access
from corten.registry.server.app import Registry
from corten.registry.server.htpasswd import Accounts
from corten.registry.server.rights import Rights, rule
from corten.registry.server.store import Store
from corten.registry.server.tokens import Tokens
from registry_parts.own import ANN, BOB, SECRET, Own, digest, manifest, served

USERS = f"ann:{SECRET}\nbob:{SECRET}\n"
RULES = [rule("ann:**:read,write,delete"), rule("bob:bob/**:read,write"), rule("anonymous:public/**:read")]


@pytest.fixture
async def own(tmp_path: Path) -> AsyncIterator[Own]:
    store = Store(tmp_path)
    async with served(Registry(store, Access(Accounts(USERS), Rights(RULES), Tokens(b"k" * 32)))) as own:
        yield own
    store.close()


async def token(own: Own, *scopes: str, as_: Mapping[str, str] | None = None) -> dict[str, str]:
    query = "&".join(f"scope={scope}" for scope in scopes)
    answer = await own.ask("GET", f"/token?service=corten-registry&{query}", as_=as_)
    assert answer.status == 200, answer
    assert answer.json["token"] == answer.json["access_token"] and answer.json["expires_in"] == 300
    return {"Authorization": f"Bearer {answer.json['token']}"}


async def test_the_challenge(own: Own) -> None:
    answer = await own.ask("GET", "/v2/")
    realm = f'Bearer realm="{own.url}/token",service="corten-registry"'
    assert (answer.status, answer.headers["WWW-Authenticate"]) == (401, realm)
    for method, path, scope in (
        ("GET", "manifests/1", "pull"), ("POST", "blobs/uploads/", "pull,push"), ("DELETE", "manifests/1", "delete"),
    ):  # fmt: skip
        answer = await own.ask(method, f"/v2/x/{path}")
        assert (answer.status, answer.code) == (401, "UNAUTHORIZED")
        assert answer.headers["WWW-Authenticate"] == f'{realm},scope="repository:x:{scope}"'
    answer = await own.ask("GET", "/v2/", Host='a"b')
    assert answer.status == 401 and '"b' not in answer.headers["WWW-Authenticate"]
    answer = await own.ask("GET", "/v2/", X_Forwarded_Proto="https")
    assert 'realm="https://' in answer.headers["WWW-Authenticate"]
    assert (await own.ask("GET", "/v2/x/tags/list", as_={"Authorization": "Bearer x.y.z"})).status == 401


async def test_tokens(own: Own) -> None:
    await own.push_image("bob/x", "1", b"layer", as_=ANN)
    reading, writing = "repository:bob/x:pull", "repository:bob/x:pull,push"
    bob = await token(own, writing, as_=BOB)
    assert (await own.ask("GET", "/v2/", as_=bob)).status == 200
    assert (await own.ask("GET", "/v2/bob/x/manifests/1", as_=bob)).status == 200
    assert (await own.push_blob("bob/x", b"more", bob)).status == 201
    little = await token(own, reading, as_=BOB)
    answer = await own.push_blob("bob/x", b"more", little)
    assert (answer.status, answer.code) == (401, "DENIED")  # a better token would do
    assert 'error="insufficient_scope"' in answer.headers["WWW-Authenticate"]
    assert (await own.ask("DELETE", "/v2/bob/x/manifests/1", as_=bob)).status == 403  # no token would do
    other = await token(own, "repository:ann/x:pull,push", as_=BOB)
    assert (await own.ask("GET", "/v2/ann/x/tags/list", as_=other)).status == 403
    everything = await token(own, "repository:bob/x:*", as_=BOB)
    assert (await own.push_blob("bob/x", b"more", everything)).status == 201
    anonymous = await token(own, writing)
    assert (await own.ask("GET", "/v2/bob/x/tags/list", as_=anonymous)).status == 401
    answer = await own.ask("GET", f"/token?scope={reading}", as_={"Authorization": "Basic YW5uOndyb25n"})
    assert (answer.status, answer.headers["WWW-Authenticate"][:5]) == (401, "Basic")
    assert (await own.ask("GET", "/token?service=other")).status == 401
    assert (await own.ask("DELETE", "/token")).status == 405


async def test_oauth(own: Own) -> None:
    kind = "application/x-www-form-urlencoded"
    scope = "scope=repository:bob/x:pull,push,delete&service=corten-registry"
    form = f"grant_type=password&username=bob&password=secret&access_type=offline&{scope}"
    answer = await own.ask("POST", "/token", form.encode(), Content_Type=kind)
    assert answer.status == 200 and answer.json["scope"] == "repository:bob/x:pull,push"
    form = f"grant_type=refresh_token&refresh_token={answer.json['refresh_token']}&{scope}"
    again = await own.ask("POST", "/token", form.encode(), Content_Type=kind)
    bob = {"Authorization": f"Bearer {again.json['access_token']}"}
    assert (await own.push_blob("bob/x", b"data", bob)).status == 201
    assert "refresh_token" not in again.json
    assert (await own.ask("GET", "/v2/", as_={"Authorization": f"Bearer {answer.json['refresh_token']}"})).status == 401
    for form in ("", "grant_type=x", f"grant_type=refresh_token&refresh_token={answer.json['access_token']}",
                 "grant_type=password&username=bob&password=wrong"):  # fmt: skip
        assert (await own.ask("POST", "/token", form.encode(), Content_Type=kind)).status in (400, 401), form
    offline = await own.ask("GET", "/token?offline_token=true", as_=BOB)
    assert offline.json["refresh_token"]
    assert "refresh_token" not in (await own.ask("GET", "/token?offline_token=true")).json


async def test_basic_authentication(own: Own) -> None:
    assert (await own.ask("GET", "/v2/", as_=BOB)).status == 200
    assert (await own.ask("GET", "/v2/", as_={"Authorization": "Basic Ym9iOndyb25n"})).status == 401
    await own.push_image("public/x", "1", b"layer", as_=ANN)
    await own.push_image("ann/x", "1", b"layer", as_=ANN)
    assert (await own.ask("GET", "/v2/public/x/manifests/1")).status == 200
    answer = await own.ask("GET", "/v2/ann/x/manifests/1", as_=BOB)
    assert (answer.status, answer.code) == (403, "DENIED")
    for method, path in (("PUT", "manifests/2"), ("POST", "blobs/uploads/"), ("DELETE", "manifests/1")):
        assert (await own.ask(method, f"/v2/public/x/{path}", b"{}", as_=BOB)).status == 403, method
        assert (await own.ask(method, f"/v2/public/x/{path}", b"{}")).status == 401, method


async def test_the_catalog_shows_what_one_may_read(own: Own) -> None:
    for name in ("ann/x", "bob/x", "public/x"):
        await own.push_image(name, "1", b"layer", as_=ANN)
    for as_, names in (
        (ANN, ["ann/x", "bob/x", "public/x"]),
        (BOB, ["bob/x", "public/x"]),
        (await token(own, "registry:catalog:*", as_=BOB), ["bob/x", "public/x"]),
        (await token(own, "registry:catalog:*"), ["public/x"]),
    ):
        assert (await own.ask("GET", "/v2/_catalog", as_=as_)).json["repositories"] == names
    answer = await own.ask("GET", "/v2/_catalog?n=1", as_=BOB)
    assert answer.json["repositories"] == ["bob/x"]
    following = re.match(r"<(.*)>", answer.headers["Link"])
    assert following
    assert (await own.ask("GET", following[1], as_=BOB)).json["repositories"] == ["public/x"]
    anonymous = await token(own, "registry:catalog:*")
    assert (await own.ask("GET", "/metrics", as_=anonymous)).status == 401
    answer = await own.ask("GET", "/v2/_catalog")
    assert answer.status == 401 and 'scope="registry:catalog:*"' in answer.headers["WWW-Authenticate"]


async def test_a_mount_needs_reading_at_the_source(own: Own) -> None:
    await own.push_image("ann/x", "1", b"hers", as_=ANN)
    await own.push_image("public/x", "1", b"shared", as_=ANN)
    hers, shared = digest(b"hers"), digest(b"shared")
    scopes = ["repository:bob/x:pull,push", "repository:public/x:pull", "repository:ann/x:pull"]
    for as_ in (BOB, await token(own, *scopes, as_=BOB)):
        for source in ("&from=ann/x", ""):
            answer = await own.ask("POST", f"/v2/bob/x/blobs/uploads/?mount={hers}{source}", as_=as_)
            assert answer.status == 202, source  # an upload, as for a blob that is nowhere
        assert (await own.ask("GET", f"/v2/bob/x/blobs/{hers}", as_=as_)).status == 404
        assert (await own.ask("HEAD", f"/v2/bob/x/blobs/{hers}", as_=as_)).status == 404
        config = json.dumps({"of": [hers]}).encode()
        await own.push_blob("bob/x", config, as_)
        assert (await own.push("bob/x", "1", manifest(config, b"hers"), as_)).code == "MANIFEST_BLOB_UNKNOWN"
    for source in ("&from=public/x", ""):
        answer = await own.ask("POST", f"/v2/bob/y/blobs/uploads/?mount={shared}{source}", as_=BOB)
        assert answer.status == 201
    narrow = await token(own, "repository:bob/z:pull,push", as_=BOB)
    answer = await own.ask("POST", f"/v2/bob/z/blobs/uploads/?mount={shared}&from=public/x", as_=narrow)
    wanted = "repository:bob/z:pull,push repository:public/x:pull"
    assert answer.status == 401 and f'scope="{wanted}"' in answer.headers["WWW-Authenticate"]
    better = await token(own, wanted, as_=BOB)
    answer = await own.ask("POST", f"/v2/bob/z/blobs/uploads/?mount={shared}&from=public/x", as_=better)
    assert answer.status == 201
    answer = await own.ask("POST", f"/v2/bob/z/blobs/uploads/?mount={hers}&from=ann/x", as_=narrow)
    assert answer.status == 202  # no token gives the right to read that


async def test_content_is_kept_once_and_seen_by_its_repositories_only(own: Own, tmp_path: Path) -> None:
    for name in ("ann/x", "ann/y", "public/x"):
        await own.push_image(name, "1", b"shared layer", as_=ANN)
    kept = [path for path in (tmp_path / "blobs").rglob("*") if path.is_file()]
    assert sorted(path.name for path in kept) == sorted({path.name for path in kept}) and len(kept) == 3
    assert (await own.ask("GET", f"/v2/ann/z/blobs/{digest(b'shared layer')}", as_=ANN)).status == 404
    blob = f"blobs/{digest(b'shared layer')}"
    assert (await own.ask("DELETE", f"/v2/ann/x/{blob}", as_=ANN)).status == 202
    assert (await own.ask("GET", f"/v2/ann/x/{blob}", as_=ANN)).status == 404
    assert (await own.ask("GET", f"/v2/public/x/{blob}")).body == b"shared layer"


async def test_rights_without_accounts(tmp_path: Path) -> None:
    store = Store(tmp_path)
    async with served(Registry(store, Access(None, Rights([rule("anonymous:**:read")])))) as own:
        assert (await own.ask("GET", "/v2/")).status == 200
        assert (await own.ask("GET", "/v2/a/tags/list")).status == 404
        assert (await own.ask("POST", "/v2/a/blobs/uploads/")).code == "DENIED"
    store.close()


async def test_passwords_that_are_tried_out_delay_no_other_request(own: Own, monkeypatch: pytest.MonkeyPatch) -> None:
    assert (await own.ask("GET", "/v2/", as_=ANN)).status == 200
    go, really, at_once, most = Event(), htpasswd.check, set[object](), 0

    def slow(password: str, hashed: str) -> bool:
        nonlocal most
        one = object()
        at_once.add(one)
        most = max(most, len(at_once))
        assert go.wait(60)
        at_once.discard(one)
        return really(password, hashed)

    monkeypatch.setattr(htpasswd, "check", slow)
    wrong = {"Authorization": "Basic YW5uOndyb25n"}
    tried = [asyncio.create_task(own.ask("GET", "/v2/", as_=wrong)) for _ in range(60)]
    try:
        async with asyncio.timeout(30):
            while most < access._AT_A_TIME:
                await asyncio.sleep(0.01)
            assert (await own.ask("GET", "/healthz")).status == 200
            assert (await own.ask("GET", "/v2/a/tags/list", as_=ANN)).status == 404
            assert (await own.ask("GET", "/token", as_=ANN)).status == 200
    finally:
        go.set()
    assert {answer.status for answer in await asyncio.gather(*tried)} == {401}
    assert most == access._AT_A_TIME


def test_a_password_is_checked_without_looking_for_a_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """find_library runs other programs, each time."""
    hashed = "$2y$04$" + "abcdefghijklmnopqrstuO" + "x" * 31

    def find(name: str) -> None:
        raise AssertionError(name)

    htpasswd.check("first", hashed)
    monkeypatch.setattr(ctypes.util, "find_library", find)
    assert not htpasswd.check("second", hashed)


async def test_odd_passwords_are_wrong_ones(own: Own) -> None:
    for password in ("secret\0", "sec\0ret", "s" * 3000, ""):
        basic = "Basic " + base64.b64encode(f"ann:{password}".encode()).decode()
        assert (await own.ask("GET", "/v2/", as_={"Authorization": basic})).status == 401, password
    kind = "application/x-www-form-urlencoded"
    form = f"grant_type=password&username=ann&password={'s' * 100_000}".encode()
    assert (await own.ask("POST", "/token", form, Content_Type=kind)).status == 401
    for charset in ("unicode_escape", "nonsense"):
        form = b"grant_type=password&username=ann&password=\\ud800"
        answer = await own.ask("POST", "/token", form, Content_Type=f"{kind}; charset={charset}")
        assert answer.status in (400, 401), charset


def test_a_nul_ends_no_password() -> None:
    hashed = htpasswd._crypt(b"secret", "$6$saltsalt$").decode()
    assert htpasswd.check("secret", hashed)
    assert not htpasswd.check("secret\0more", hashed) and not htpasswd.check("sec\0ret", hashed)
