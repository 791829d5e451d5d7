"""/networks."""

from __future__ import annotations

from aiohttp import web

from corten.api.call import Call, empty, json_answer
from corten.api.requests import connecting
from corten.api.routes import Route
from corten.api.shapes import lists_containers, network_for
from corten.engine.containers import network as container_network
from corten.engine.containers.container import Container
from corten.spec.docker.networking import ConnectRequest, DisconnectRequest, EndpointSettings, NetworkCreate


async def list_networks(call: Call) -> web.StreamResponse:
    listed = call.engine.networks.list(call.filters(), lists_containers(call.version))
    return json_answer([network_for(call.version, shown) for shown in listed])


async def inspect(call: Call) -> web.StreamResponse:
    shown = call.engine.networks.inspect(call.path["id"], call.flag("verbose"), call.text("scope"))
    return json_answer(network_for(call.version, shown))


async def audit(call: Call) -> web.StreamResponse:
    """Ours: what is reachable from where, for one network, or for all under the name "*"."""
    reference = call.path["id"]
    return json_answer(call.engine.networks.audit("" if reference == "*" else reference))


async def create(call: Call) -> web.StreamResponse:
    body = await call.body(NetworkCreate)
    return json_answer(await call.engine.networks.create(body), 201)


async def remove(call: Call) -> web.StreamResponse:
    await call.engine.networks.remove(call.path["id"])
    return empty()


async def prune(call: Call) -> web.StreamResponse:
    answer = await call.engine.networks.prune(call.filters())
    return json_answer({"NetworksDeleted": answer["NetworksDeleted"] or None})


async def connect(call: Call) -> web.StreamResponse:
    body = await call.body(ConnectRequest)
    network, container = _both(call, body.container)
    settings, shown_mac = connecting(body.endpoint_config or EndpointSettings(), call.version)
    await container_network.connect(call.engine.containers, container, network, settings, shown_mac)
    return web.Response(status=200)


async def disconnect(call: Call) -> web.StreamResponse:
    """Force means endpoints without a container, which another daemon may have left; here there are none of those."""
    body = await call.body(DisconnectRequest)
    network, container = _both(call, body.container)
    await container_network.disconnect(call.engine.containers, container, network)
    return web.Response(status=200)


def _both(call: Call, container: str) -> tuple[str, Container]:
    """The network's name, and the container. Raises NotFound, or Invalid for an ambiguous name."""
    name = call.engine.networks.find(call.path["id"]).definition.name
    return name, call.engine.containers.get(container)


ROUTES = (
    Route("GET", "/networks", list_networks),
    Route("POST", "/networks/create", create),
    Route("POST", "/networks/prune", prune),
    Route("GET", "/networks/{id}", inspect),
    Route("DELETE", "/networks/{id}", remove),
    Route("GET", "/networks/{id}/audit", audit),
    Route("POST", "/networks/{id}/connect", connect),
    Route("POST", "/networks/{id}/disconnect", disconnect),
)
