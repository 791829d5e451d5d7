"""What a container's control group must do, as functions of (layout, path): run by this machine's tests on the layout
it has (v1 or hybrid), and by a guest's on v2. Each raises AssertionError; `Lacking` says what the machine does not have.

Plain Python, no pytest: a guest has the standard library only.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import resource
import select
import signal
import stat
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from corten.errors import Conflict, Invalid, NotFound
from corten.kernel import cgroupfs, process
from corten.runtime import cgroups
from corten.runtime.cgroups import Cgroup, Layout, words

Work = Callable[[], Any]
MB = 1 << 20


class Lacking(Exception):
    """This machine cannot show it; the text says why."""


@contextmanager
def group(layout: Layout, path: str, resources: dict[str, Any] | None = None) -> Iterator[Cgroup]:
    made = cgroups.create(layout, path, resources)
    try:
        yield made
    finally:
        made.kill()
        made.remove()


def start(made: Cgroup, work: Work) -> int:
    """A child in the group that does `work`; its exit status is 0, or 99 when work raised."""
    pid, pidfd = process.clone3(0, made.fd or 0)
    if pid:
        os.close(pidfd)
        return pid
    status = 99
    try:
        made.enter_self(unified=made.fd is None)
        work()
        status = 0
    finally:
        os._exit(status)


def inside(made: Cgroup, work: Work) -> int:
    """Do `work` in the group; the status as waitpid gives it, as a code (negative: signal)."""
    return os.waitstatus_to_exitcode(os.waitpid(start(made, work), 0)[1])


def wait_until(condition: Callable[[], bool], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        select.select([], [], [], 0.005)


def text(made: Cgroup, controller: str, file: str) -> str:
    return cgroupfs.read(made.directory(controller), file).strip()


def is2(layout: Layout, controller: str) -> bool:
    hierarchy = layout.of(controller)
    if hierarchy is None:
        raise Lacking(f"no {controller} controller")
    return hierarchy.version == 2


def sleep_forever() -> None:
    while True:
        signal.pause()


# ------------------------------------------------------------------------------------------------------------ cases


def case_membership(layout: Layout, path: str) -> None:
    with group(layout, path) as made:
        pid = start(made, sleep_forever)
        wait_until(lambda: made.pids() == [pid])
        with open(f"/proc/{pid}/cgroup") as file:
            lines = dict(line.rstrip("\n").split(":", 2)[1:] for line in file)
        for hierarchy in layout.hierarchies:
            for controller in hierarchy.controllers if hierarchy.version == 1 else ("",):
                key = next(key for key in lines if controller in key.split(","))
                wait_until(lambda key=key: _cgroup_line(pid, key) == path)  # type: ignore[misc]
        again = cgroups.open(layout, path)
        assert again.pids() == [pid]
        again.close()
        other = os.fork()
        if not other:
            sleep_forever()
        made.enter(other)
        assert made.pids() == sorted([pid, other])
        made.kill()
        for one in (pid, other):
            assert os.waitstatus_to_exitcode(os.waitpid(one, 0)[1]) == -signal.SIGKILL
    try:
        cgroups.open(layout, path)
    except NotFound:
        pass
    else:
        raise AssertionError("the group is still there")
    for hierarchy in layout.hierarchies:
        assert not os.path.exists(hierarchy.mountpoint + path)
    cgroups.remove(layout, path)  # of nothing


def _cgroup_line(pid: int, key: str) -> str:
    with open(f"/proc/{pid}/cgroup") as file:
        return dict(line.rstrip("\n").split(":", 2)[1:] for line in file)[key]


def case_leftovers(layout: Layout, path: str) -> None:
    """An empty group of an earlier life is replaced, with its limits; one with processes is left alone."""
    cgroups.create(layout, path, {"pids": {"limit": 3}}).close()
    with group(layout, path) as made:
        assert text(made, "pids", "pids.max") == "max"
        pid = start(made, sleep_forever)
        try:
            cgroups.create(layout, path)
        except Conflict:
            pass
        else:
            raise AssertionError("took a group away from a running process")
        assert made.pids() == [pid]
        made.kill()
        os.waitpid(pid, 0)


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
        assert select.select([event], [], [], 10)[0], "nobody was told"
        os.read(event, 4096)
        assert made.oom_count() == 1
        os.close(event)
        stats = made.stats()["memory"]
        assert stats["usage"]["limit"] == limit
        assert 20 * MB < stats["usage"]["max"] <= limit or second  # memory.peak came with 5.19
        assert stats["swap"]["limit"] == limit


def fill(size: int) -> None:
    area = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    for at in range(0, size, 4096):
        area[at] = 1


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
        assert inside(made, lambda: spin(0.5)) == 0
        cpu = made.stats()["cpu"]
        assert cpu["throttling"]["throttledPeriods"] >= 2
        assert cpu["throttling"]["throttledTime"] > 50_000_000
        assert 10_000_000 < cpu["usage"]["total"] < 250_000_000
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


def spin(seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass


def case_cpuset(layout: Layout, path: str) -> None:
    last = max(os.sched_getaffinity(0))
    with group(layout, path, {"cpu": {"cpus": str(last), "mems": "0"}}) as made:
        assert made.warnings == []
        affinity: set[int] = {last}
        assert inside(made, lambda: _expect(os.sched_getaffinity(0), affinity)) == 0
        try:
            made.update({"cpu": {"cpus": "4000"}})
        except Invalid:
            pass
        else:
            raise AssertionError("a processor that does not exist")
        made.update({"cpu": {"cpus": "0"}})
        affinity = {0}
        assert inside(made, lambda: _expect(os.sched_getaffinity(0), {0})) == 0


def _expect(have: object, want: object) -> None:
    assert have == want


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


def case_freeze(layout: Layout, path: str) -> None:
    counter = mmap.mmap(-1, 4096)

    def count() -> None:
        number = 0
        while True:
            number += 1
            counter[:8] = struct.pack("Q", number)

    def value() -> int:
        return int(struct.unpack("Q", counter[:8])[0])

    with group(layout, path) as made:
        pids = [start(made, count), start(made, sleep_forever)]
        wait_until(lambda: value() > 0 and len(made.pids()) == 2)
        assert not made.frozen()
        made.freeze()
        assert made.frozen()
        before = value()
        select.select([], [], [], 0.03)
        assert value() == before
        made.freeze()  # again
        made.thaw()
        made.thaw()
        assert not made.frozen()
        wait_until(lambda: value() > before)
        made.freeze()
        made.kill()  # the frozen die, too
        for pid in pids:
            assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL


def case_kill_everybody(layout: Layout, path: str) -> None:
    """Those who fork meanwhile, and those in groups that the container made itself."""

    def breed() -> None:
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        while True:
            with suppress(OSError):
                if not os.fork():
                    if os.getpid() % 3:
                        os._exit(0)
                    sleep_forever()

    with group(layout, path, {"pids": {"limit": 60}}) as made:
        pid = start(made, breed)
        wait_until(lambda: len(made.pids()) > 20)
        made.kill()
        os.waitpid(pid, 0)
        wait_until(lambda: made.pids() == [])


def case_kill_without_cgroup_kill(layout: Layout, path: str) -> None:
    """As runc makes groups on a hybrid machine: nobody is in the v2 tree; and as on kernels before 5.14."""
    if layout.mode == "v2":
        raise Lacking("all processes are in the v2 tree")
    with group(layout, path) as made:
        pid = os.fork()
        if not pid:
            for hierarchy in layout.hierarchies:
                if hierarchy.version == 1:
                    with open(f"{hierarchy.mountpoint}{path}/tasks", "w") as file:
                        file.write("0")
            while True:
                os.fork()
                sleep_forever()
        wait_until(lambda: len(made.pids()) > 1)
        made.kill()
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
        assert made.pids() == []


def case_nested(layout: Layout, path: str) -> None:
    with group(layout, path) as made:
        pid = start(made, sleep_forever)
        below = [hierarchy.mountpoint + path + "/inner/most" for hierarchy in layout.hierarchies]
        for one in below:
            os.makedirs(one)
            parent = cgroupfs.open_directory(os.path.dirname(os.path.dirname(one)))
            if os.path.exists(one + "/cpuset.cpus") and not os.path.exists(one + "/cgroup.type"):
                for level in (os.path.dirname(one), one):
                    for file in ("cpuset.cpus", "cpuset.mems"):
                        with open(f"{level}/{file}", "w") as out:
                            out.write(cgroupfs.read(parent, file))
            os.close(parent)
            with open(one + "/cgroup.procs", "w") as out:
                out.write(str(pid))
        assert made.pids() == [pid]
        if layout.mode == "v2":
            fd = made.fd
            assert fd is not None
            cgroupfs.write(fd, "cgroup.subtree_control", "+memory +pids")
            other = os.fork()
            if not other:
                sleep_forever()
            try:
                made.enter(other)
            except OSError as error:
                assert error.errno == errno.EBUSY
            else:
                raise AssertionError("a process in an inner node")
            made.enter(other, beside=pid)
            assert cgroupfs.unified_path(other) == path + "/inner/most"
            assert made.pids() == sorted((pid, other))
            made.kill()
            os.waitpid(other, 0)
        made.kill()
        os.waitpid(pid, 0)


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


DOCKER_DEVICES = [
    {"allow": False, "access": "rwm"},
    {"allow": True, "type": "c", "major": 1, "minor": 5, "access": "rwm"},
    {"allow": True, "type": "c", "major": 1, "minor": 3, "access": "rwm"},
    {"allow": False, "type": "c", "major": 10, "minor": 229, "access": "rwm"},
]


def case_devices(layout: Layout, path: str) -> None:
    here = f"/dev/shm/corten-devices-{os.getpid()}"
    os.mkdir(here)
    null, kmsg, loop, made_inside = (f"{here}/{name}" for name in ("null", "kmsg", "loop", "inside"))
    _node(null, stat.S_IFCHR, 1, 3)
    _node(kmsg, stat.S_IFCHR, 1, 11)
    _node(loop, stat.S_IFBLK, 7, 4095)

    def look(path_: str, flags: int, want: str) -> Work:
        return lambda: _expect(_opens(path_, flags), want)

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
            spin(0.05)

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


def case_warnings(layout: Layout, path: str) -> None:
    """What is missing is said, once each, and never an error."""
    resources = {
        "memory": {"swappiness": 10, "disableOOMKiller": True, "limit": 64 * MB, "swap": -1},
        "cpu": {"realtimePeriod": 1000000, "realtimeRuntime": 0, "shares": 2},
        "network": {"classID": 7, "priorities": [{"name": "lo", "priority": 3}]},
        "hugepageLimits": [{"pageSize": "3MB", "limit": 1}],
        "rdma": {"mlx5_0": {"hcaHandles": 3}},
        "unified": {"memory.nonsense": "1"},
    }
    if layout.of("rdma"):
        del resources["rdma"]  # the device has to exist
    with group(layout, path, resources) as made:
        assert len(made.warnings) == len(set(made.warnings))
        assert words.NETWORK in made.warnings
        assert words.HUGETLB.format("3MB") in made.warnings
        if layout.mode == "v2":
            assert words.SWAPPINESS in made.warnings
            assert words.OOM_KILL_DISABLE in made.warnings
            assert words.REALTIME in made.warnings
            assert words.UNIFIED_FILE.format("memory.nonsense") in made.warnings
            assert words.SWAP not in made.warnings
        else:
            assert words.UNIFIED.format("memory.nonsense") in made.warnings
            assert text(made, "memory", "memory.swappiness") == "10"
            assert "oom_kill_disable 1" in text(made, "memory", "memory.oom_control")
    nothing = Layout(())
    empty = cgroups.create(nothing, path, {**resources, "pids": {"limit": 3}, "blockIO": {"weight": 100}})
    for wanted in (words.MEMORY, words.SWAP, words.SHARES, words.PIDS, words.WEIGHT, words.DEVICES):
        assert wanted in empty.warnings
    empty.remove()


def case_bad_paths(layout: Layout, path: str) -> None:
    for bad in ("", "/", "relative", "/a/../b", "/a//b", "/a/.", "/a\nb"):
        try:
            cgroups.create(layout, bad)
        except Invalid:
            continue
        raise AssertionError(f"made {bad!r}")


def case_failure_leaves_nothing(layout: Layout, path: str) -> None:
    try:
        cgroups.create(layout, path, {"cpu": {"cpus": "4000"}})
    except Invalid:
        pass
    else:
        raise AssertionError("a processor that does not exist")
    for hierarchy in layout.hierarchies:
        assert not os.path.exists(hierarchy.mountpoint + path)


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
        }
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
        begin = time.monotonic()
        assert inside(made, lambda: _read_direct(name, 3 * MB)) == 0
        assert time.monotonic() - begin < took


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


def case_quick(layout: Layout, path: str) -> None:
    """Making, entering and removing have to be a matter of milliseconds: they are on the path of every start."""
    resources = {"memory": {"limit": 64 * MB}, "pids": {"limit": 100}, "devices": DOCKER_DEVICES}
    cgroups.create(layout, path, resources).remove()
    took = []
    for _ in range(5):
        begin = time.perf_counter()
        made = cgroups.create(layout, path, resources)
        took.append(time.perf_counter() - begin)
        assert inside(made, lambda: None) == 0
        made.remove()
    assert min(took) < (0.05 if os.environ.get("CORTEN_GUEST") else 0.005), took


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
            ready, told = os.pipe()

            def work() -> None:
                area = mmap.mmap(-1, 28 * MB, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
                for at in range(0, 28 * MB, 4096):
                    area[at] = 1
                os.write(told, b"x")
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


def case_delegate(layout: Layout, path: str) -> None:
    if layout.unified is None:
        raise Lacking("no v2 tree")
    with group(layout, path) as made:
        made.delegate(1000, 1001)
        where = layout.unified.mountpoint + path

        def work() -> None:
            os.setgroups([])
            os.setresgid(1001, 1001, 1001)
            os.setresuid(1000, 1000, 1000)
            os.mkdir(where + "/mine")
            with open(where + "/mine/cgroup.procs", "w") as file:
                file.write(str(os.getpid()))

        assert inside(made, work) == 0


def case_support(layout: Layout, path: str) -> None:
    support = cgroups.support(layout)
    assert support["CgroupVersion"] == str(layout.version)
    assert support["CgroupLayout"] == layout.mode
    assert support["MemoryLimit"] is True
    assert support["PidsLimit"] is True
    assert support["OomKillDisable"] is (not is2(layout, "memory"))
    assert not any("memory limit" in warning for warning in support["Warnings"])
    nothing = cgroups.support(Layout(()))
    assert nothing["MemoryLimit"] is False
    assert "WARNING: No memory limit support" in nothing["Warnings"]


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


def case_process_in_the_way(layout: Layout, path: str) -> None:
    """v2 gives a group with processes no controllers for its children: a warning, and the container runs."""
    if layout.mode != "v2":
        raise Lacking("not v2 alone")
    parent = layout.hierarchies[0].mountpoint + os.path.dirname(path)
    os.mkdir(parent)
    pid = os.fork()
    if not pid:
        sleep_forever()
    try:
        with open(parent + "/cgroup.procs", "w") as file:
            file.write(str(pid))
        with group(layout, path, {"pids": {"limit": 3}, "memory": {"limit": 64 * MB}}) as made:
            assert words.MEMORY in made.warnings
            assert inside(made, lambda: None) == 0
            assert made.stats()["memory"]["usage"] == {"limit": 0, "usage": 0, "max": 0, "failcnt": 0}
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def case_files_are_closed(layout: Layout, path: str) -> None:
    before = set(os.listdir("/proc/self/fd"))
    with group(layout, path, {"memory": {"limit": 64 * MB}, "devices": DOCKER_DEVICES}) as made:
        made.stats()
        made.freeze()
        made.thaw()
        made.update({"devices": DOCKER_DEVICES})
        assert len(made.descriptors()) == len(layout.hierarchies)
    assert set(os.listdir("/proc/self/fd")) == before


CASES: dict[str, Callable[[Layout, str], None]] = {
    name.removeprefix("case_"): value for name, value in list(globals().items()) if name.startswith("case_")
}


def run(name: str, layout: Layout) -> None:
    """One case in a group of its own, which must be gone afterwards. Core files are not wanted here."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    parent = f"/corten-test-{os.getpid()}"
    try:
        CASES[name](layout, f"{parent}/{name}")
    finally:
        left = [h.mountpoint + parent for h in layout.hierarchies if _children(h.mountpoint + parent)]
        cgroups.remove(layout, parent)
    assert not left, f"left behind: {left}"


def _children(path: str) -> list[str]:
    if not os.path.isdir(path):
        return []
    return [entry.name for entry in os.scandir(path) if entry.is_dir()]
