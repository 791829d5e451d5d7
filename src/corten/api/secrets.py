"""/stored-secrets, an addition of ours: Docker's /secrets are Swarm's."""

from __future__ import annotations

import base64
import binascii

from aiohttp import web

from corten.api.call import Call, empty, json_answer
from corten.api.routes import Route
from corten.engine.containers import secrets as users
from corten.engine.secrets import shown
from corten.errors import Invalid
from corten.spec.docker.secrets import StoredSecretCreate


async def list_secrets(call: Call) -> web.StreamResponse:
    return json_answer([shown(secret) for secret in call.engine.secrets.list(call.filters())])


async def create(call: Call) -> web.StreamResponse:
    asked = await call.body(StoredSecretCreate)
    try:
        text = base64.b64decode(asked.data, validate=True)
    except (binascii.Error, ValueError):
        raise Invalid("the data of a secret is not base64") from None
    secret = await call.engine.secrets.create(asked.name, text, asked.labels or {})
    return json_answer({"ID": secret.id}, 201)


async def inspect(call: Call) -> web.StreamResponse:
    return json_answer(shown(call.engine.secrets.get(call.path["name"])))


async def remove(call: Call) -> web.StreamResponse:
    users.remove(call.engine.containers, call.path["name"])
    return empty()


ROUTES = (
    Route("GET", "/stored-secrets", list_secrets),
    Route("POST", "/stored-secrets/create", create),
    Route("GET", "/stored-secrets/{name}", inspect),
    Route("DELETE", "/stored-secrets/{name}", remove),
)
