"""All networks of a daemon, by id, on record as well; and what follows from them alone."""

from __future__ import annotations

from dataclasses import replace

from corten.errors import Forbidden, Invalid, NotFound
from corten.network.addresses import Addresses
from corten.network.definition import Definition
from corten.network.endpoint import Endpoint
from corten.network.live import Live
from corten.network.naming import host
from corten.spec.json import Json
from corten.store.table import Table

KIND = "network"


class Known(dict[str, Live]):
    """`has_default`: the daemon has a default bridge."""

    def __init__(self, records: Table, has_default: bool) -> None:
        super().__init__()
        self._table = records
        self._has_default = has_default

    def load(self) -> None:
        """What an earlier daemon stored."""
        for body in self._table.list(KIND).values():
            definition = Definition.from_json(body)
            self[definition.id] = fresh(definition)

    def store(self, live: Live) -> None:
        self._table.put(KIND, live.definition.id, live.definition.to_json())
        self[live.definition.id] = live

    def forget(self, live: Live) -> None:
        self._table.delete(KIND, live.definition.id)
        del self[live.definition.id]

    # --------------------------------------------------------------------------------------------------- finding

    def find(self, reference: str) -> Live:
        """By id, name, or the start of an id, in this order. NotFound; Invalid when the start fits several.

        "default" is the default bridge, or none where the daemon has no default bridge.
        """
        if reference == "default":
            reference = "bridge" if self._has_default else "none"
        found = self.get(reference) or self.named(reference)
        if found is not None:
            return found
        matches = [live for id, live in self.items() if reference and id.startswith(reference)]
        if len(matches) > 1:
            raise Invalid(f"network {reference} is ambiguous ({len(matches)} matches found based on ID prefix)")
        if not matches:
            raise NotFound(f"network {reference} not found")
        return matches[0]

    def usable(self, reference: str) -> Live:
        """One that containers can be in. Forbidden for a configuration."""
        live = self.find(reference)
        if live.definition.config_only:
            raise Forbidden("cannot create endpoint on configuration-only network")
        return live

    def configuration(self, name: str) -> Definition:
        """NotFound when it is no configuration network."""
        live = self.named(name)
        if live is None or not live.definition.config_only:
            raise NotFound(f'configuration network "{name}" does not exist')
        return live.definition

    def named(self, name: str) -> Live | None:
        return next((live for live in self.values() if live.definition.name == name), None)

    def bridged(self) -> list[Live]:
        return [live for live in self.values() if live.definition.driver == "bridge"]

    def stacked(self) -> list[Live]:
        return [live for live in self.values() if live.definition.stacked]

    def wired(self) -> list[Live]:
        """Those that a device of this host belongs to."""
        return [*self.bridged(), *self.stacked()]

    def with_names(self) -> list[Live]:
        """Those that a name server answers in."""
        return [live for live in self.values() if not live.definition.predefined]

    # ------------------------------------------------------------------------------------------------- containers

    def connected(self, container_id: str) -> list[tuple[Live, Endpoint]]:
        """The networks that a container is in, with its endpoint in each."""
        return [(live, live.of[container_id]) for live in self.values() if container_id in live.of]

    def has_way_out(self, container_id: str) -> bool:
        """A name of the world may be asked for; not from internal networks alone (CVE-2024-29018)."""
        return not all(live.definition.internal for live, _ in self.connected(container_id))

    def everything(self) -> Json:
        """For the name server: who is called what in which network."""
        networks = {
            live.definition.id: {
                "name": live.definition.name,
                "hosts": {endpoint.container_id: host(endpoint) for endpoint in live.endpoints.values()},
            }
            for live in self.with_names()
        }
        containers = {id: {"open": self.has_way_out(id)} for live in self.with_names() for id in live.of}
        return {"do": "all", "networks": networks, "containers": containers}


def fresh(definition: Definition) -> Live:
    """A network that nobody is in yet. A configuration has no addresses: those are of the networks made from it."""
    ranged = replace(definition, ranges=()) if definition.config_only else definition
    return Live(definition, Addresses(ranged))
