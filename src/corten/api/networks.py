"""/networks."""

from __future__ import annotations

from aiohttp import web

from corten.api.call import Call, json_answer
from corten.api.routes import Route


async def list_networks(call: Call) -> web.StreamResponse:
    return json_answer(call.engine.networks.list(call.filters()))


async def inspect(call: Call) -> web.StreamResponse:
    return json_answer(call.engine.networks.inspect(call.path["id"]))


ROUTES = (
    Route("GET", "/networks", list_networks),
    Route("GET", "/networks/{id}", inspect),
)
