"""All networks of a daemon, by id, on record as well; and what follows from them alone."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import replace

import msgspec

from corten.errors import Forbidden, Invalid, NotFound
from corten.network.addresses import Addresses
from corten.network.definition import Definition
from corten.network.driver import ActiveNetwork, Driver
from corten.network.endpoint import Endpoint
from corten.store.table import Table

KIND = "network"
log = logging.getLogger(__name__)


def definitions(table: Table) -> Iterator[Definition]:
    """Of all networks. One record that is broken does not hide the others."""
    for id, body in table.list(KIND).items():
        try:
            yield Definition.from_json(body)
        except msgspec.ValidationError as error:
            log.error("the record of network %s cannot be read: %s", id, error)


class NetworkStore(dict[str, ActiveNetwork]):
    """`has_default`: the daemon has a default bridge."""

    def __init__(self, records: Table, drivers: Mapping[str, Driver], has_default: bool) -> None:
        super().__init__()
        self._table, self._drivers = records, drivers
        self._has_default = has_default

    def load(self) -> None:
        """What an earlier daemon stored, in the order in which it was made: lists do not change with the daemon."""
        for definition in sorted(definitions(self._table), key=_age):
            self[definition.id] = self.activate(definition)

    def activate(self, definition: Definition) -> ActiveNetwork:
        """A network without endpoints, not stored yet. A configuration has no addresses: those are of the networks
        that are made from it."""
        ranged = replace(definition, ranges=()) if definition.config_only else definition
        return ActiveNetwork(definition, self._drivers[definition.driver], Addresses(ranged))

    def gateway_device(self, definition: Definition) -> str:
        """The device of this host that has the gateways of such a network; empty for one whose gateway is elsewhere."""
        driver = self._drivers[definition.driver]
        return driver.device(definition) if driver.reachability.gateway else ""

    def store(self, network: ActiveNetwork) -> None:
        self._table.put(KIND, network.definition.id, network.definition.to_json())
        self[network.definition.id] = network

    def forget(self, network: ActiveNetwork) -> None:
        self._table.delete(KIND, network.definition.id)
        del self[network.definition.id]

    # --------------------------------------------------------------------------------------------------- finding

    def find(self, reference: str) -> ActiveNetwork:
        """By id, name, or the start of an id, in this order. NotFound; Invalid when the start fits several.

        "default" is the default bridge, or none where the daemon has no default bridge.
        """
        if reference == "default":
            reference = "bridge" if self._has_default else "none"
        found = self.get(reference) or self.named(reference)
        if found is not None:
            return found
        matches = [network for id, network in self.items() if reference and id.startswith(reference)]
        if len(matches) > 1:
            raise Invalid(f"network {reference} is ambiguous ({len(matches)} matches found based on ID prefix)")
        if not matches:
            raise NotFound(f"network {reference} not found")
        return matches[0]

    def usable(self, reference: str) -> ActiveNetwork:
        """One that containers can be in. Forbidden for a configuration.

        Without a default bridge a container that is to be in it has its loopback alone, as with dockerd.
        """
        network = self.find("none" if reference == "bridge" and not self._has_default else reference)
        if network.definition.config_only:
            raise Forbidden("cannot create endpoint on configuration-only network")
        return network

    def configuration(self, name: str) -> Definition:
        """NotFound when it is no configuration network."""
        network = self.named(name)
        if network is None or not network.definition.config_only:
            raise NotFound(f'configuration network "{name}" does not exist')
        return network.definition

    def named(self, name: str) -> ActiveNetwork | None:
        return next((network for network in self.values() if network.definition.name == name), None)

    def with_devices(self) -> list[ActiveNetwork]:
        """Those that a device of this host belongs to."""
        return [network for network in self.values() if network.device]

    def user_defined(self) -> list[ActiveNetwork]:
        """Those that a name server answers in."""
        return [network for network in self.values() if not network.definition.predefined]

    # ------------------------------------------------------------------------------------------------- containers

    def connected(self, container_id: str) -> list[tuple[ActiveNetwork, Endpoint]]:
        """The networks that a container is in, with its endpoint in each."""
        found = ((network, network.by_container.get(container_id)) for network in self.values())
        return [(network, endpoint) for network, endpoint in found if endpoint is not None]

    def of_container(self, container_id: str) -> list[Endpoint]:
        return [endpoint for _, endpoint in self.connected(container_id)]

    def has_way_out(self, container_id: str) -> bool:
        """Names of the world may be asked for; not from internal networks alone (CVE-2024-29018)."""
        return not all(network.definition.internal for network, _ in self.connected(container_id))

    def default_route(self, container_id: str) -> Endpoint | None:
        """The endpoint that gives a container its default route: highest priority, then first name."""
        routed = [e for e in self.of_container(container_id) if e.gateway or e.gateway6]
        return min(routed, key=route_rank, default=None)


def route_rank(endpoint: Endpoint) -> tuple[int, str]:
    """The smallest of a container's endpoints gives it its default route."""
    return -endpoint.gw_priority, endpoint.network_name


def _age(definition: Definition) -> tuple[str, str, str]:
    """RFC 3339 with as many decimals as Go prints, which is no order of texts: .5Z comes behind .51Z."""
    seconds, _, decimals = definition.created.removesuffix("Z").partition(".")
    return seconds, decimals.ljust(9, "0"), definition.name
