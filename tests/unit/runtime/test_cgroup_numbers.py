"""Conversions and shapes of control groups, without any."""

from __future__ import annotations

import errno
import os

import pytest

from corten.errors import Invalid
from corten.kernel import inotify
from corten.kernel.cgroupfs import Hierarchy
from corten.runtime import cgroups
from corten.runtime.cgroups import oom, v2
from corten.runtime.cgroups.layout import Layout, detect


@pytest.mark.parametrize(
    ("shares", "weight"), [(0, 1), (2, 1), (100, 4), (1024, 39), (262144, 10000), (1 << 40, 10000)]
)
def test_cpu_weight(shares: int, weight: int) -> None:
    assert v2.cpu_weight(shares) == weight


@pytest.mark.parametrize(("given", "weight"), [(10, 1), (500, 4950), (1000, 10000)])
def test_io_weight(given: int, weight: int) -> None:
    assert v2.io_weight(given) == weight


@pytest.mark.parametrize(
    ("swap", "limit", "only"),
    [
        (0, 0, None),
        (0, 100, None),
        (-1, 100, -1),
        (150, 100, 50),
        (100, 100, 0),
        (0, -1, -1),
        (70, -1, 70),
        (-1, 0, -1),
    ],
)
def test_swap_alone(swap: int, limit: int, only: int | None) -> None:
    assert v2.swap_only(swap, limit) == only


@pytest.mark.parametrize(("swap", "limit"), [(50, 100), (50, 0)])
def test_swap_that_cannot_be(swap: int, limit: int) -> None:
    with pytest.raises(Invalid):
        v2.swap_only(swap, limit)


V1_ONLY = """\
25 22 0:21 / /sys/fs/cgroup ro,nosuid shared:2 - tmpfs tmpfs ro,mode=755
26 25 0:22 / /sys/fs/cgroup/systemd rw shared:3 - cgroup cgroup rw,xattr,release_agent=/lib/x,name=systemd
27 25 0:23 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
28 25 0:24 / /sys/fs/cgroup/mem\\040ory rw - cgroup cgroup rw,memory
29 25 0:24 / /elsewhere rw - cgroup cgroup rw,memory
"""


def test_layout_of_version_1() -> None:
    layout = detect(V1_ONLY)
    assert layout.mode == "v1"
    assert layout.version == 1
    assert [h.mountpoint for h in layout.hierarchies] == [
        "/sys/fs/cgroup/systemd",
        "/sys/fs/cgroup/cpu,cpuacct",
        "/sys/fs/cgroup/mem ory",
    ]
    cpu, cpuacct = layout.of("cpu"), layout.of("cpuacct")
    assert cpu is not None
    assert cpu is cpuacct
    assert layout.of("pids") is None
    assert layout.unified is None
    named = layout.of("name=systemd")
    assert named is not None
    assert named.controllers == {"name=systemd"}


def test_layout_of_nothing() -> None:
    assert detect("22 1 0:20 / /proc rw - proc proc rw\n").mode == "none"


STATS = {
    "cpu": {
        "usage": {"total": 9, "user": 5, "kernel": 4},
        "throttling": {"periods": 1, "throttledPeriods": 2, "throttledTime": 3},
    },
    "memory": {
        "cache": 1,
        "usage": {"limit": (1 << 64) - 1, "usage": 7, "max": 8, "failcnt": 0},
        "swap": {"limit": 0, "usage": 0, "max": 0, "failcnt": 0},
        "raw": {"inactive_file": 2},
    },
    "pids": {"current": 1, "limit": 0},
    "blkio": {
        "ioServiceBytesRecursive": [
            {"major": 8, "minor": 0, "op": "Read", "value": 4096},
            {"major": 8, "minor": 0, "op": "Discard", "value": 1},
        ]
    },
    "hugetlb": {},
    "version": 2,
}


def test_docker_stats_of_version_2() -> None:
    shown = cgroups.docker_stats(STATS, 1 << 30)
    assert shown["memory_stats"] == {"usage": 7, "stats": {"inactive_file": 2}, "limit": 1 << 30}
    assert shown["pids_stats"] == {"current": 1, "limit": (1 << 64) - 1}
    assert shown["cpu_stats"]["throttling_data"] == {"periods": 1, "throttled_periods": 2, "throttled_time": 3}
    assert shown["blkio_stats"]["io_service_bytes_recursive"] == [{"major": 8, "minor": 0, "op": "read", "value": 4096}]
    assert shown["blkio_stats"]["io_serviced_recursive"] is None


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENOSPC])
def test_no_inotify_instance_is_left(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """A container has all that root may have: others start as well."""

    def none_left(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(inotify, "watch", none_left)
    assert oom.watch(Layout((Hierarchy("/sys/fs/cgroup", 2, frozenset({"memory"})),)), 0, None) is None
