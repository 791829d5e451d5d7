"""Tokens: grants, user, lifetime; and what is no token."""

from __future__ import annotations

import base64
import hmac
import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from corten.errors import Unauthorized
from corten.registry.server.tokens import Scope, Tokens, key_in, parse_scopes

KEY = b"k" * 32
PULL = Scope("repository", "a/b", frozenset(["pull"]))


class Clock:
    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def test_a_token_says_what_was_granted() -> None:
    clock = Clock()
    tokens = Tokens(KEY, lifetime=60, clock=clock)
    token = tokens.access("ann", [PULL])
    claims = tokens.read(token)
    assert claims.user == "ann" and claims.scopes == (PULL,)
    assert claims.allows("repository", "a/b", "pull")
    assert not claims.allows("repository", "a/b", "push") and not claims.allows("repository", "a", "pull")
    clock.now += 60
    with pytest.raises(Unauthorized, match="expired"):
        tokens.read(token)


def test_forged_tokens() -> None:
    tokens = Tokens(KEY)
    token = tokens.access("ann", [PULL])
    header, body, signature = token.split(".")
    claims = json.loads(base64.urlsafe_b64decode(body + "=="))
    better = encode(json.dumps({**claims, "sub": "root"}).encode())
    none = encode(b'{"alg":"none","typ":"JWT"}')
    own_key = encode(b'{"alg":"HS256","typ":"JWT","jwk":{"kty":"oct","k":"AA"}}')
    signed = encode(hmac.digest(b"\0", f"{own_key}.{better}".encode(), "sha256"))
    right_key = encode(hmac.digest(KEY, f"{none}.{better}".encode(), "sha256"))
    for forged in (
        "", ".", "..", "x", "é.é.é", f"{header}.{better}.{signature}", f"{header}.{body}.", f"{none}.{better}.",
        f"{own_key}.{better}.{signed}", f"{none}.{better}.{right_key}", token + "A", "a" * 100_000,
        Tokens(b"x" * 32).access("ann", [PULL]), Tokens(KEY, service="other").access("ann", [PULL]),
        tokens.refresh("ann", "hash"),
    ):  # fmt: skip
        with pytest.raises(Unauthorized):
            tokens.read(forged)


def test_refresh_tokens_die_with_the_password() -> None:
    tokens = Tokens(KEY)
    token = tokens.refresh("ann", "hash1")
    assert tokens.read_refresh(token, {"ann": "hash1"}.__getitem__) == "ann"
    for hashes in ({"ann": "hash2"}, {"ann": ""}):
        with pytest.raises(Unauthorized):
            tokens.read_refresh(token, hashes.__getitem__)
    with pytest.raises(Unauthorized):
        tokens.read_refresh(tokens.access("ann", []), {"ann": "hash1"}.__getitem__)


def test_the_key_is_kept(tmp_path: Path) -> None:
    key = key_in(tmp_path / "key")
    assert len(key) == 32 and key_in(tmp_path / "key") == key
    assert os.stat(tmp_path / "key").st_mode & 0o777 == 0o600
    (tmp_path / "key").write_bytes(b"short")
    with pytest.raises(Unauthorized):
        key_in(tmp_path / "key")


def test_scopes() -> None:
    assert parse_scopes(["repository:a/b:pull,push repository:c:*", "registry:catalog:*"]) == [
        Scope("repository", "a/b", frozenset(["pull", "push"])),
        Scope("repository", "c", frozenset(["*"])),
        Scope("registry", "catalog", frozenset(["*"])),
    ]
    assert parse_scopes(["repository:localhost:5000/a:pull"])[0].name == "localhost:5000/a"
    assert parse_scopes(["", "repository", "a:b", "::", "repository::pull"]) == []


def test_a_key_is_made_once_however_many_want_it(tmp_path: Path) -> None:
    """No reader gets a part of one, and no attempt that was killed leaves an empty one behind."""
    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(lambda _: key_in(tmp_path / "key"), range(8)))) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["key"]
