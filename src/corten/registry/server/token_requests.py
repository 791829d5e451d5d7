"""The token endpoint: `GET /token` with basic authentication or none, `POST /token` as OAuth 2 has it (distribution
project, "Token Authentication Specification" and "OAuth2 Token Authentication")."""

from __future__ import annotations

from datetime import UTC, datetime
from urllib.parse import parse_qsl

from aiohttp import web

from corten.errors import Unauthorized
from corten.registry.server.access import Access
from corten.registry.server.answers import HEADERS, Refusal
from corten.registry.server.bodies import whole
from corten.registry.server.htpasswd import credentials
from corten.registry.server.tokens import Tokens

PATH = "/token"
_FORM = "application/x-www-form-urlencoded"
_MAX_FORM = 128 << 10  # bytes: no account is needed to send one


class TokenRequests:
    def __init__(self, access: Access, tokens: Tokens) -> None:
        self._access = access
        self._tokens = tokens

    async def answer(self, request: web.Request) -> web.Response:
        if request.method == "POST":
            return await self._oauth(request)
        if request.method != "GET":
            raise Refusal(405, "UNSUPPORTED", "The operation is unsupported.")
        self._check_service(request.query.get("service", ""))
        given = request.headers.get("Authorization", "")
        user = await self._access.user_of(credentials(given)) if given else ""
        refresh = bool(user) and request.query.get("offline_token", "") == "true"
        return self._granted(user, request.query.getall("scope", []), "token", refresh)

    async def _oauth(self, request: web.Request) -> web.Response:
        form = await _form(request)
        self._check_service(form.get("service", ""))
        match form.get("grant_type"):
            case "password":
                pair = (form.get("username", ""), form.get("password", ""))
                user = await self._access.user_of(pair)
            case "refresh_token":
                user = self._tokens.read_refresh(form.get("refresh_token", ""), self._hash_of)
            case _:
                raise Refusal(400, "UNSUPPORTED", "grant_type has to be password or refresh_token")
        refresh = form.get("access_type") == "offline"
        return self._granted(user, [form.get("scope", "")], "access_token", refresh)

    def _hash_of(self, user: str) -> str:
        return self._access.accounts.hash_of(user) if self._access.accounts else ""

    def _check_service(self, service: str) -> None:
        if service and service != self._tokens.service:
            raise Unauthorized(f"tokens are given for {self._tokens.service} only")

    def _granted(self, user: str, scopes: list[str], key: str, refresh: bool) -> web.Response:
        granted = self._access.grant(user, scopes)
        token = self._tokens.access(user, granted)
        body: dict[str, object] = {
            key: token,
            "expires_in": self._tokens.lifetime,
            "issued_at": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        if key == "token":
            body["access_token"] = token
        else:
            body["scope"] = " ".join(f"{s.type}:{s.name}:{','.join(sorted(s.actions))}" for s in granted)
        if refresh:
            body["refresh_token"] = self._tokens.refresh(user, self._hash_of(user))
        return web.json_response(body, headers={**HEADERS, "Cache-Control": "no-store"})


async def _form(request: web.Request) -> dict[str, str]:
    """Of several values of a key the first (RFC 6749, 3.2, forbids more)."""
    if request.content_type != _FORM:
        raise Refusal(415, "UNSUPPORTED", f"a token is asked for by {_FORM}")
    body = await whole(request, "a token request", _MAX_FORM)
    try:
        return dict(reversed(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=100)))
    except ValueError as error:
        raise Refusal(400, "UNSUPPORTED", f"not a form: {error}") from error
