"""stats: the arithmetic of Docker's client, and what is shown of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from corten.cli.formats import stats
from unit.cli.scripted import Daemon, reply

Corten = Callable[..., tuple[int, str, str]]

SAMPLE: dict[str, Any] = {
    "name": "/web",
    "id": "8f7814026edb" + "0" * 52,
    "cpu_stats": {"cpu_usage": {"total_usage": 3_000}, "system_cpu_usage": 50_000, "online_cpus": 2},
    "precpu_stats": {"cpu_usage": {"total_usage": 1_000}, "system_cpu_usage": 40_000},
    "memory_stats": {"usage": 3 << 20, "limit": 64 << 20, "stats": {"total_inactive_file": 1 << 20}},
    "networks": {"eth0": {"rx_bytes": 1000, "tx_bytes": 20}, "eth1": {"rx_bytes": 500, "tx_bytes": 0}},
    "blkio_stats": {
        "io_service_bytes_recursive": [
            {"op": "Read", "value": 4096},
            {"op": "write", "value": 1},
            {"op": "Total", "value": 4097},
        ]
    },
    "pids_stats": {"current": 7},
}
SHOWN = {
    "BlockIO": "4.1kB / 1B",
    "CPUPerc": "40.00%",
    "Container": "web",
    "ID": "8f7814026edb",
    "MemPerc": "3.12%",
    "MemUsage": "2MiB / 64MiB",
    "Name": "web",
    "NetIO": "1.5kB / 20B",
    "PIDs": "7",
}


def test_one_picture(daemon: Daemon, corten: Corten) -> None:
    daemon.on("GET /containers/web/stats", reply(200, SAMPLE))
    code, out, _ = corten("stats", "--no-stream", "--format", "json", "web")
    assert code == 0 and json.loads(out) == SHOWN
    header, line = corten("stats", "--no-stream", "web")[1].splitlines()
    assert header.split("  ")[0] == "CONTAINER ID" and line.startswith("8f7814026edb   web       40.00%")


def test_a_name_that_does_not_exist(daemon: Daemon, corten: Corten) -> None:
    daemon.on("GET /containers/nosuch/stats", reply(404, {"message": "No such container: nosuch"}))
    for flags in ([], ["--no-stream"]):
        assert corten("stats", *flags, "nosuch") == (1, "", "Error response from daemon: No such container: nosuch\n")


@pytest.mark.parametrize("sample", [{}, {"cpu_stats": None, "memory_stats": {}, "networks": None, "blkio_stats": {}}])
def test_what_does_not_run(sample: dict[str, Any]) -> None:
    assert stats.cpu_percent(sample) == 0.0
    assert stats.memory(sample) == stats.network(sample) == stats.block(sample) == (0, 0)


def test_a_cache_larger_than_the_use_is_not_taken_off() -> None:
    assert stats.memory({"memory_stats": {"usage": 5, "stats": {"inactive_file": 9}}}) == (5, 0)
