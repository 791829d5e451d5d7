"""Credentials and challenges: RFC 9110 `WWW-Authenticate`, and the token protocol of the distribution project
(docs "Token Authentication Specification" and "OAuth2 Token Authentication")."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urljoin, urlsplit

from corten.errors import Failed, Invalid
from corten.registry.client.endpoints import Endpoint, host_name, is_loopback
from corten.spec.reference import DEFAULT_DOMAIN

# Blanks and commas are one class: `\s*,?\s*` would try each way to share n blanks.
_CHALLENGE = re.compile(r"[\s,]*([A-Za-z][A-Za-z0-9_-]*)(?=\s|$)")
_PARAMETER = re.compile(r'[\s,]*([A-Za-z][A-Za-z0-9_-]*)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))')
HUB_NAMES = ("docker.io", "index.docker.io", "registry-1.docker.io")


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a client sent in X-Registry-Auth. Empty strings are absent. `repr` shows no secret."""

    username: str = ""
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)
    registry_token: str = field(default="", repr=False)

    @property
    def secret(self) -> bool:
        """Whether there is anything that must not get into other hands."""
        return bool(self.basic or self.identity_token)

    @property
    def basic(self) -> str:
        """The value of a basic Authorization header; "" without a user."""
        if not self.username and not self.password:
            return ""
        return "Basic " + base64.b64encode(f"{self.username}:{self.password}".encode()).decode()


def credentials(document: Mapping[str, Any] | None, domain: str) -> Credentials:
    """Credentials for `domain`. Those that name another registry are for that one and are not used (exact host)."""
    document = document or {}
    values = {}
    for key in ("username", "password", "identitytoken", "registrytoken", "serveraddress", "auth"):
        value = document.get(key) or ""
        if not isinstance(value, str) or len(value) > 1 << 16 or "\n" in value or "\r" in value:
            raise Invalid(f"registry credentials have a malformed {key}")
        values[key] = value
    if values["serveraddress"] and _server(values["serveraddress"]) != _server(domain):
        return Credentials()
    if values["auth"] and not values["username"]:
        values["username"], values["password"] = _decoded(values["auth"])
    return Credentials(values["username"], values["password"], values["identitytoken"], values["registrytoken"])


def _decoded(text: str) -> tuple[str, str]:
    try:
        user, _, password = base64.b64decode(text).decode().partition(":")
    except ValueError as error:
        raise Invalid("registry credentials have a malformed auth") from error
    return user, password


def _server(address: str) -> str:
    host = address.rpartition("://")[2].partition("/")[0].lower()
    return DEFAULT_DOMAIN if host in HUB_NAMES else host


@dataclass(frozen=True, slots=True)
class Challenge:
    scheme: str  # lower case
    parameters: Mapping[str, str]


def challenges(headers: Sequence[str]) -> list[Challenge]:
    """Every challenge in these WWW-Authenticate headers; what cannot be understood is left out."""
    found: list[Challenge] = []
    for header in headers:
        at = 0
        while match := _CHALLENGE.match(header, at):
            at = match.end()
            parameters: dict[str, str] = {}
            while part := _PARAMETER.match(header, at):
                at = part.end()
                value = re.sub(r"\\(.)", r"\1", part[2]) if part[2] is not None else part[3]
                parameters.setdefault(part[1].lower(), value)
            found.append(Challenge(match[1].lower(), parameters))
    return found


def check_realm(realm: str, endpoint: Endpoint, root: str, secret: bool) -> str:
    """The realm itself when a token may be requested there (CVE-2026-33540).

    Allowed is https; and http for a registry that is itself used without TLS: on its host or on this very machine, and
    with a `secret` only where the registry itself is, at `root` (http://HOST[:PORT]): another port is another
    program's. Raises Failed for another realm: no password would help, and a 401 makes Docker's client ask for one.
    """
    there = origin(realm)
    parts = urlsplit(realm)
    if not parts.hostname or "@" in parts.netloc or not realm.isprintable():
        raise _no_trust(realm, endpoint)
    if parts.scheme == "https":
        return realm
    near = is_loopback(parts.hostname) or parts.hostname == host_name(endpoint.host)
    if parts.scheme != "http" or not endpoint.insecure or not near:
        raise _no_trust(realm, endpoint)
    if secret and there != origin(root):
        raise Failed(
            f"registry {endpoint.host} wants the credentials at {realm[:200]!r}, which is neither https nor the "
            "registry itself: they are not sent there; its authentication server has to be reached by https"
        )
    return realm


def _no_trust(realm: str, endpoint: Endpoint) -> Failed:
    shown = repr(realm[:200])
    return Failed(f"registry {endpoint.host} sends to an authentication server that cannot be trusted: {shown}")


def origin(url: str) -> tuple[str, str | None, int]:
    """Scheme, host and port (RFC 6454). Raises Failed for a malformed address; registries send them."""
    try:
        parts = urlsplit(url)
        return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme, 0)
    except ValueError as error:
        raise Failed(f"registry sends to a malformed address: {url[:200]!r}") from error


def joined(url: str, location: str) -> str:
    """The target of a Location header in a response from `url`. Raises Failed for a malformed address."""
    try:
        target = urljoin(url, location)
    except ValueError as error:
        raise Failed(f"registry sends to a malformed address: {location[:200]!r}") from error
    if any(char < " " or char == "\x7f" for char in target):  # aiohttp raises a bare ValueError
        raise Failed(f"registry sends to a malformed address: {location[:200]!r}")
    origin(target)
    return target
