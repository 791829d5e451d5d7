"""Which networks a client lists, and which a prune removes."""

from __future__ import annotations

from collections.abc import Iterable

from corten.network.definition import Definition
from corten.network.driver import ActiveNetwork
from corten.spec.docker import times
from corten.spec.docker.filters import Filters

LIST_FILTERS = frozenset(("dangling", "driver", "id", "label", "name", "scope", "type"))
PRUNE_FILTERS = frozenset(("until", "label", "label!"))


def matches(network: ActiveNetwork, filters: Filters) -> bool:
    """Docker's filters of GET /networks."""
    made = network.definition
    kind = "builtin" if made.predefined else "custom"
    dangling = not network.endpoints and not made.predefined
    return (
        all(filters.allows(key, value) for key, value in (("driver", made.driver), ("scope", "local"), ("type", kind)))
        and ("dangling" not in filters or filters.flag("dangling") == dangling)
        and ("id" not in filters or any(value in made.id for value in filters["id"]))
        and ("name" not in filters or any(value in made.name for value in filters["name"]))
        and filters.match_labels("label", made.labels)
    )


def prunable(networks: Iterable[ActiveNetwork], filters: Filters) -> list[Definition]:
    """Those without containers that POST /networks/prune removes. Invalid for a filter that Docker does not know."""
    filters.check(PRUNE_FILTERS)
    until = filters.one("until")
    limit = times.parse_time(until) if until is not None else None
    every = (network.definition for network in networks if not network.endpoints)
    return [
        made
        for made in every
        if not made.predefined and not made.config_only
        if filters.match_labels("label", made.labels) and not filters.excludes_labels("label!", made.labels)
        if limit is None or times.parse_time(made.created) <= limit
    ]
