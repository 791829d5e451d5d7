"""Gauges that are computed when metrics are read: uploads, quotas, free space."""

from __future__ import annotations

import os

from corten.registry.server.metrics import Metrics, Sample
from corten.registry.server.quotas import Quotas
from corten.registry.server.store import Store


def add_gauges(metrics: Metrics, store: Store, quotas: Quotas | None) -> None:
    metrics.gauge("uploads_open", lambda: [((), len(store.uploads))])
    metrics.gauge("free_bytes", lambda: [((), _free(store))])
    if quotas is not None:
        metrics.gauge("quota_used_bytes", lambda: _used(quotas))
        metrics.gauge("quota_limit_bytes", lambda: _limits(quotas))


def _free(store: Store) -> int:
    status = os.statvfs(store.layout.root)
    return status.f_bavail * status.f_frsize


def _used(quotas: Quotas) -> list[Sample]:
    return [((("prefix", quota.prefix),), used) for quota, used in quotas.usage()]


def _limits(quotas: Quotas) -> list[Sample]:
    return [((("prefix", quota.prefix),), quota.limit) for quota, _ in quotas.usage()]
