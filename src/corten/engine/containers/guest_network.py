"""The networks of a container in a guest while it runs: what drivers make of taps and routes becomes its machine's."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from corten.engine.containers.container import Container
from corten.errors import CortenError, NotFound
from corten.instance.contract import Plug, Route
from corten.network.driver import Namespace as AnyNamespace
from corten.network.endpoint import Endpoint
from corten.network.guest import GuestNamespace, Tap
from corten.network.interface import InterfaceSpec, link_local_of
from corten.plan.isolation import guest_of
from corten.spec.json import Json
from corten.supervisor.guest_network import for_agent
from corten.tasks.contract import Namespace

log = logging.getLogger(__name__)


def plug_of(spec: InterfaceSpec) -> Plug:
    """An interface as a guest gets it. With IPv6 it has a link-local address, as in a container."""
    addresses = [*spec.interfaces]
    if any(one.version == 6 and not one.ip.is_link_local for one in addresses):
        addresses.insert(0, link_local_of(spec.mac))
    return Plug(spec.name, spec.mac, spec.mtu, tuple(map(str, addresses)), tuple(map(str, spec.gateways)))


def interface_of(tap: Tap) -> Json:
    """As the agent gets it."""
    made = for_agent(plug_of(tap.spec))
    made["routes"] += [{"destination": str(way.destination), "gateway": str(way.gateway or "")} for way in tap.ways]
    return made


@asynccontextmanager
async def given(container: Container, namespace: Namespace) -> AsyncIterator[AnyNamespace]:
    """What drivers change: the container's namespace; of a guest what they would change in it, which the guest has when
    this ends. Errors as of `Task.change_network`."""
    if container.task is None or not guest_of(container.record.host_config):
        yield namespace
        return
    wanted = GuestNamespace(namespace.fd, namespace.route)
    try:
        yield wanted
        for tap in wanted.taps:
            await container.task.change_network(plug_of(tap.spec), [tap.fd])
        for routes in wanted.routes:
            await container.task.change_network(Route(routes.interface, tuple(map(str, routes.gateways))))
    finally:
        wanted.close_taps()


async def take_away(container: Container, endpoint: Endpoint) -> None:
    """A guest's interface, before its device on the host goes. Nothing for others. What a guest does not do is in the
    log: nothing passes there any more in any case."""
    if container.task is None or not guest_of(container.record.host_config) or not endpoint.interface:
        return
    try:
        await container.task.detach_interface(endpoint.interface)
    except NotFound:  # it did not get it
        return
    except CortenError as error:
        log.warning("container %s: its guest keeps the interface %s: %s", container.id, endpoint.interface, error)
