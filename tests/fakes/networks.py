"""Networks in memory, for an engine whose containers have no network namespaces: no root, no kernel, no port is bound.

`tests/contract/test_networks.py` holds them to what the real ones do.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from corten.engine.networks.filters import chosen, prunable
from corten.engine.networks.requests import definition_of
from corten.errors import Conflict, Failed, Forbidden, NotFound
from corten.network import files, rate
from corten.network.addresses import Lease
from corten.network.definition import Definition, Range
from corten.network.driver import ActiveNetwork, Driver, Namespace, Reachability
from corten.network.drivers.host import HostDriver
from corten.network.drivers.none import NoneDriver
from corten.network.endpoint import Endpoint
from corten.network.endpoint_request import EndpointRequest, address_request, bare_endpoint, new_endpoint
from corten.network.firewall import Published
from corten.network.ports import PortMap, PortRequest, matching, port_requests, published_again, report
from corten.network.resolver import Sockets
from corten.network.store import NetworkStore
from corten.spec.docker.filters import Filters
from corten.spec.docker.networking import EndpointSettings, NetworkCreate
from fakes.table import MemoryTable

Json = dict[str, Any]
_EVERY = ipaddress.ip_address("0.0.0.0")


class MemoryDriver(NoneDriver):
    """A driver of devices that are numbers."""

    reachability = Reachability(publishes=True, gateway=True)
    predefined_only = False

    def __init__(self) -> None:
        self._next = 1
        self.gone: set[int] = set()  # what a test says that another program removed

    def attach(self, network: ActiveNetwork, endpoint: Endpoint, spec: object, namespace: Namespace) -> Endpoint:
        self._next += 1
        return replace(
            endpoint, index=2, host_interface=f"v{endpoint.endpoint_id[:9]}", host_index=self._next, mac=endpoint.mac
        )

    def attached(self, endpoint: Endpoint) -> bool:
        return endpoint.host_index not in self.gone


class FakeNetworks:
    """A daemon's, with the default bridge."""

    def __init__(self, publish: Callable[[str, str, str, Mapping[str, str]], object] = lambda *event: None) -> None:
        self.warnings: list[str] = []
        self.changes: list[str] = []
        self.driver = MemoryDriver()
        self.records = MemoryTable()
        self._publish = publish
        self._ports: set[tuple[str, int]] = set()
        self._drivers: Mapping[str, Driver] = {"bridge": self.driver, "host": HostDriver(), "null": NoneDriver()}
        self.store = self._load()
        for name, driver, subnet in (
            ("bridge", "bridge", "172.17"),
            ("host", "host", ""),
            ("none", "null", ""),
        ):
            ranges = (Range(f"{subnet}.0.0/16", "", f"{subnet}.0.1"),) if subnet else ()
            made = Definition(name * 8, name, "2026-01-01T00:00:00Z", driver, ranges=ranges)
            self.store.store(self.store.activate(made))

    def _load(self) -> NetworkStore:
        store = NetworkStore(self.records, self._drivers, has_default=True)
        store.load()
        return store

    def restart(self) -> None:
        """As by another daemon: what is on record is there, and no endpoint."""
        self.store, self._ports = self._load(), set()

    @property
    def driver_names(self) -> Sequence[str]:
        return sorted(self._drivers)

    @property
    def connected(self) -> dict[str, set[str]]:
        """Containers by the names of networks."""
        return {network.definition.name: set(network.by_container) for network in self.store.values()}

    # ------------------------------------------------------------------------------------------------- endpoints

    async def connect(self, request: EndpointRequest, quiet: bool = False) -> Endpoint:
        network = self.store.usable(request.network)
        made = network.definition
        if request.container_id in network.by_container:
            raise Forbidden(f"endpoint with name {request.name} already exists in network {made.name}")
        endpoint = bare_endpoint(made, request)
        if network.driver.reachability.addresses:
            endpoint = self._acquire(network, request)
        network.add(endpoint)
        if not quiet:
            self._event("connect", made, endpoint.container_id)
        return endpoint

    def _acquire(self, network: ActiveNetwork, request: EndpointRequest) -> Endpoint:
        wanted = address_request(network, request.settings)
        lease = network.addresses.lease(wanted)
        try:
            endpoint = new_endpoint(network, lease, wanted.mac, request)
            asked: Sequence[PortRequest] = ()
            if network.can_publish:
                asked = port_requests(request.port_bindings, request.exposed, request.publish_all)
            ports = report(request.exposed, self._take(endpoint, asked))
        except BaseException:
            network.addresses.release(lease)
            raise
        return self.driver.attach(network, replace(endpoint, ports=ports), None, request.namespace)

    def _take(self, endpoint: Endpoint, asked: Sequence[PortRequest]) -> list[Published]:
        taken: list[Published] = []
        for one in asked:
            number = one.first or next(n for n in range(32768, 65536) if (one.protocol, n) not in self._ports)
            if (one.protocol, number) in self._ports:
                self._release(taken)
                raise Failed(f"Bind for 0.0.0.0:{number} failed: port is already allocated")
            self._ports.add((one.protocol, number))
            address = ipaddress.ip_address(one.host_ip) if one.host_ip else _EVERY
            taken.append(Published(one.protocol, address, number, ipaddress.ip_address(endpoint.address), one.port))
        return taken

    def _release(self, ports: Iterable[Published]) -> None:
        self._ports -= {(one.protocol, one.host_port) for one in ports}

    async def disconnect(self, endpoint: Endpoint, namespace: Namespace | None = None, quiet: bool = False) -> None:
        network = self.store.get(endpoint.network_id)
        if network is None or not network.drop(endpoint.endpoint_id):
            return
        self._release(_published(endpoint))
        network.addresses.release(_lease(endpoint))
        if not quiet:
            self._event("disconnect", network.definition, endpoint.container_id)

    async def adopt(self, record: Json, container_id: str) -> Endpoint:
        endpoint = Endpoint.from_json(record)
        network = self.store.get(endpoint.network_id)
        if network is None:
            raise NotFound(f"network {endpoint.network_name} of container {container_id} is gone")
        if endpoint.endpoint_id not in network.endpoints:
            network.addresses.adopt(endpoint)
            network.add(endpoint)
            self._ports |= {(one.protocol, one.host_port) for one in _published(endpoint)}
        return endpoint

    def lacks_device(self, endpoint: Endpoint) -> bool:
        network = self.store.get(endpoint.network_id)
        known = network is not None and endpoint.endpoint_id in network.endpoints
        return known and not self.driver.attached(endpoint)

    def reconnect(self, endpoint: Endpoint, namespace: Namespace) -> Endpoint:
        network = self.store.get(endpoint.network_id)
        known = network.endpoints.get(endpoint.endpoint_id) if network is not None else None
        if network is None or known is None:
            raise NotFound(f"container {endpoint.container_id} is not in network {endpoint.network_name} any more")
        changed = self.driver.attach(network, known, None, namespace)
        network.add(changed)
        return changed

    async def republish(self, container_id: str, adds: PortMap, removes: PortMap, exposed: Sequence[str]) -> Endpoint:
        able = [(n, e) for n, e in self.store.connected(container_id) if n.can_publish]
        if not able:
            raise Conflict(f"container {container_id} has no network that can publish ports")
        network, endpoint = next((pair for pair in able if any(pair[1].ports.values())), able[0])
        before = _published(endpoint)
        gone = matching(before, removes)
        self._release(gone)
        try:
            taken = self._take(endpoint, port_requests(adds, (), False))
        except BaseException:
            self._ports |= {(one.protocol, one.host_port) for one in gone}
            raise
        kept = [one for one in before if one not in gone]
        changed = replace(endpoint, ports=report(exposed, [*kept, *taken]))
        network.add(changed)
        return changed

    def shape(self, container_id: str, limits: str, namespace: Namespace) -> None:
        rate.parse(limits)

    def rename(self, container_id: str, name: str, hostname: str = "") -> None:
        for network, endpoint in self.store.connected(container_id):
            network.add(endpoint.renamed(name, hostname))

    def named_endpoints(self, container_id: str) -> list[tuple[str, Endpoint]]:
        return [(endpoint.network_name, endpoint) for endpoint in self.store.of_container(container_id)]

    def validate(self, network: str, settings: EndpointSettings) -> Definition:
        found = self.store.usable(network)
        address_request(found, settings)
        return found.definition

    async def settle(self) -> None:
        return

    # ---------------------------------------------------------------------------------------------- names, files

    def needs_resolver(self, container_id: str) -> bool:
        return False

    async def start_resolver(self, container_id: str, sockets: Sockets, servers: Sequence[str] = ()) -> None:
        raise AssertionError("no container needs a name server here")

    def hosts_file(
        self,
        endpoints: Sequence[Endpoint],
        hostname: str,
        domainname: str = "",
        extra: Iterable[str] = (),
        linked: Iterable[tuple[str, str]] = (),
    ) -> str:
        addresses = [endpoint.address for endpoint in endpoints]
        return files.hosts(addresses, hostname, domainname, extra, "172.17.0.1", linked)

    def resolv_conf(
        self,
        endpoints: Sequence[Endpoint],
        servers: Sequence[str] = (),
        search: Sequence[str] = (),
        options: Sequence[str] = (),
    ) -> str:
        return files.resolv_conf("", servers, search, options)

    # ------------------------------------------------------------------------------------------------ API's noun

    def find(self, reference: str) -> ActiveNetwork:
        return self.store.find(reference)

    def id_of(self, name: str) -> str:
        found = self.store.named(name)
        return found.definition.id if found is not None else ""

    def list(self, filters: Filters | None = None, containers: bool = False) -> list[Json]:
        found = chosen(self.store.values(), filters or Filters())
        return [made.wire(self.store[made.id].attached if containers else {}) for made in found]

    def inspect(self, reference: str, verbose: bool = False, scope: str = "") -> Json:
        network = self.find(reference)
        return network.definition.wire(network.attached)

    async def create(self, request: NetworkCreate) -> Json:
        id = f"{len(self.store):064x}"
        made = definition_of(request, id, "2026-01-01T00:00:00Z", self._drivers, self.store.configuration)
        if self.store.named(made.name) is not None:
            raise Conflict(f"network with name {made.name} already exists")
        given = made.ranges or (Range(f"10.{len(self.store)}.0.0/16"),)
        made = replace(made, ranges=tuple(one.with_gateway(one in made.ranges) for one in given))
        self.store.store(self.store.activate(made))
        self._event("create", made)
        return {"Id": id, "Warning": ""}

    async def remove(self, reference: str) -> None:
        network = self.find(reference)
        if network.definition.predefined:
            raise Forbidden(f"{network.definition.name} is a pre-defined network and cannot be removed")
        if network.endpoints:
            raise Forbidden(f"network {network.definition.name} has active endpoints")
        self.store.forget(network)
        self._event("destroy", network.definition)

    async def prune(self, filters: Filters | None = None) -> Json:
        gone = prunable(self.store.values(), filters or Filters())
        for made in gone:
            await self.remove(made.id)
        self._publish("network", "prune", "", {"reclaimed": "0"})
        return {"NetworksDeleted": [made.name for made in gone]}

    def _event(self, action: str, made: Definition, container: str = "") -> None:
        attributes = {"name": made.name, "type": made.driver}
        self._publish("network", action, made.id, {**attributes, "container": container} if container else attributes)


def _lease(endpoint: Endpoint) -> Lease:
    return Lease(ipaddress.ip_address(endpoint.address) if endpoint.address else None, None)


def _published(endpoint: Endpoint) -> list[Published]:
    return published_again(endpoint.ports, *_lease(endpoint))
