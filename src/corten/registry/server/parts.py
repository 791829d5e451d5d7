"""What the request functions work with."""

from __future__ import annotations

from dataclasses import dataclass

from corten.registry.server.access import Access
from corten.registry.server.metrics import Metrics
from corten.registry.server.quotas import Quotas
from corten.registry.server.store import Store
from corten.registry.server.upstreams import Upstreams
from corten.registry.server.webhooks import Webhooks


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of a running registry; None for what is not configured."""

    store: Store
    access: Access
    metrics: Metrics
    webhooks: Webhooks
    upstreams: Upstreams | None = None
    quotas: Quotas | None = None

    def caches(self, name: str) -> Upstreams | None:
        """The upstreams that this repository is a cache of; None for one of our own."""
        return self.upstreams if self.upstreams is not None and self.upstreams.has(name) else None
