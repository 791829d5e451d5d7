"""A container's endpoints: connected at its start, and while it runs by POST /networks/ID/connect."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

from corten.engine.containers import files as container_files
from corten.engine.containers import guest_network
from corten.engine.containers.container import Container
from corten.engine.containers.containers import Containers
from corten.engine.containers.records import Record
from corten.errors import Conflict, CortenError, Forbidden, Invalid, NotFound
from corten.instance.contract import ServeNames
from corten.network import rate
from corten.network.driver import Namespace as AnyNamespace
from corten.network.endpoint_request import EndpointRequest
from corten.network.guest import GuestNamespace, Tap
from corten.network.lent import lend
from corten.network.resolver import Sockets
from corten.plan.isolation import guest_of
from corten.plan.namespaces import own_network
from corten.plan.validate.network import check_endpoint
from corten.sandbox.sandboxes import open_network
from corten.spec.docker.host_config import PortBinding
from corten.spec.docker.networking import EndpointSettings
from corten.tasks.contract import Namespace

log = logging.getLogger(__name__)
_JOIN = 10.0  # seconds for another container's start in the network of one that ends

HOST = Namespace(Path("/proc/1/ns/net"), -1, -1)  # nothing is ever done in it


def own_namespace(record: Record) -> bool:
    return own_network(record.host_config)


def names_of(container: Container, settings: EndpointSettings) -> list[str]:
    """What containers of a network may call this one: its name, aliases, the short id, its hostname."""
    record = container.record
    wanted = [record.name, *(settings.aliases or ()), record.id[:12], record.config.hostname]
    return list(dict.fromkeys(filter(None, wanted)))


async def connect_all(
    containers: Containers, container: Container, namespace: Namespace | None, stack: AsyncExitStack
) -> Sequence[Tap]:
    """Every wanted network, in order. Without a namespace of its own only "host" can be wanted. Returns what a guest
    gets in the place of devices in its namespace, the caller's to close."""
    given: AnyNamespace = namespace or HOST
    taps: list[Tap] = []
    container.record.shown_macs.clear()
    if guest_of(container.record.host_config):
        given = GuestNamespace(given.fd, given.route, taps)  # its machine is made with them
    try:
        for index, (network, settings) in enumerate(container.record.networks.items()):
            await _connect(containers, container, given, network, settings, index)
            stack.push_async_callback(_leave, containers, container, network)
        if namespace is not None:
            _shape(containers, container, namespace)
            await _serve_names(containers, container, namespace)
            if container.record.pod is not None and guest_of(container.record.host_config):
                taps += await asyncio.to_thread(lend, namespace)  # moving a device takes the kernel its time
    except BaseException:
        for tap in taps:
            os.close(tap.fd)
        raise
    return taps


async def name_client(containers: Containers, container: Container, namespace: Namespace) -> int:
    """A socket that asks the container's name server; -1 when it has none. The caller closes it."""
    if container.id not in containers.networks.resolver:
        return -1
    return await containers.namespaces.name_client(namespace)


def _shape(containers: Containers, container: Container, namespace: Namespace) -> None:
    if limits := container.record.host_config.net_rate:
        containers.networks.shape(container.id, limits, namespace)


async def change_rate(containers: Containers, container: Container, limits: str) -> None:
    """POST /containers/ID/update with NetRate; the caller holds the lock. Invalid, Unsupported."""
    if limits and not own_namespace(container.record):
        raise Conflict(f"container {container.id} has no network of its own to limit the rate of")
    rate.parse(limits)
    if container.record.state.has_task and own_namespace(container.record):
        async with _opened(containers, container) as namespace:
            containers.networks.shape(container.id, limits, namespace)
    container.record.host_config = container.record.host_config.replace(net_rate=limits)


async def _serve_names(containers: Containers, container: Container, namespace: Namespace) -> None:
    """A name server for a container in a user-defined network that has none yet."""
    if not containers.networks.needs_resolver(container.id):
        return
    if made := await containers.namespaces.name_sockets(namespace):
        servers = container.record.host_config.dns or ()
        await containers.networks.start_resolver(container.id, Sockets(*made), servers)
    task = container.task if guest_of(container.record.host_config) else None
    if task is not None and (asks := await name_client(containers, container, namespace)) >= 0:
        try:
            await task.change_network(ServeNames(), [asks])
        finally:
            os.close(asks)


async def _connect(
    containers: Containers,
    container: Container,
    namespace: AnyNamespace,
    network: str,
    settings: EndpointSettings,
    index: int,
) -> None:
    """Ports are published on the first network that can: a port of the host leads to one place.

    The container's own MAC address is for NetworkMode's network, also when that was left and connected again.
    """
    host, config = container.record.host_config, container.record.config
    if config.mac_address and not settings.mac_address and network == _main_network(containers, container):
        settings = settings.replace(mac_address=config.mac_address)
    published = any(any(endpoint.ports.values()) for endpoint in container.endpoints.values())
    request = EndpointRequest(
        network,
        container.id,
        namespace,
        settings,
        names=names_of(container, settings),
        port_bindings={} if published else host.port_bindings or {},
        exposed=list(config.exposed_ports or {}),
        publish_all=host.publish_all_ports and not published,
        index=index,
    )
    container.endpoints[network] = await containers.networks.connect(request)


