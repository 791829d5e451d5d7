"""Cases about what a group limits and counts."""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import select
import signal
import stat
import time
from contextlib import suppress

from corten.errors import Invalid
from corten.runtime import cgroups
from corten.runtime.cgroups import Cgroup, Layout
from kernel.cgroup_children import (
    DOCKER_DEVICES,
    MB,
    Lacking,
    Work,
    burn,
    expect,
    fill,
    group,
    inside,
    is2,
    sleep_forever,
    spin,
    start,
    text,
    wait_until,
)


def case_memory_oom(layout: Layout, path: str) -> None:
    limit = 24 * MB
    with group(layout, path, {"memory": {"limit": limit, "swap": limit, "reservation": 8 * MB}}) as made:
        assert made.warnings == []
        second = is2(layout, "memory")
        assert int(text(made, "memory", "memory.max" if second else "memory.limit_in_bytes")) == limit
        swap = text(made, "memory", "memory.swap.max" if second else "memory.memsw.limit_in_bytes")
        assert int(swap) == (0 if second else limit)
        low = text(made, "memory", "memory.low" if second else "memory.soft_limit_in_bytes")
        assert int(low) == 8 * MB
        event = made.oom_fd()
        assert event is not None
        assert not select.select([event], [], [], 0)[0]
        assert made.oom_count() == 0
        assert inside(made, lambda: fill(64 * MB)) == -signal.SIGKILL
        assert select.select([event], [], [], 10)[0], "no event"
        os.read(event, 4096)
        assert made.oom_count() == 1
        os.close(event)
        stats = made.stats()["memory"]
        assert stats["usage"]["limit"] == limit
        assert 20 * MB < stats["usage"]["max"] <= limit or second  # memory.peak came with 5.19
        assert stats["swap"]["limit"] == limit


def case_memory_update(layout: Layout, path: str) -> None:
    """Up and down, in either order of the two limits; a limit below what is used is refused."""
    second = is2(layout, "memory")
    file = "memory.max" if second else "memory.limit_in_bytes"
    with group(layout, path, {"memory": {"limit": 32 * MB, "swap": 64 * MB}}) as made:
        for limit, swap in ((128, 256), (16, 16), (512, 512), (16, 32)):
            assert made.update({"memory": {"limit": limit * MB, "swap": swap * MB}}) == []
            assert int(text(made, "memory", file)) == limit * MB
            assert made.stats()["memory"]["swap"]["limit"] == swap * MB
        assert made.update({"memory": {"limit": -1}}) == []
        assert made.stats()["memory"]["usage"]["limit"] > 1 << 60
        assert made.stats()["memory"]["swap"]["limit"] > 1 << 60
        if second:
            try:
                made.update({"memory": {"limit": 32 * MB, "swap": 16 * MB}})
            except Invalid:
                return
            raise AssertionError("swap below memory")
        made.update({"memory": {"limit": 32 * MB, "swap": 64 * MB}})
        try:
            made.update({"memory": {"limit": 100 * MB}})
        except Invalid as error:
            assert "memoryswap" in str(error)
        else:
            raise AssertionError("memory above memory and swap")


