"""Networks: Docker's noun. It translates requests and publishes events; what they are about is the room `network`.

A network is a stored `Definition`; what is in the kernel (bridges, one nftables table) is derived from the definitions
and from the endpoints that are connected, and can be made again from them at any time.

    networks = Networks(table, NetworkConfig(bridge="corten0"), events.publish, on_link_lost, on_resolver_lost)
    await networks.setup()                  # at the daemon's start
    await networks.adopt(record, id)        # for every container that kept running meanwhile
    await networks.reconcile()              # removes what belongs to no network and no endpoint
    endpoint = await networks.connect(EndpointRequest("bridge", id, namespace, names=["web"]))
    await networks.disconnect(endpoint)     # idempotent
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from corten.aio.background import Background
from corten.engine.networks.filters import chosen, prunable
from corten.engine.networks.requests import definition_of
from corten.errors import Conflict, Forbidden, NotFound
from corten.network import audit, predefined, subnets
from corten.network.balancer import Shared
from corten.network.config import NetworkConfig
from corten.network.container_files import ContainerFiles
from corten.network.dataplane import Dataplane
from corten.network.definition import Definition
from corten.network.driver import ActiveNetwork, Namespace
from corten.network.endpoint import Endpoint
from corten.network.endpoint_request import EndpointRequest, address_request
from corten.network.endpoints import Endpoints
from corten.network.forwarder import Forwarder
from corten.network.lifecycle import Lifecycle
from corten.network.long_lived import LongLived
from corten.network.ports import PortMap, Reservations
from corten.network.resolver import Resolver, Sockets
from corten.network.store import NetworkStore
from corten.spec.docker import times
from corten.spec.docker.filters import Filters
from corten.spec.docker.networking import EndpointSettings, NetworkCreate
from corten.spec.json import Json
from corten.store.table import Table

Publish = Callable[[str, str, str, Mapping[str, str]], None]  # events: type, action, id, attributes


class Networks:
    """`on_link_lost` is called when another program removed the device of an endpoint: what can enter the container
    calls `reconnect`. `on_resolver_lost` is called when the name server has exited, for all containers at once.

    `warnings` and `changes` (sysctls that were set on this host) are for `info`.
    """

    def __init__(
        self,
        records: Table,
        config: NetworkConfig,
        publish: Publish,
        on_link_lost: Callable[[Endpoint], None],
        on_resolver_lost: Callable[[], None],
        names: LongLived | None = None,
        forwarder: LongLived | None = None,
    ) -> None:
        self.config = config
        self._publish = publish
        self.dataplane = Dataplane(config.label, config.owner)
        self.store = NetworkStore(records, self.dataplane.drivers, config.has_default)
        self.resolver = Resolver(names, self.store, on_resolver_lost)
        self.reservations = Reservations(config.host_ip, forwards=forwarder is not None)
        self.forwarder = Forwarder(forwarder, self._on_forwarder_lost)
        self._lifecycle = Lifecycle(self.store, self.dataplane, self.resolver, self.forwarder, on_link_lost)
        self._endpoints = Endpoints(
            self.store, self.dataplane, self.reservations, self.resolver, self.forwarder, self.reconcile
        )
        self._background = Background()
        self._files = ContainerFiles(config, self.store, self.resolver)
        self.warnings = self.dataplane.warnings
        self.changes = self.dataplane.changes

    @property
    def driver_names(self) -> Sequence[str]:
        return sorted(self.dataplane.drivers)

    # ------------------------------------------------------------------------------------------------- lifecycle

    async def setup(self) -> None:
        """See `Lifecycle.setup`. Raises Conflict, Failed, Unsupported."""
        await self._lifecycle.setup(self.config)

    async def reconcile(self) -> None:
        """After the last `adopt`. The first `connect` does it when it was not done."""
        await self._lifecycle.reconcile()
        await self._endpoints.forward_adopted()

    async def settle(self) -> None:
        """Everything that was disconnected is really gone when this returns."""
        await self.dataplane.settle()

    async def close(self) -> None:
        """At the daemon's end. What connected containers need stays; without any, nothing stays."""
        await self._background.settle()
        await self._lifecycle.close()
        self._endpoints.release_ports()

    # ------------------------------------------------------------------------------------------------- endpoints

    async def connect(self, request: EndpointRequest, quiet: bool = False) -> Endpoint:
        """Put a container into a network. Nothing is left when it fails. Raises as `Endpoints.connect`.

        `quiet`: without an event, as for a build's step, which is no container.
        """
        made = self.store.usable(request.network).definition
        endpoint = await self._endpoints.connect(request)
        if not quiet:
            self._event("connect", made, endpoint.container_id)
        return endpoint

    async def disconnect(self, endpoint: Endpoint, namespace: Namespace | None = None, quiet: bool = False) -> None:
        """Take an endpoint away. Idempotent. Ports are free at once; the device may take a moment (see `settle`).

        With `namespace` the container goes on without this network: the device is gone when this returns, and the
        default route leads through the best network that is left.
        """
        network = self.store.get(endpoint.network_id)
        if not self._endpoints.disconnect(endpoint, namespace):
            return
        await self.forwarder.settle()
        if not quiet and network is not None:  # which may have been removed meanwhile
            self._event("disconnect", network.definition, endpoint.container_id)
        if namespace is not None:
            await self._endpoints.disconnected(endpoint, namespace)

    async def adopt(self, record: Json, container_id: str) -> Endpoint:
        """See `Endpoints.adopt`. Raises NotFound when the network is gone."""
        return self._endpoints.adopt(record, container_id)

    def lacks_device(self, endpoint: Endpoint) -> bool:
        """It is connected, and the device that it was connected by is gone."""
        return self._endpoints.lacks_device(endpoint)

    def reconnect(self, endpoint: Endpoint, namespace: Namespace) -> Endpoint:
        """Another device for an endpoint that lacks one; everything else of it stays. NotFound when it is gone."""
        return self._endpoints.reconnect(endpoint, namespace)

    async def republish(self, container_id: str, adds: PortMap, removes: PortMap, exposed: Sequence[str]) -> Endpoint:
        """Publish other ports of a connected container. Raises as `Endpoints.republish`, and then nothing changed."""
        return await self._endpoints.republish(container_id, adds, removes, exposed)

    async def share(self, shared: Shared, container_id: str) -> None:
        """A connected container shares a port of this host, and is sent nothing yet, see `Balancer.join`. Raises
        Invalid, Conflict, Failed."""
        await self._endpoints.share(shared, container_id)

    def adopt_shared(self, shared: Shared, container_id: str) -> None:
        """See `Balancer.adopt`. Raises Conflict."""
        self._endpoints.adopt_shared(shared, container_id)

    def ready(self, container_id: str, ready: bool) -> None:
        """Whether it is sent connections to the ports that it shares. Idempotent."""
        self._endpoints.balancer.ready(container_id, ready)

    def unshare(self, container_id: str) -> None:
        """Of all ports that it shares. Idempotent."""
        self._endpoints.balancer.leave(container_id)

    def shape(self, container_id: str, limits: str, namespace: Namespace) -> None:
        """Limit the rate of all of a container's devices, see `network.rate`. Raises Invalid, Unsupported."""
        self._endpoints.shape(container_id, limits, namespace)

    def shape_taps(self, machine_id: str, limits: str) -> None:
        """The same of a machine's. Raises Invalid, Unsupported."""
        self._endpoints.shape_taps(machine_id, limits)

    def rename(self, container_id: str, name: str, hostname: str = "") -> None:
        """See `Endpoints.rename`."""
        self._endpoints.rename(container_id, name, hostname)

    def of_container(self, container_id: str) -> Sequence[Endpoint]:
        return self.store.of_container(container_id)

    def named_endpoints(self, container_id: str) -> Sequence[tuple[str, Endpoint]]:
        """A container's endpoints as they are now, each with its network's name."""
        return [(endpoint.network_name, endpoint) for endpoint in self.of_container(container_id)]

    def validate(self, network: str, settings: EndpointSettings) -> Definition:
        """At create, before anything is connected: the network is there and could give what is asked. Raises NotFound,
        Forbidden, Invalid."""
        found = self.store.usable(network)
        address_request(found, settings)
        return found.definition

    # ---------------------------------------------------------------------------------------------- names, files

    def needs_resolver(self, container_id: str) -> bool:
        """It is in a user-defined network and has no name server yet: time for `start_resolver`."""
        return self.resolver.needed(container_id)

    async def start_resolver(self, container_id: str, sockets: Sockets, servers: Sequence[str] = ()) -> None:
        """Start the name server at 127.0.0.11 of a container; `servers` are what --dns gave it. Raises Unavailable.

        It goes on without the daemon, and ends with the container's last endpoint.
        """
        await self.resolver.serve(container_id, sockets, servers or self.config.dns)

    def hosts_file(
        self,
        endpoints: Sequence[Endpoint],
        hostname: str,
        domainname: str = "",
        extra: Iterable[str] = (),
        linked: Iterable[tuple[str, str]] = (),
    ) -> str:
        """/etc/hosts of a container; `linked` are rows of (address, names). Invalid for a bad extra host."""
        return self._files.hosts(endpoints, hostname, domainname, extra, linked)

    def resolv_conf(
        self,
        endpoints: Sequence[Endpoint],
        servers: Sequence[str] = (),
        search: Sequence[str] = (),
        options: Sequence[str] = (),
    ) -> str:
        """/etc/resolv.conf of a container."""
        return self._files.resolv_conf(endpoints, servers, search, options)

    # ------------------------------------------------------------------------------------------------ API's noun

    def find(self, reference: str) -> ActiveNetwork:
        """By id, name, or the start of an id, see `NetworkStore.find`. Raises NotFound, Invalid."""
        return self.store.find(reference)

    def id_of(self, name: str) -> str:
        """Empty when there is no network of that name."""
        found = self.store.named(name)
        return found.definition.id if found is not None else ""

    def list(self, filters: Filters | None = None, containers: bool = False) -> Sequence[Json]:
        """Docker's list, with the `containers` of each or without. Invalid for a filter that Docker does not know."""
        found = chosen(self.store.values(), filters or Filters())
        return [made.wire(self.store[made.id].attached if containers else {}) for made in found]

    def inspect(self, reference: str, verbose: bool = False, scope: str = "") -> Json:
        network = self.find(reference)
        if scope not in ("", "local"):
            raise NotFound(f"network {reference} not found")
        shown = network.definition.wire(network.attached)
        return {**shown, "Services": {}} if verbose else shown

    async def create(self, request: NetworkCreate) -> Json:
        """POST /networks/create. Conflict for a name in use, Forbidden for a subnet in use, and see `definition_of`."""
        id, created = secrets.token_hex(32), times.rfc3339(times.now())
        defaults = self.config.default_options
        asked = definition_of(request, id, created, self.dataplane.drivers, self.store.configuration, defaults)
        if self.store.named(asked.name) is not None:
            raise Conflict(f"network with name {asked.name} already exists")
        if asked.config_only:
            self.store.store(self.store.activate(asked))
        else:
            await self._create(asked)
        self._event("create", asked)
        unused = [r.subnet for r in asked.ranges if r.subnet and not asked.has(r.version)]
        warning = f"IPv6 is not enabled for the network: {', '.join(unused)} is not used" if unused else ""
        return {"Id": asked.id, "Warning": warning}

    async def _create(self, asked: Definition) -> None:
        device = self.dataplane.drivers[asked.driver].device(asked)
        if any(network.device == device for network in self.store.with_devices()):
            raise Forbidden(f"network with device {device} exists already: a device belongs to one network")
        with subnets.lock():
            chosen = predefined.ranges(self.store, asked, self.config, self.dataplane.links.route)
            network = self.store.activate(replace(asked, ranges=chosen))
            try:
                network.driver.ensure(network)
                self.store.store(network)
            except BaseException:
                await network.driver.remove(network)
                raise
        self._lifecycle.prepare_resolver()

    async def remove(self, reference: str) -> None:
        """DELETE /networks/ID. Forbidden for a predefined network and while containers are connected."""
        network = self.find(reference)
        made = network.definition
        if made.predefined:
            raise Forbidden(f"{made.name} is a pre-defined network and cannot be removed")
        if network.endpoints:
            rows = ", ".join(f'name:"{e.container_name}" id:"{e.endpoint_id[:12]}"' for e in network.endpoints.values())
            raise Forbidden(f"error while removing network: network {made.name} has active endpoints ({rows})")
        if made.config_only and any(n.definition.config_from == made.name for n in self.store.values()):
            raise Forbidden(f'configuration network "{made.name}" is in use')
        self.store.forget(network)
        await network.driver.remove(network)
        self._event("destroy", made)

    async def prune(self, filters: Filters | None = None) -> Json:
        """POST /networks/prune: networks without containers, but the predefined ones."""
        deleted = []
        for made in prunable(self.store.values(), filters or Filters()):
            try:
                await self.remove(made.id)
            except (NotFound, Forbidden):  # it was removed, or has come into use, meanwhile
                continue
            deleted.append(made.name)
        self._publish("network", "prune", "", {"reclaimed": "0"})
        return {"NetworksDeleted": deleted}

    def audit(self, reference: str = "") -> Sequence[Json]:
        """What is reachable from where: {"Container", "Network", "Port", "Via", "From"} for every way there is.

        With `reference` only the ways to containers of that network. NotFound.
        """
        wanted = self.find(reference).definition.name if reference else ""
        ways = audit.ways(self.store.values(), self.dataplane.firewall.obstacles())
        return [way.to_json() for way in ways if wanted in ("", way.network)]

    def _on_forwarder_lost(self) -> None:
        self._background.spawn(self._endpoints.forward_again(), "another forwarder of ports")

    def _event(self, action: str, made: Definition, container: str = "") -> None:
        attributes = {"name": made.name, "type": made.driver}
        if container:
            attributes["container"] = container
        self._publish("network", action, made.id, attributes)
