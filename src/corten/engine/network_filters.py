"""Which networks a client wants to see."""

from __future__ import annotations

from corten.network.live import Live
from corten.spec.docker.filters import Filters

LIST_FILTERS = frozenset(("dangling", "driver", "id", "label", "name", "scope", "type"))
PRUNE_FILTERS = frozenset(("until", "label", "label!"))


def matches(live: Live, filters: Filters) -> bool:
    """Docker's filters of GET /networks."""
    made = live.definition
    kind = "builtin" if made.predefined else "custom"
    dangling = not live.endpoints and not made.predefined
    return (
        all(filters.allows(key, value) for key, value in (("driver", made.driver), ("scope", "local"), ("type", kind)))
        and ("dangling" not in filters or filters.flag("dangling") == dangling)
        and ("id" not in filters or any(value in made.id for value in filters["id"]))
        and ("name" not in filters or any(value in made.name for value in filters["name"]))
        and filters.match_labels("label", made.labels)
    )