def case_cpu_quota(layout: Layout, path: str) -> None:
    with group(layout, path, {"cpu": {"quota": 10000, "period": 100000, "shares": 1024}}) as made:
        assert made.warnings == []
        second = is2(layout, "cpu")
        if second:
            assert text(made, "cpu", "cpu.max") == "10000 100000"
            assert text(made, "cpu", "cpu.weight") == "39"
        else:
            assert text(made, "cpu", "cpu.cfs_quota_us") == "10000"
            assert text(made, "cpu", "cpu.shares") == "1024"
        pid = start(made, spin)
        wait_until(lambda: _throttled(made))
        made.kill()
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
        cpu = made.stats()["cpu"]
        # by the periods that there were: on a machine with much else to do half a second has more of them
        assert 10_000_000 < cpu["usage"]["total"] < 40_000_000 * cpu["throttling"]["periods"]
        made.update({"cpu": {"quota": 40000}})  # the period stays
        made.update({"cpu": {"period": 50000}})  # the quota stays
        if second:
            assert text(made, "cpu", "cpu.max") == "40000 50000"
        else:
            assert text(made, "cpu", "cpu.cfs_period_us") == "50000"
            assert text(made, "cpu", "cpu.cfs_quota_us") == "40000"
        assert made.update({"cpu": {"quota": -1}}) == []
        assert text(made, "cpu", "cpu.max" if second else "cpu.cfs_quota_us") in ("max 50000", "-1")
        if not made.update({"cpu": {"quota": 20000, "burst": 15000}}):
            assert text(made, "cpu", "cpu.max.burst" if second else "cpu.cfs_burst_us") == "15000"
            assert made.update({"cpu": {"quota": 5000, "burst": 1000}}) == []  # the old burst is above the new quota
            assert text(made, "cpu", "cpu.max.burst" if second else "cpu.cfs_burst_us") == "1000"
        try:
            made.update({"cpu": {"quota": 5}})
        except Invalid as error:
            assert "5" in str(error)
        else:
            raise AssertionError("a quota of 5 microseconds")


def _throttled(made: Cgroup) -> bool:
    """More than once: a process that gets less than its quota, because others run, is not held back in each period."""
    seen = made.stats()["cpu"]["throttling"]
    return bool(seen["throttledPeriods"] >= 2 and seen["throttledTime"] > 50_000_000)


def case_cpuset(layout: Layout, path: str) -> None:
    last = max(os.sched_getaffinity(0))
    with group(layout, path, {"cpu": {"cpus": str(last), "mems": "0"}}) as made:
        assert made.warnings == []
        affinity: set[int] = {last}
        assert inside(made, lambda: expect(os.sched_getaffinity(0), affinity)) == 0
        try:
            made.update({"cpu": {"cpus": "4000"}})
        except Invalid:
            pass
        else:
            raise AssertionError("a processor that does not exist")
        made.update({"cpu": {"cpus": "0"}})
        affinity = {0}
        assert inside(made, lambda: expect(os.sched_getaffinity(0), {0})) == 0


def case_pids(layout: Layout, path: str) -> None:
    with group(layout, path, {"pids": {"limit": 4}}) as made:

        def bomb() -> None:
            children = 0
            try:
                for _ in range(10):
                    if not os.fork():
                        sleep_forever()
                    children += 1
            except BlockingIOError:
                assert children == 3
                return
            raise AssertionError("no limit")

        assert inside(made, bomb) == 0
        stats = made.stats()["pids"]
        assert stats == {"current": 3, "limit": 4}
        made.update({"pids": {"limit": -1}})
        assert text(made, "pids", "pids.max") == "max"
        assert made.stats()["pids"]["limit"] == 0
        made.update({"pids": {"limit": 0}})
        assert text(made, "pids", "pids.max") == "1"
        made.kill()
        wait_until(lambda: made.pids() == [])


def _node(path: str, kind: int, major: int, minor: int) -> None:
    with suppress(FileNotFoundError):
        os.unlink(path)
    os.mknod(path, kind | 0o600, os.makedev(major, minor))


def _opens(path: str, flags: int) -> str:
    try:
        os.close(os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY))
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    return "ok"