def _main_network(containers: Containers, container: Container) -> str:
    """The name of NetworkMode's network; "" when it is gone."""
    try:
        return containers.networks.find(container.record.host_config.network_mode).definition.name
    except (NotFound, Invalid):
        return ""


async def adopt_all(containers: Containers, container: Container, stack: AsyncExitStack) -> None:
    """The endpoints that an earlier daemon connected for the run that goes on; also without one that lacks its network,
    as the default one is when the daemon has `--bridge none` now."""
    for network, record in container.record.endpoints.items():
        try:
            container.endpoints[network] = await containers.networks.adopt(record, container.id)
        except CortenError as error:
            log.warning("container %s has lost its network %s until it starts again: %s", container.id, network, error)
            continue
        stack.push_async_callback(_leave, containers, container, network)


def renamed(containers: Containers, container: Container) -> None:
    """Its endpoints, here and on disk, carry the name that it has now."""
    networks, record = containers.networks, container.record
    networks.rename(record.id, record.name, record.config.hostname)
    container.endpoints |= {name: e for name, e in networks.named_endpoints(record.id) if name in container.endpoints}
    if record.state.has_task:
        record.endpoints = {name: endpoint.record for name, endpoint in container.endpoints.items()}


async def serve_again(containers: Containers, container: Container) -> None:
    """What a running container lost of its network: devices that another program removed, its name server.

    The caller holds the lock, or is the only one that has the container yet.
    """
    networks = containers.networks
    if not own_namespace(container.record):
        return
    try:
        if any(networks.lacks_device(endpoint) for endpoint in container.endpoints.values()):
            await _reconnect(containers, container)
        if networks.needs_resolver(container.id):
            async with _opened(containers, container) as namespace:
                await _serve_names(containers, container, namespace)
    except (CortenError, OSError) as error:
        if _has_ended(container):  # and its network went with it; the end is about to be recorded
            return
        log.warning("container %s has lost a part of its network: %s", container.id, error)


def _has_ended(container: Container) -> bool:
    """Whether no process of its own is left, whose network namespace could be seen."""
    try:
        if container.task is not None:
            os.close(container.task.open_namespace("network"))
            return False
    except (CortenError, OSError):
        pass
    return True


async def reconnect(containers: Containers, container: Container) -> None:
    """The same while the daemon runs."""
    async with container.lock:
        if container.record.state.has_task:
            await serve_again(containers, container)


async def _reconnect(containers: Containers, container: Container) -> None:
    """The caller holds the lock. NotFound when its processes have ended: it went with them."""
    networks = containers.networks
    lost = {name: e for name, e in container.endpoints.items() if networks.lacks_device(e)}
    if not lost:
        return
    async with _opened(containers, container) as namespace:
        for name, endpoint in lost.items():
            await guest_network.take_away(container, endpoint)
            async with guest_network.given(container, namespace) as given:
                container.endpoints[name] = networks.reconnect(endpoint, given)
            log.warning("container %s: its device in network %s was taken away and is back", container.id, name)
        _shape(containers, container, namespace)
    await _changed(containers, container)


async def _leave(containers: Containers, container: Container, network: str) -> None:
    """At the end of a run. Where others are in its network, that namespace goes on, and a device has to be removed from
    it before the next run brings another. One that is on its way in is waited for: it may keep the namespace."""
    for member in containers.joining_now(container):
        with suppress(TimeoutError):
            async with asyncio.timeout(_JOIN), member.lock:
                pass
    for member in containers.members(container):
        try:
            async with _opened(containers, member) as namespace:
                await disconnect_endpoint(containers, container, network, namespace)
        except NotFound:  # it has just ended
            continue
        return
    await disconnect_endpoint(containers, container, network)


async def disconnect_endpoint(
    containers: Containers, container: Container, network: str, namespace: AnyNamespace | None = None
) -> None:
    """Does nothing when a client disconnected it before."""
    if (endpoint := container.endpoints.pop(network, None)) is not None:
        await containers.networks.disconnect(endpoint, namespace)


