"""Containers in networks: connected, taken up again after a restart, changed, disconnected.

What an endpoint holds (addresses, host ports, rules, a device) is acquired in this order and released in the opposite
one. `Endpoint.record` is all of it; its keeper is the container, which hands it to `adopt` in a later daemon.
"""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial

from corten.errors import Conflict, Failed, Forbidden, NotFound, Unavailable
from corten.network import rate
from corten.network.addresses import AddressRequest, Lease
from corten.network.balancer import Balancer, Shared
from corten.network.dataplane import Dataplane
from corten.network.driver import ActiveNetwork, Namespace
from corten.network.endpoint import Endpoint
from corten.network.endpoint_request import (
    EndpointRequest,
    address_request,
    as_before,
    bare_endpoint,
    interface_spec,
    new_endpoint,
)
from corten.network.firewall import Published
from corten.network.forwarder import Forwarder
from corten.network.ports import (
    PortMap,
    PortRequest,
    Reservations,
    Target,
    matching,
    port_requests,
    published_again,
    report,
)
from corten.network.resolver import Resolver
from corten.network.store import NetworkStore, route_rank
from corten.spec.json import Json

_GOING, _AGAIN = 2.0, 0.02  # seconds for a device or a port to go with what had it, and between two tries


class Endpoints:
    """`reconcile` is awaited before the first connection, when the daemon did not do it."""

    def __init__(
        self,
        store: NetworkStore,
        dataplane: Dataplane,
        reservations: Reservations,
        resolver: Resolver,
        forwarder: Forwarder,
        reconcile: Callable[[], Awaitable[None]],
    ) -> None:
        self._store, self._dataplane = store, dataplane
        self._reservations, self._resolver, self._forwarder = reservations, resolver, forwarder
        self._reconcile = reconcile
        self.balancer = Balancer(dataplane.firewall, reservations, forwarder, self._forward)

    # ----------------------------------------------------------------------------------------------------- connect

    async def connect(self, request: EndpointRequest) -> Endpoint:
        """Put a container into a network. Nothing is left when it fails.

        Raises NotFound, Invalid, Forbidden (connected already, address in use), Exhausted, Failed (port in use).
        """
        network = self._store.usable(request.network)
        if request.container_id in network.by_container:
            name = network.definition.name
            raise Forbidden(f"endpoint with name {request.name} already exists in network {name}")
        if not network.driver.reachability.addresses:
            return self._add(network, bare_endpoint(network.definition, request))
        if not self._dataplane.reconciled:
            await self._reconcile()
        wanted = address_request(network, request.settings)
        before = as_before(network, wanted, request.previous)
        if network.addresses.occupied(before):  # a container that restarts asks for what its last run still has
            await self._dataplane.settle()
        if not network.addresses.occupied(before):
            wanted = before
        endpoint = self._add(network, await self._acquire(network, wanted, request))
        try:
            await self._forward_lost(endpoint)  # the process was killed meanwhile, when this one was not known yet
        except BaseException:
            self.disconnect(endpoint, request.namespace)
            raise
        return endpoint

    async def _acquire(self, network: ActiveNetwork, wanted: AddressRequest, request: EndpointRequest) -> Endpoint:
        ports: Sequence[PortRequest] = ()
        if network.can_publish:
            ports = port_requests(request.port_bindings, request.exposed, request.publish_all)
        async with AsyncExitStack() as undo:
            lease = network.addresses.lease(wanted)
            undo.callback(network.addresses.release, lease)
            endpoint = new_endpoint(network, lease, wanted.mac, request)
            taken = await self._publish(network, endpoint, ports, undo)
            if shown := report(request.exposed, taken):
                endpoint = replace(endpoint, ports=shown)
            endpoint = await self._attach(network, endpoint, wanted, request.namespace)
            undo.callback(network.driver.detach, endpoint, lambda: None, request.namespace)
            await self._dataplane.forget_flows(taken)
            self._check_there(network)
            undo.pop_all()
        return endpoint

    def _check_there(self, network: ActiveNetwork) -> None:
        """NotFound for one that was removed meanwhile: it had no endpoint yet."""
        if network.definition.id not in self._store:
            raise NotFound(f"network {network.definition.name} not found")

    async def _attach(
        self, network: ActiveNetwork, endpoint: Endpoint, wanted: AddressRequest, namespace: Namespace
    ) -> Endpoint:
        """A MAC address is in use until the kernel has removed the device that had it before, which goes with its
        namespace behind the end of the last process: that is waited for."""
        deadline = time.monotonic() + _GOING
        while True:
            self._check_there(network)  # or its driver would make the network's device again
            try:
                return self._attach_now(network, endpoint, wanted, namespace)
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise
                if time.monotonic() > deadline:
                    text = f"address of container {endpoint.container_name} is in use on network"
                    raise Failed(f"{text} {network.definition.name}: {error.strerror}") from error
            await asyncio.sleep(_AGAIN)

    def _attach_now(
        self, network: ActiveNetwork, endpoint: Endpoint, wanted: AddressRequest, namespace: Namespace
    ) -> Endpoint:
        best = self._store.default_route(endpoint.container_id)
        own = best is None or best.endpoint_id == endpoint.endpoint_id or route_rank(endpoint) < route_rank(best)
        spec = interface_spec(network.definition, endpoint, wanted, default_route=own)
        return network.driver.attach(network, endpoint, spec, namespace)

    def _add(self, network: ActiveNetwork, endpoint: Endpoint) -> Endpoint:
        network.add(endpoint)
        self._resolver.put(network, endpoint)
        self._resolver.refresh(endpoint.container_id)
        return endpoint

    # -------------------------------------------------------------------------------------------------- disconnect

    def disconnect(self, endpoint: Endpoint, namespace: Namespace | None = None) -> bool:
        """Take an endpoint away; False when it is gone already. Ports are free at once, the device may take a moment.

        With `namespace` the container goes on without this network: call `disconnected` then.
        """
        network = self._store.get(endpoint.network_id)
        if network is None or not network.drop(endpoint.endpoint_id):
            return False
        self._unpublish(published(endpoint))
        self._resolver.drop(network, endpoint)
        addresses, lease = network.addresses, _lease(endpoint)
        network.driver.detach(endpoint, lambda: addresses.release(lease), namespace)
        return True

    async def disconnected(self, endpoint: Endpoint, namespace: Namespace) -> None:
        """The device is gone when this returns, and the best network that is left has the default route."""
        await self._dataplane.wait_detached(endpoint)
        best = self._store.default_route(endpoint.container_id)
        if best is not None:
            self._dataplane.set_default_routes(self._store[best.network_id], best, namespace)

    # ------------------------------------------------------------------------------------------- after a restart

    def adopt(self, record: Json | Endpoint, container_id: str) -> Endpoint:
        """The endpoint of a run that outlived an earlier daemon: its addresses and ports are in use again. Idempotent.

        A port that another program took meanwhile is a warning: the rule stands, the container goes on. NotFound when
        the network is gone.
        """
        endpoint = record if isinstance(record, Endpoint) else Endpoint.from_json(record)
        network = self._store.get(endpoint.network_id)
        if network is None:
            raise NotFound(f"network {endpoint.network_name} of container {container_id} is gone")
        if endpoint.endpoint_id in network.endpoints:
            return endpoint
        network.addresses.adopt(endpoint)
        network.add(endpoint)
        self._resolver.put(network, endpoint)
        ports, pin = published(endpoint), endpoint.pin
        if ports:
            name, elsewhere = endpoint.container_name, self._forwarder
            self._warn(name, self._reservations.retake(ports, name, elsewhere))
            self._dataplane.firewall.expect(ports)
        if pin is not None:
            self._dataplane.firewall.expect_pin(pin)
        if (ports or pin) and self._dataplane.reconciled:
            self._dataplane.firewall.replace()
        return endpoint

    def release_ports(self) -> None:
        """At the daemon's end: the rules stand, and what held the ports on this host is closed."""
        for network in self._store.values():
            for endpoint in network.endpoints.values():
                self._reservations.release(published(endpoint))
        self.balancer.release()

    def lacks_device(self, endpoint: Endpoint) -> bool:
        """It is connected, and the device that it was connected by is gone."""
        network = self._store.get(endpoint.network_id)
        return (
            network is not None and endpoint.endpoint_id in network.endpoints and not network.driver.attached(endpoint)
        )

    def reconnect(self, endpoint: Endpoint, namespace: Namespace) -> Endpoint:
        """Another device for an endpoint that lacks one; everything else of it stays. NotFound when it is gone."""
        network = self._store.get(endpoint.network_id)
        known = network.endpoints.get(endpoint.endpoint_id) if network is not None else None
        if network is None or known is None:
            raise NotFound(f"container {endpoint.container_id} is not in network {endpoint.network_name} any more")
        changed = self._attach_now(network, known, address_request(network, known.settings_in), namespace)
        network.add(changed)
        return changed

    # --------------------------------------------------------------------------------------------- while it runs

    def rename(self, container_id: str, name: str, hostname: str = "") -> None:
        """A container has another name now: network inspect shows it."""
        for network, endpoint in self._store.connected(container_id):
            changed = endpoint.renamed(name, hostname)
            network.add(changed)
            self._resolver.put(network, changed)

    def shape(self, container_id: str, limits: str, namespace: Namespace) -> None:
        """Limit the rate of all of a container's devices, see `network.rate`. Invalid, Unsupported."""
        self._dataplane.shape(self._store.of_container(container_id), rate.parse(limits), namespace)

    def shape_taps(self, container_id: str, limits: str) -> None:
        """The same of all of a machine's."""
        self._dataplane.shape_taps(self._store.of_container(container_id), rate.parse(limits))

    async def republish(self, container_id: str, adds: PortMap, removes: PortMap, exposed: Sequence[str]) -> Endpoint:
        """Publish other ports of a connected container; both are PortMaps, `removes` goes first. All or nothing.

        NotFound for what is not published, Conflict without a network that can publish, Failed (port in use).
        Connections through a port that is taken away go on until their end.
        """
        network, endpoint = self._publisher(container_id)
        before = published(endpoint)
        gone = matching(before, removes)
        async with AsyncExitStack() as undo:
            self._unpublish(gone, connections=False)
            undo.push_async_callback(self._publish_again, gone, endpoint)
            taken = await self._publish(network, endpoint, port_requests(adds, (), False), undo)
            await self._dataplane.forget_flows(taken)
            undo.pop_all()
        kept = [one for one in before if one not in gone]
        changed = replace(endpoint, ports=report(exposed, [*kept, *taken]))
        network.driver.ports_changed(changed)
        network.add(changed)
        await self._forwarder.settle()  # what was taken away is free
        return changed

    def _publisher(self, container_id: str) -> tuple[ActiveNetwork, Endpoint]:
        """The network that publishes a container's ports, or could."""
        able = [(n, e) for n, e in self._store.connected(container_id) if n.can_publish]
        if not able:
            raise Conflict(f"container {container_id} has no network that can publish ports")
        return next((pair for pair in able if any(pair[1].ports.values())), able[0])

    # ------------------------------------------------------------------------------------------------- shared ports

    async def share(self, shared: Shared, container_id: str) -> None:
        """See `Balancer.join`; Conflict without a network that can publish."""
        await self.balancer.join(shared, container_id, _target(self._publisher(container_id)[1]))

    def adopt_shared(self, shared: Shared, container_id: str) -> None:
        """See `Balancer.adopt`; Conflict without a network that can publish."""
        target = _target(self._publisher(container_id)[1])
        self._warn(target.name, self.balancer.adopt(shared, container_id, target, self._dataplane.reconciled))

    # ------------------------------------------------------------------------------------------------------- ports

    async def _publish(
        self, network: ActiveNetwork, endpoint: Endpoint, requests: Sequence[PortRequest], undo: AsyncExitStack
    ) -> list[Published]:
        if not requests:
            return []
        how = network.driver.publishing(network.definition)
        target = Target(endpoint.container_name, endpoint.endpoint_id, *_lease(endpoint), how.routed)
        await self._forwarder.settle()  # a container that restarts asks for what its last run had
        taken = self._reservations.take(requests, target, how.host_ip)
        undo.callback(self._reservations.release, taken)
        self._dataplane.firewall.publish(taken)
        undo.callback(self._dataplane.firewall.unpublish, taken)
        await self._forward(taken, endpoint.container_id)
        undo.callback(self._forwarder.stop, taken)
        return taken

    async def _forward(self, ports: Sequence[Published], container_id: str) -> None:
        """Have the process carry those that it has to. Unavailable."""
        for _ in range(2 if self._reservations.to_forward(ports) else 0):  # it may have been killed just now
            await self._forwarder.open(start=True)
            sockets = self._reservations.to_forward(ports)  # what has ended meanwhile has none
            if self._forwarder.forward(sockets, container_id):
                self._reservations.given(sockets)
                return
        if self._reservations.to_forward(ports):
            raise Unavailable("the forwarder of ports cannot be started; see launcher.log")

    def _unpublish(self, ports: Sequence[Published], connections: bool = True) -> None:
        self._dataplane.firewall.unpublish(ports)
        self._forwarder.stop(ports, connections)
        self._reservations.release(ports)

    async def _publish_again(self, ports: Sequence[Published], endpoint: Endpoint) -> None:
        await self._forwarder.settle()
        self._warn(endpoint.container_name, self._reservations.retake(ports, endpoint.container_name))
        self._dataplane.firewall.publish(ports)
        await self._forward(ports, endpoint.container_id)

    async def forward_adopted(self) -> None:
        """After the last `adopt`: the process has what it is to have, and nothing else."""
        every = [endpoint for network in self._store.values() for endpoint in network.endpoints.values()]
        balanced = list(self.balancer.published())
        kept = [port for endpoint in every for port in published(endpoint)]
        self._forwarder.keep([*kept, *(one for _, ports in balanced for one in ports)])
        for endpoint in every:
            await self._forward_adopted(endpoint)
        for container_id, ports in balanced:
            await self._forward_balanced(container_id, ports)

    async def forward_again(self) -> None:
        """The process was killed: another one gets all ports that it had, those that no other program took
        meanwhile."""
        for endpoint in [e for network in self._store.values() for e in network.endpoints.values()]:
            await self._forward_lost(endpoint)
        for container_id, ports in list(self.balancer.published()):
            lost = [one for one in ports if self._is_lost(one)]
            self._reservations.release(lost)
            for one in lost:
                await self._retake(container_id[:12], one, partial(self._is_lost, one))
            await self._forward_balanced(container_id, lost)

    def _is_lost(self, port: Published) -> bool:
        """A process has to carry it, and none has it."""
        return self._reservations.forwards and port.forwarded and port not in self._forwarder

    async def _forward_balanced(self, container_id: str, ports: Sequence[Published]) -> None:
        try:
            await self._forward(ports, container_id)
        except Unavailable as error:
            self._warn(container_id[:12], [f"balanced ports on IPv6: {error}"])

    async def _forward_lost(self, endpoint: Endpoint) -> None:
        lost = self._lost(endpoint)
        self._reservations.release(lost)
        for port in lost:
            await self._retake(endpoint.container_name, port, partial(self._has_lost, endpoint, port))
        if lost:
            await self._forward_adopted(endpoint)

    def _has_lost(self, endpoint: Endpoint, port: Published) -> bool:
        return port in self._lost(endpoint)

    def _lost(self, endpoint: Endpoint) -> list[Published]:
        """Ports of an endpoint that a process has to carry and that none has."""
        network = self._store.get(endpoint.network_id)
        now = network.endpoints.get(endpoint.endpoint_id) if network is not None else None
        return [] if now is None else [port for port in published(now) if self._is_lost(port)]

    async def _retake(self, owner: str, port: Published, lost: Callable[[], bool]) -> None:
        """A process that ends closes its connection to us before its ports, or behind: this waits for both."""
        deadline = time.monotonic() + _GOING
        while lost() and (refusals := self._reservations.retake([port], owner)):
            if time.monotonic() > deadline:
                self._warn(owner, refusals)
                return
            await asyncio.sleep(_AGAIN)

    async def _forward_adopted(self, endpoint: Endpoint) -> None:
        """The container runs already, and goes on without."""
        try:
            await self._forward(published(endpoint), endpoint.container_id)
        except Unavailable as error:
            self._warn(endpoint.container_name, [f"published ports on IPv6: {error}"])

    def _warn(self, owner: str, refusals: Sequence[str]) -> None:
        self._dataplane.warnings += [f"container {owner}: {text}" for text in refusals]


def published(endpoint: Endpoint) -> list[Published]:
    """The ports of this host that lead to an endpoint."""
    return published_again(endpoint.ports, *_lease(endpoint))


def _target(endpoint: Endpoint) -> Target:
    return Target(endpoint.container_name, endpoint.endpoint_id, *_lease(endpoint))


def _lease(endpoint: Endpoint) -> Lease:
    return Lease(
        ipaddress.ip_address(endpoint.address) if endpoint.address else None,
        ipaddress.ip_address(endpoint.address6) if endpoint.address6 else None,
    )
