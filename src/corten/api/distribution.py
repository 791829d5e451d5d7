"""/distribution, and the routes of features that this engine has not: they say so."""

from __future__ import annotations

from aiohttp import web

from corten.api.call import Call, json_answer
from corten.api.routes import Route
from corten.errors import Unavailable


async def distribution(call: Call) -> web.StreamResponse:
    auth = call.registry_auth().to_json()
    return json_answer(await call.engine.images.distribution(call.path["name"], auth))


async def no_plugins(call: Call) -> web.StreamResponse:
    return json_answer([])


async def no_swarm(call: Call) -> web.StreamResponse:
    raise Unavailable("This node is not a swarm manager. This engine does not take part in swarms.")


_SWARM = ("/swarm", "/nodes", "/services", "/tasks", "/secrets", "/configs")

ROUTES = (
    Route("GET", "/distribution/{name:all}/json", distribution),
    Route("GET", "/plugins", no_plugins),
    *(Route("GET", path, no_swarm) for path in _SWARM),
    *(Route(method, f"{path}/{{rest:all}}", no_swarm) for path in _SWARM for method in ("GET", "POST", "DELETE")),
)