def case_devices(layout: Layout, path: str) -> None:
    here = f"/dev/shm/corten-devices-{os.getpid()}"
    os.mkdir(here)
    null, kmsg, loop, made_inside = (f"{here}/{name}" for name in ("null", "kmsg", "loop", "inside"))
    _node(null, stat.S_IFCHR, 1, 3)
    _node(kmsg, stat.S_IFCHR, 1, 11)
    _node(loop, stat.S_IFBLK, 7, 4095)

    def look(path_: str, flags: int, want: str) -> Work:
        return lambda: expect(_opens(path_, flags), want)

    try:
        assert _opens(kmsg, os.O_RDONLY) == "ok", "the test itself may not"
        with group(layout, path, {"devices": DOCKER_DEVICES}) as made:
            assert made.warnings == []
            assert inside(made, look(null, os.O_RDWR, "ok")) == 0
            assert inside(made, look(kmsg, os.O_RDONLY, "EPERM")) == 0
            assert inside(made, look(loop, os.O_RDONLY, "EPERM")) == 0
            assert inside(made, lambda: _node(made_inside, stat.S_IFCHR, 1, 11)) == 0  # made, but not opened
            assert inside(made, look(made_inside, os.O_RDONLY, "EPERM")) == 0
            more = [*DOCKER_DEVICES, {"allow": True, "type": "c", "major": 1, "minor": 11, "access": "r"}]
            made.update({"devices": more})
            assert inside(made, look(kmsg, os.O_RDONLY, "ok")) == 0
            assert inside(made, look(kmsg, os.O_WRONLY, "EPERM")) == 0
            made.update({"devices": DOCKER_DEVICES})
            assert inside(made, look(kmsg, os.O_RDONLY, "EPERM")) == 0
            made.update({"devices": [{"allow": True, "access": "rwm"}]})
            assert inside(made, look(kmsg, os.O_RDONLY, "ok")) == 0
            assert inside(made, look(loop, os.O_RDONLY, "ENXIO")) == 0 or inside(made, look(loop, 0, "ok")) == 0
            made.update({"devices": [{"allow": False, "access": "rwm"}]})
            assert inside(made, look(kmsg, os.O_RDONLY, "EPERM")) == 0
            assert inside(made, look(null, os.O_RDWR, "ok")) == 0
    finally:
        for name in os.listdir(here):
            os.unlink(f"{here}/{name}")
        os.rmdir(here)


def case_stats(layout: Layout, path: str) -> None:
    with group(layout, path) as made:

        def work() -> None:
            fill(4 * MB)
            burn(0.05)

        assert inside(made, work) == 0
        stats = made.stats()
        assert stats["cpu"]["usage"]["total"] > 40_000_000
        assert stats["memory"]["raw"]["pgfault"] > 1000
        assert stats["version"] == layout.version
        assert stats["pids"] == {"current": 0, "limit": 0}
        shown = cgroups.docker_stats(stats, 1 << 30)
        assert shown["memory_stats"]["limit"] == 1 << 30
        assert shown["cpu_stats"]["cpu_usage"]["total_usage"] == stats["cpu"]["usage"]["total"]
        assert ("percpu_usage" in shown["cpu_stats"]["cpu_usage"]) == (layout.version == 1)
        assert set(shown["blkio_stats"]) == {
            "io_service_bytes_recursive",
            "io_serviced_recursive",
            "io_queue_recursive",
            "io_service_time_recursive",
            "io_wait_time_recursive",
            "io_merged_recursive",
            "io_time_recursive",
            "sectors_recursive",
        }


def case_block_limits(layout: Layout, path: str) -> None:
    device = _disk()
    second = is2(layout, "io" if layout.mode == "v2" else "blkio")
    major, minor = os.major(device[1]), os.minor(device[1])
    rate = {"major": major, "minor": minor, "rate": 4 * MB}
    resources = {
        "devices": [{"allow": True, "access": "rwm"}],
        "blockIO": {
            "weight": 500,
            "throttleReadBpsDevice": [rate],
            "throttleWriteIOPSDevice": [{**rate, "rate": 100}],
        },
    }
    with group(layout, path, resources) as made:
        if second:
            assert text(made, "io", "io.max") == f"{major}:{minor} rbps={4 * MB} wbps=max riops=max wiops=100"
            assert "500" in _first(made, "io", "io.bfq.weight", "io.weight") or "4950" in text(made, "io", "io.weight")
        else:
            assert text(made, "blkio", "blkio.throttle.read_bps_device") == f"{major}:{minor} {4 * MB}"
            assert text(made, "blkio", "blkio.throttle.write_iops_device") == f"{major}:{minor} 100"
        if device[0] is None:
            return
        name = device[0]
        begin = time.monotonic()
        assert inside(made, lambda: _read_direct(name, 3 * MB)) == 0
        took = time.monotonic() - begin
        assert took > 0.4, f"3 MB at 4 MB/s took {took:.3f} s"
        entries = made.stats()["blkio"]["ioServiceBytesRecursive"]
        read = sum(e["value"] for e in entries if (e["major"], e["op"]) == (major, "Read"))
        assert read >= 3 * MB, entries
        made.update({"blockIO": {"throttleReadBpsDevice": [{**rate, "rate": 0}]}})
        for _ in range(100):  # a disk that others use may be as slow, but not each time
            begin = time.monotonic()
            assert inside(made, lambda: _read_direct(name, 3 * MB)) == 0
            if time.monotonic() - begin < took:
                return
        raise AssertionError(f"no read of 3 MB without a limit took less than {took:.3f} s")


