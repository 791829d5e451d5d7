"""What a driver does for networks of its kind, and the network in use that it does it for.

A network is a `Definition` on record. In use it is an `ActiveNetwork`: with its driver, its allocators of addresses and
its endpoints. A driver is made once per daemon and serves all networks of its kind; it has no list of them. It keeps
nothing on disk: what it makes in the kernel follows from definitions and endpoints, and can be made again from them.

    definition        check                              at POST /networks/create; pure
    network           ensure ... remove                  restore at the daemon's start, for all at once
    endpoint              attach ... detach              one device in one container
    while it runs     watch                              from the daemon's start to `unwatch`

One network from its creation to its end, with one container in it:

    driver.check(definition)                             # Invalid, Unsupported: nothing was made
    network = ActiveNetwork(definition, driver, Addresses(definition))
    driver.ensure(network)                               # its device is there, and its rules
    endpoint = driver.attach(network, endpoint, spec, namespace)
    network.add(endpoint)                                # what attach returned is what has to be recorded
    network.drop(endpoint.endpoint_id)
    driver.detach(endpoint, release, None)               # `release` gives its addresses back, now or later
    await driver.remove(network)

After a restart `restore` is called instead of `ensure`, endpoints are read from their records and not attached again:
what is in the kernel went on without the daemon. `attached` says whether that is so; if not, `attach` is called again
for the same endpoint, with a new device.

`ensure`, `restore`, `remove` and `detach` are idempotent. `attach` is not: it leaves nothing behind when it fails.
All but `remove` are synchronous and take a few milliseconds at most, so nothing has to be locked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from corten.kernel.netlink import Request
from corten.kernel.rtnetlink import IPAddress
from corten.network.addresses import Addresses
from corten.network.definition import Definition
from corten.network.endpoint import Endpoint
from corten.network.interface import InterfaceSpec
from corten.spec.json import Json

HOST, OUTSIDE = "host", "outside"  # where packets come from: this machine itself, any other that can send here


class Namespace(Protocol):
    """A container's network namespace: its descriptor, and the one of a NETLINK_ROUTE socket inside."""

    @property
    def fd(self) -> int: ...
    @property
    def route(self) -> int: ...


class Reachability(NamedTuple):
    """What the containers of a driver's networks have.

    addresses   a device with addresses and routes in a namespace of their own; otherwise the rest is never asked for
    publishes   ports of this host can lead to them
    gateway     the gateway's addresses are this host's, on the network's device
    host_files  they see this host's /etc/hosts and resolv.conf
    """

    addresses: bool = True
    publishes: bool = False
    gateway: bool = False
    host_files: bool = False


class Publishing(NamedTuple):
    """How a network publishes ports. `host_ip` is what an empty HostIp means on it; empty: what the daemon says. In the
    families `routed` a port is opened at the container's own address, and none of this host's is taken."""

    host_ip: str = ""
    routed: frozenset[int] = frozenset()


