"""Bearer tokens: JSON web tokens (RFC 7519) signed with HMAC-SHA256 by a key of the registry's own.

The registry makes them and only the registry reads them, so there is one form: a token with any other header than ours
(`alg: none`, another algorithm, an embedded key) is no token. The claims are those of the distribution project's "Token
Authentication Implementation"; `access` lists what was granted.

    access     minutes; carried by each request
    refresh    months; what `docker login` keeps in place of a password. It ends with the password, from whose hash
               `pwd` is derived
"""

from __future__ import annotations

import base64
import hmac
import json
import os
import secrets
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from corten.errors import Unauthorized
from corten.kernel.sync import sync_directory
from corten.spec.json import Json

LIFETIME = 300  # seconds
REFRESH_LIFETIME = 90 * 24 * 3600
_MAX = 64 << 10


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


_HEADER = _encode(b'{"alg":"HS256","typ":"JWT"}')


@dataclass(frozen=True, slots=True)
class Scope:
    """`type`:`name`:`actions`, as the token specification writes them; the actions are pull, push, delete and `*`."""

    type: str
    name: str
    actions: frozenset[str]

    def to_json(self) -> Json:
        return {"type": self.type, "name": self.name, "actions": sorted(self.actions)}


@dataclass(frozen=True, slots=True)
class Claims:
    user: str  # "": no account
    scopes: tuple[Scope, ...]

    def allows(self, type: str, name: str, action: str) -> bool:
        return any(
            scope.type == type and scope.name == name and (action in scope.actions or "*" in scope.actions)
            for scope in self.scopes
        )


class Tokens:
    def __init__(
        self,
        key: bytes,
        service: str = "corten-registry",
        lifetime: int = LIFETIME,
        realm: str = "",
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._key = key
        self.service = service
        self.lifetime = lifetime
        self.realm = realm  # "": /token of the host that was asked
        self._clock = clock

    def access(self, user: str, scopes: Iterable[Scope]) -> str:
        return self._signed("access", user, self.lifetime, {"access": [scope.to_json() for scope in scopes]})

    def refresh(self, user: str, password_hash: str) -> str:
        return self._signed("refresh", user, REFRESH_LIFETIME, {"pwd": self._mark(password_hash)})

    def read(self, token: str) -> Claims:
        """The claims of an access token. Raises Unauthorized for an invalid one."""
        claims = self._verified(token, "access")
        found = (Scope(each["type"], each["name"], frozenset(each["actions"])) for each in claims["access"])
        return Claims(claims["sub"], tuple(found))

    def read_refresh(self, token: str, hash_of: Callable[[str], str]) -> str:
        """The user of a refresh token.

        Raises Unauthorized for an invalid one, or when the password has changed since.
        """
        claims = self._verified(token, "refresh")
        user = str(claims["sub"])
        if not hash_of(user) or not hmac.compare_digest(claims["pwd"], self._mark(hash_of(user))):
            raise Unauthorized("the token's account is gone, or has another password now")
        return user

    def _mark(self, password_hash: str) -> str:
        return hmac.digest(self._key, b"pwd\0" + password_hash.encode(), "sha256").hex()

    def _signed(self, kind: str, user: str, lifetime: int, more: Json) -> str:
        now = int(self._clock())
        claims = {
            "iss": self.service, "aud": self.service, "sub": user, "use": kind, "jti": secrets.token_hex(8),
            "iat": now, "nbf": now, "exp": now + lifetime, **more,
        }  # fmt: skip
        text = f"{_HEADER}.{_encode(json.dumps(claims, separators=(',', ':')).encode())}"
        return f"{text}.{self._signature(text)}"

    def _verified(self, token: str, kind: str) -> Json:
        text, _, signature = token.rpartition(".")
        header, _, body = text.partition(".")
        right = len(token) <= _MAX and token.isascii() and header == _HEADER
        if not right or not hmac.compare_digest(signature, self._signature(text)):
            raise Unauthorized("the token was not made here")
        claims: Json = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
        if claims["use"] != kind or claims["aud"] != self.service:
            raise Unauthorized("the token is for something else")
        if claims["exp"] <= self._clock():
            raise Unauthorized("the token has expired")
        return claims

    def _signature(self, text: str) -> str:
        return _encode(hmac.digest(self._key, text.encode(), "sha256"))


def key_in(path: Path) -> bytes:
    """The key in a file, which is made when there is none: tokens outlive a restart."""
    if not path.exists():
        _make_key(path)
    key = path.read_bytes()
    if len(key) < 32:
        raise Unauthorized(f"{path} is no key of 32 bytes or more; remove it and another one is made")
    return key


def _make_key(path: Path) -> None:
    """All at once, and it stays when another process has made it meanwhile."""
    aside = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    try:
        with open(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
            file.write(secrets.token_bytes(32))
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):
            os.link(aside, path)
        sync_directory(path.parent)
    finally:
        aside.unlink(missing_ok=True)


def parse_scopes(texts: Iterable[str]) -> list[Scope]:
    """`repository:a/b:pull,push`, several in one with blanks. What is no scope is left out, as the specification has
    it: nothing is granted for it."""
    found = []
    for text in " ".join(texts).split()[:100]:
        kind, _, rest = text.partition(":")
        name, _, actions = rest.rpartition(":")
        if kind and name and actions:
            found.append(Scope(kind, name, frozenset(actions.split(","))))
    return found
