"""Which networks a client lists, and which a prune removes."""

from __future__ import annotations

from collections.abc import Iterable

from corten.errors import Invalid
from corten.network.definition import Definition
from corten.network.driver import ActiveNetwork
from corten.spec.docker import times
from corten.spec.docker.filters import Filters

LIST_FILTERS = frozenset(("dangling", "driver", "id", "label", "name", "scope", "type"))
_TYPES = frozenset(("builtin", "custom"))
PRUNE_FILTERS = frozenset(("until", "label", "label!"))


def chosen(networks: Iterable[ActiveNetwork], filters: Filters) -> list[Definition]:
    """Those that GET /networks lists. Invalid for a filter, or a type, that Docker does not know."""
    filters.check(LIST_FILTERS)
    for kind in filters.get("type", frozenset()) - _TYPES:
        raise Invalid(f"invalid filter: 'type'='{kind}'")
    id, name = filters.pattern("id"), filters.pattern("name")
    dangling = filters.flag("dangling") if "dangling" in filters else None
    return [
        made
        for network in networks
        if _has(made := network.definition, filters) and id(made.id) and name(made.name)
        if dangling in (None, not network.endpoints and not made.predefined)
    ]


def _has(made: Definition, filters: Filters) -> bool:
    kind = "builtin" if made.predefined else "custom"
    values = (("driver", made.driver), ("scope", "local"), ("type", kind))
    return all(filters.allows(key, value) for key, value in values) and filters.match_labels("label", made.labels)


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
