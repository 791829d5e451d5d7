"""What the registry's pages work with."""

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
    """None: there are none of it."""

    store: Store
    access: Access
    metrics: Metrics
    webhooks: Webhooks
    upstreams: Upstreams | None = None
    quotas: Quotas | None = None

    def caches(self, name: str) -> Upstreams | None:
        """Whom to ask for what is not kept of a repository."""
        return self.upstreams if self.upstreams is not None and self.upstreams.has(name) else None