class Driver(Protocol):
    """See above for the order of calls."""

    @property
    def reachability(self) -> Reachability: ...

    @property
    def predefined_only(self) -> bool:
        """There is one network of this kind, and clients cannot create another."""

    def check(self, definition: Definition) -> None:
        """Raises Invalid for options that cannot be, Unsupported for what this engine leaves out. Pure."""

    def device(self, definition: Definition) -> str:
        """The device of this host that the network is built on, which no other network can have; empty without one."""

    def restore(self, networks: Sequence[ActiveNetwork]) -> None:
        """At the daemon's start, for all of this kind: as `ensure`, but traffic that is running is left alone.

        What can be made up for at a container's start is a warning; the rest raises as `ensure` does.
        """

    def ensure(self, network: ActiveNetwork) -> None:
        """Its device is there and up. Idempotent.

        Raises Conflict for a device of that name that is of another kind, NotFound for one that has to be there and is
        not, Unsupported when the kernel lacks it, Failed for a sysctl that cannot be set.
        """

    async def remove(self, network: ActiveNetwork) -> None:
        """The opposite. Idempotent. A device that was there before the network stays."""

    def attach(self, network: ActiveNetwork, endpoint: Endpoint, spec: InterfaceSpec, namespace: Namespace) -> Endpoint:
        """Put a device into the namespace, configured and up. Returns the endpoint with what is known of the device:
        its `index`, its `mac`, `host_interface` and `host_index` when it has an end on this host. For a
        `guest.GuestNamespace` a tap is added to that instead, or Unsupported raised.

        Nothing is left when it fails: Conflict for a name that is in use there, Unsupported, Failed.
        """

    def detach(self, endpoint: Endpoint, release: Callable[[], None], namespace: Namespace | None) -> None:
        """Remove an endpoint's device; with `namespace` the container goes on, without it goes with its namespace.

        Idempotent. Each call calls `release` once, when no packet can be sent with its addresses any more: possibly
        after this returned (`Dataplane.wait_detached`).
        """

    def attached(self, endpoint: Endpoint) -> bool:
        """The device is still there, as far as that can be seen from this host."""

    def publishing(self, definition: Definition) -> Publishing:
        """Asked for drivers that publish. Pure."""

    def ports_changed(self, endpoint: Endpoint) -> None:
        """Other ports lead to an attached endpoint than when it was attached."""

    def default_routes(self, definition: Definition, index: int, gateways: Sequence[IPAddress]) -> list[Request]:
        """The messages that let the device `index` give its container the default route. Pure."""

    def sources(self, definition: Definition, version: int) -> tuple[str, ...]:
        """Who can send to an endpoint's own address of that family: HOST, OUTSIDE, the network's name. Pure."""

    def watch(self, networks: Callable[[], Iterable[ActiveNetwork]], on_lost: Callable[[Endpoint], None]) -> None:
        """When all endpoints of an earlier daemon are known: restore what other programs have changed of these
        networks' devices, and from now on at once. Idempotent.

        `on_lost` is called for an endpoint whose device is gone: what can enter the container attaches another.
        """

    def unwatch(self) -> None:
        """At the daemon's end: from now on nothing is watched. Idempotent. Devices stay."""


@dataclass(slots=True)
class ActiveNetwork:
    """A network with what is in use of it."""

    definition: Definition
    driver: Driver
    addresses: Addresses
    endpoints: dict[str, Endpoint] = field(default_factory=dict)  # by endpoint id; changed by `add` and `drop`
    by_container: dict[str, Endpoint] = field(default_factory=dict)  # the same: each container is in it once
    by_host_index: dict[int, Endpoint] = field(default_factory=dict)  # those that have an end on this host

    def add(self, endpoint: Endpoint) -> None:
        """A new endpoint, or another state of a known one."""
        if (before := self.endpoints.get(endpoint.endpoint_id)) is not None and before.host_index is not None:
            self.by_host_index.pop(before.host_index, None)
        self.endpoints[endpoint.endpoint_id] = endpoint
        self.by_container[endpoint.container_id] = endpoint
        if endpoint.host_index is not None:
            self.by_host_index[endpoint.host_index] = endpoint

    def drop(self, endpoint_id: str) -> bool:
        """False when it is not there."""
        gone = self.endpoints.pop(endpoint_id, None)
        if gone is None:
            return False
        del self.by_container[gone.container_id]
        if gone.host_index is not None:
            self.by_host_index.pop(gone.host_index, None)
        return True

    @property
    def attached(self) -> Json:
        """Its containers by id, as GET /networks/ID shows them."""
        return {endpoint.container_id: endpoint.attached for endpoint in self.endpoints.values()}

    @property
    def device(self) -> str:
        return self.driver.device(self.definition)

    @property
    def can_publish(self) -> bool:
        return self.driver.reachability.publishes and not self.definition.internal
