"""Counters and gauges of the registry in Prometheus' text format (exposition format 0.0.4)."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_BUCKETS = (0.005, 0.025, 0.1, 0.5, 2.5, 10.0, 60.0)
_PREFIX = "corten_registry_"
Labels = tuple[tuple[str, str], ...]
Sample = tuple[Labels, float]

_HELP = {
    "requests_total": ("counter", "Requests answered."),
    "request_seconds": ("histogram", "Time until an answer was complete."),
    "received_bytes_total": ("counter", "Bytes of blobs and manifests received."),
    "sent_bytes_total": ("counter", "Bytes of blobs and manifests sent."),
    "cache_hits_total": ("counter", "Manifests and blobs of upstreams served from what is kept."),
    "cache_misses_total": ("counter", "Manifests and blobs fetched from upstreams."),
    "cache_stale_total": ("counter", "Tags served unchecked because their upstream did not answer."),
    "collected_total": ("counter", "Things taken away by collections."),
    "collected_bytes_total": ("counter", "Bytes freed by collections."),
    "webhook_sent_total": ("counter", "Notifications delivered."),
    "webhook_failed_total": ("counter", "Attempts to deliver a notification that failed."),
    "webhook_dropped_total": ("counter", "Notifications given up."),
    "webhook_waiting": ("gauge", "Notifications waiting to be delivered."),
    "uploads_open": ("gauge", "Uploads that were begun and not finished."),
    "quota_used_bytes": ("gauge", "Bytes used below a prefix."),
    "quota_limit_bytes": ("gauge", "Bytes allowed below a prefix."),
    "free_bytes": ("gauge", "Bytes free where the registry keeps its content."),
}


class Metrics:
    """Thread-safe. A gauge is a function that is called in a thread when the metrics are read."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: dict[str, dict[Labels, float]] = {}
        self._times: dict[Labels, list[float]] = {}  # buckets, sum, count
        self._gauges: dict[str, Callable[[], Iterable[Sample]]] = {}

    def count(self, name: str, by: float = 1, **labels: str) -> None:
        with self._lock:
            counts = self._counts.setdefault(name, {})
            key = tuple(labels.items())
            counts[key] = counts.get(key, 0) + by

    def gauge(self, name: str, ask: Callable[[], Iterable[Sample]]) -> None:
        self._gauges[name] = ask

    def took(self, seconds: float, **labels: str) -> None:
        with self._lock:
            row = self._times.setdefault(tuple(labels.items()), [0.0] * (len(_BUCKETS) + 2))
            for at, limit in enumerate(_BUCKETS):
                row[at] += seconds <= limit
            row[-2] += seconds
            row[-1] += 1

    def text(self) -> str:
        with self._lock:
            counts = {name: sorted(found.items()) for name, found in self._counts.items()}
            times = sorted((labels, tuple(row)) for labels, row in self._times.items())
        lines: list[str] = []
        for name, (kind, help) in _HELP.items():
            if kind == "histogram":
                rows = [line for labels, row in times for line in _histogram(name, labels, row)]
            else:
                ask = self._gauges.get(name)
                samples = ask() if ask else counts.get(name, ())
                rows = [_line(name, labels, value) for labels, value in samples]
            if rows:
                lines += [f"# HELP {_PREFIX}{name} {help}", f"# TYPE {_PREFIX}{name} {kind}", *rows]
        return "\n".join(lines) + "\n"


def _histogram(name: str, labels: Labels, row: tuple[float, ...]) -> list[str]:
    limits = [*(str(limit) for limit in _BUCKETS), "+Inf"]
    counts = [*row[:-2], row[-1]]
    buckets = [_line(f"{name}_bucket", (*labels, ("le", limit)), count) for limit, count in zip(limits, counts)]
    return [*buckets, _line(f"{name}_sum", labels, row[-2]), _line(f"{name}_count", labels, row[-1])]


def _line(name: str, labels: Labels, value: float) -> str:
    shown = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels)
    return f"{_PREFIX}{name}{{{shown}}} {value:.16g}" if shown else f"{_PREFIX}{name} {value:.16g}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