async def connect(
    containers: Containers, container: Container, network: str, settings: EndpointSettings, shown_mac: str = ""
) -> None:
    """POST /networks/ID/connect; `network` is a name. Forbidden without a namespace of its own.

    `shown_mac` is what a container that does not run shows until it starts, and nothing else comes of it.
    """
    check_endpoint(settings)
    async with container.lock:
        record = container.record
        _check_connectable(containers, container, network, settings)
        if network in record.networks and record.state.has_task:
            raise Forbidden(f"endpoint with name {record.name} already exists in network {network}")
        if record.state.has_task:
            async with _opened(containers, container) as namespace:
                await _connect_running(containers, container, namespace, network, settings)
            assert container.release is not None
            container.release.push_async_callback(_leave, containers, container, network)
        record.networks[network] = settings
        record.shown_macs.pop(network, None)
        if shown_mac and not record.state.has_task:
            record.shown_macs[network] = shown_mac
        await _changed(containers, container)


async def _connect_running(
    containers: Containers, container: Container, namespace: Namespace, network: str, settings: EndpointSettings
) -> None:
    try:
        async with guest_network.given(container, namespace) as given:
            await _connect(containers, container, given, network, settings, _free_index(container))
        _shape(containers, container, namespace)
        await _serve_names(containers, container, namespace)
    except BaseException:  # also when its guest has no room for it, or it gets no name server
        await _disconnect_running(containers, container, network, namespace)
        raise


async def _disconnect_running(containers: Containers, container: Container, network: str, namespace: Namespace) -> None:
    """Does nothing when it is not connected."""
    if (endpoint := container.endpoints.get(network)) is None:
        return
    await guest_network.take_away(container, endpoint)
    async with guest_network.given(container, namespace) as given:
        await disconnect_endpoint(containers, container, network, given)


def _check_connectable(containers: Containers, container: Container, network: str, settings: EndpointSettings) -> None:
    record = container.record
    if not own_namespace(record):
        raise Forbidden("container sharing network namespace with another container or host cannot be connected")
    if container.gone or record.state.status in ("removing", "dead"):
        raise Conflict(f"container {container.id} is marked for removal and cannot be connected")
    if network == "host":
        raise Invalid("container cannot be connected to host network: it needs a network namespace of its own")
    if record.networks and ("none" in record.networks or network == "none"):
        raise Invalid(
            "container cannot be connected to multiple networks with one of the networks in private (none) mode"
        )
    if containers.networks.validate(network, settings).default_bridge and settings.aliases:
        raise Invalid("network-scoped alias is supported only for containers in user defined networks")


def _free_index(container: Container) -> int:
    """The lowest number that no interface has: of three networks the middle one may have been disconnected."""
    names = [str(endpoint.record.get("interface") or "") for endpoint in container.endpoints.values()]
    taken = {name[len(name.rstrip("0123456789")) :] for name in names}
    return next(n for n in range(len(names) + 1) if str(n) not in taken)


async def disconnect(containers: Containers, container: Container, network: str) -> None:
    """POST /networks/ID/disconnect; `network` is a name. NotFound when it is not connected, Conflict with "host"."""
    async with container.lock:
        record = container.record
        if container.gone:
            raise NotFound(f"No such container: {container.id}")
        if network not in record.networks:
            raise NotFound(f"container {container.id} is not connected to network {network}")
        if record.host_config.network_mode == "host":
            raise Conflict("cannot disconnect a container from the host's network")
        record.shown_macs.pop(network, None)
        if network not in container.endpoints:
            del record.networks[network]
            await _changed(containers, container)
            return
        async with _opened(containers, container) as namespace:
            published = any(container.endpoints[network].ports.values())
            # Written down first: a device without a record is swept by the next daemon, the opposite is not.
            del record.networks[network]
            record.endpoints.pop(network, None)
            containers.save(container)
            await _disconnect_running(containers, container, network, namespace)
        if published:
            await _publish_elsewhere(containers, container)
        await _changed(containers, container)


async def _publish_elsewhere(containers: Containers, container: Container) -> None:
    """Ports were published on a network that is gone: publish them on another, if there is one that can."""
    host, exposed = container.record.host_config, list(container.record.config.exposed_ports or {})
    wished = {port: [PortBinding()] for port in exposed} if host.publish_all_ports else {}
    try:
        changed = await containers.networks.republish(
            container.id, {**wished, **(host.port_bindings or {})}, {}, exposed
        )
    except Conflict:
        return  # it was the last network with a way out
    container.endpoints[changed.record["network_name"]] = changed


async def _changed(containers: Containers, container: Container) -> None:
    record = container.record
    if record.state.has_task:
        record.endpoints = {name: endpoint.record for name, endpoint in container.endpoints.items()}
        await container_files.rewrite_network(containers, [container])
    containers.save(container)


@asynccontextmanager
async def _opened(containers: Containers, container: Container) -> AsyncIterator[Namespace]:
    task = container.task
    if task is None:
        raise NotFound(f"container {container.id} is not running")
    fd = open_network(task, container.record.network_namespace)
    namespace = await containers.namespaces.open(fd)
    try:
        yield namespace
    finally:
        namespace.close()
