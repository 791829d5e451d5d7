"""Getting a token from the server that a bearer challenge names (distribution's "Token Authentication Specification"
and "OAuth 2 Token Authentication").

    GET  realm?service=..&scope=..&account=..           with the user's password, or anonymously
         offline_token=true                             asks for an identity token besides, to be kept instead of it
    POST realm grant_type=refresh_token&refresh_token=  with an identity token
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field

from yarl import URL

from corten.errors import Failed
from corten.registry.client.auth import Credentials
from corten.registry.client.bodies import read_at_most, refusal_of
from corten.registry.client.errors import RETRY_STATUS, Refused
from corten.registry.client.web import Tls, Web

CLIENT = "corten"
_REFUSALS = (401, 403)
_MAX = 1 << 20
_MAX_TOKEN = 64 << 10


@dataclass(frozen=True, slots=True)
class Token:
    """`access` goes into Authorization; `identity` is "" unless the server gave one."""

    access: str = field(repr=False)
    identity: str = field(default="", repr=False)


async def fetch(
    web: Web,
    realm: str,
    service: str,
    scopes: list[str],
    known: Credentials,
    tls: Callable[[str], Tls],
    offline: bool = False,
) -> Token:
    """A token for `scopes`. `offline` asks for an identity token.

    Raises Refused when the server refuses, or may answer later; Failed for another answer, which no password changes.
    """
    if known.identity_token:
        form = {
            "grant_type": "refresh_token",
            "client_id": CLIENT,
            "service": service,
            "scope": " ".join(scopes),
            "refresh_token": known.identity_token,
        }
        sent = {key: value for key, value in form.items() if value}
        response = await web.request("POST", realm, {}, tls(realm), sent)
    else:
        query = [("service", service), *(("scope", scope) for scope in scopes)]
        query += [("account", known.username)] if known.username else []
        query += [("offline_token", "true"), ("client_id", CLIENT)] if offline else []
        headers = {"Authorization": known.basic} if known.basic else {}
        url = URL(realm, encoded=True).extend_query([pair for pair in query if pair[1]])
        response = await web.request("GET", str(url), headers, tls(realm))
    async with response:
        if response.status != 200:
            refusal = await refusal_of(response)
            if refusal.status not in (*_REFUSALS, *RETRY_STATUS):
                raise Failed(f"authentication server {_shown(realm)} answers {refusal.status}: {refusal.text}")
            raise Refused(refusal)
        return _parse(await read_at_most(response, _MAX), realm)


def _shown(realm: str) -> str:
    """A realm without its query."""
    return realm.partition("?")[0][:200]


def _parse(body: bytes, realm: str) -> Token:
    try:
        document = json.loads(body)
        access = document.get("token") or document.get("access_token")
        identity = document.get("refresh_token") or ""
    except (ValueError, AttributeError, RecursionError) as error:
        raise Failed(f"authentication server {_shown(realm)} answers with no token") from error
    if not _usable(access) or (identity and not _usable(identity)):
        raise Failed(f"authentication server {_shown(realm)} answers with no token")
    return Token(access, identity)


def _usable(text: object) -> bool:
    """What can stand in a header."""
    return (
        isinstance(text, str)
        and 0 < len(text) <= _MAX_TOKEN
        and text.isascii()
        and text.isprintable()
        and (" " not in text)
    )