def _first(made: Cgroup, controller: str, *files: str) -> str:
    for file in files:
        with suppress(FileNotFoundError):
            return text(made, controller, file)
    return ""


def _disk() -> tuple[str | None, int]:
    """A disk to read from, and its number; only the number where reading a disk is not ours to do."""
    for name in ("/dev/vda",):
        if os.path.exists(name) and os.environ.get("CORTEN_GUEST"):
            return name, os.stat(name).st_rdev
    for name in sorted(os.listdir("/sys/block")):
        if not name.startswith(("loop", "ram", "zram")):
            with open(f"/sys/block/{name}/dev") as file:
                major, minor = file.read().split(":")
            return None, os.makedev(int(major), int(minor))
    raise Lacking("no disk")


def _read_direct(name: str, size: int) -> None:
    fd = os.open(name, os.O_RDONLY | os.O_DIRECT)
    buffer = mmap.mmap(-1, 256 << 10)
    done = 0
    while done < size:
        done += os.preadv(fd, [buffer], done)


def case_hugetlb(layout: Layout, path: str) -> None:
    second = is2(layout, "hugetlb")
    with group(layout, path, {"hugepageLimits": [{"pageSize": "2MB", "limit": 4 * MB}]}) as made:
        if made.warnings:
            raise Lacking(made.warnings[0])
        assert int(text(made, "hugetlb", "hugetlb.2MB.max" if second else "hugetlb.2MB.limit_in_bytes")) == 4 * MB
        assert made.stats()["hugetlb"]["2MB"] == {"usage": 0, "max": 0, "failcnt": 0}


def case_swap(layout: Layout, path: str) -> None:
    """v2 counts swap by itself; OCI's number is memory and swap together."""
    if not os.environ.get("CORTEN_GUEST"):
        raise Lacking("swap is the whole machine's; only a guest's is ours")
    assert os.system("mkswap /dev/vdb >/dev/null 2>&1") == 0
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.swapon(b"/dev/vdb", 0) == 0, os.strerror(ctypes.get_errno())
    try:
        with group(layout, path, {"memory": {"limit": 16 * MB, "swap": 48 * MB}}) as made:
            assert int(text(made, "memory", "memory.swap.max")) == 32 * MB
            ready, filled = os.pipe()

            def work() -> None:
                area = mmap.mmap(-1, 28 * MB, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
                for at in range(0, 28 * MB, 4096):
                    area[at] = 1
                os.write(filled, b"x")
                sleep_forever()

            pid = start(made, work)
            assert select.select([ready], [], [], 60)[0]
            stats = made.stats()["memory"]
            assert stats["swap"]["limit"] == 48 * MB
            assert stats["swap"]["usage"] - stats["usage"]["usage"] > 6 * MB
            made.kill()
            os.waitpid(pid, 0)
            assert made.oom_count() == 0
    finally:
        libc.swapoff(b"/dev/vdb")


def case_unified_map(layout: Layout, path: str) -> None:
    if layout.mode != "v2":
        raise Lacking("not v2 alone")
    with group(layout, path, {"unified": {"memory.high": "20971520", "pids.max": "7"}, "pids": {"limit": 3}}) as made:
        assert text(made, "memory", "memory.high") == "20971520"
        assert text(made, "pids", "pids.max") == "7"
        for bad in ("../pids.max", "cgroup.procs/..", ""):
            try:
                made.update({"unified": {bad: "1"}})
            except Invalid:
                continue
            raise AssertionError(bad)
