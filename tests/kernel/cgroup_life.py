"""Cases about a group: made, entered, frozen, killed, removed, and the errors when something lacks."""

from __future__ import annotations

import errno
import mmap
import os
import select
import signal
import struct
import time
from contextlib import suppress

from corten.errors import Conflict, Invalid, NotFound
from corten.kernel import cgroupfs
from corten.runtime import cgroups
from corten.runtime.cgroups import Layout, words
from kernel.cgroup_children import (
    DOCKER_DEVICES,
    MB,
    Lacking,
    group,
    inside,
    is2,
    sleep_forever,
    start,
    text,
    wait_until,
)


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


def case_kill_all_processes(layout: Layout, path: str) -> None:
    """Also processes that fork meanwhile, and those in groups that the container made itself."""

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


def case_groups_that_a_container_made_below(layout: Layout, path: str) -> None:
    """Deeper than Python calls, longer than a path, and more of them than descriptors."""
    with group(layout, path) as made:
        pid = start(made, sleep_forever)
        for hierarchy in layout.hierarchies:
            bottom = _descend(hierarchy.mountpoint + path, "d", 1500)
            if hierarchy.version == 2:
                cgroupfs.write(bottom, "cgroup.procs", pid)
            os.close(bottom)
            os.close(_descend(hierarchy.mountpoint + path, "n" * 255, 20))
        before = len(os.listdir("/proc/self/fd"))
        assert made.pids() == [pid]
        made.kill()
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
        wait_until(lambda: made.pids() == [])
        made.remove()
        assert len(os.listdir("/proc/self/fd")) == before - len(layout.hierarchies)
    for hierarchy in layout.hierarchies:
        assert not os.path.exists(hierarchy.mountpoint + path)


def _descend(path: str, name: str, levels: int) -> int:
    """Groups in one another; a descriptor of the lowest."""
    here = cgroupfs.open_directory(path)
    for _ in range(levels):
        os.mkdir(name, dir_fd=here)
        there = os.open(name, os.O_RDONLY | os.O_DIRECTORY, dir_fd=here)
        os.close(here)
        here = there
    return here


def case_kill_of_a_group_that_is_removed_meanwhile(layout: Layout, path: str) -> None:
    with group(layout, path):
        again = cgroups.open(layout, path)
    seen = iter([[1], [1]])
    pids, kind = type(again).pids, type(again)
    kind.pids = lambda self: next(seen, [])  # type: ignore[method-assign]  # as they were a moment before
    try:
        again.kill()
    finally:
        kind.pids = pids  # type: ignore[method-assign]
    again.close()


def case_kill_without_cgroup_kill(layout: Layout, path: str) -> None:
    """As runc makes groups on a hybrid machine: no process is in the v2 tree; and as on kernels before 5.14."""
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


def case_quick(layout: Layout, path: str) -> None:
    """Making, entering and removing have to be a matter of milliseconds: they are on the path of every start."""
    if os.environ.get("CORTEN_GUEST"):
        raise Lacking("the time of an emulated processor says nothing of a start's")
    resources = {"memory": {"limit": 64 * MB}, "pids": {"limit": 100}, "devices": DOCKER_DEVICES}
    cgroups.create(layout, path, resources).remove()
    took: list[float] = []
    while min(took, default=1.0) >= 0.005:
        assert len(took) < 100, took  # none of them was undisturbed
        begin = time.perf_counter()
        made = cgroups.create(layout, path, resources)
        took.append(time.perf_counter() - begin)
        assert inside(made, lambda: None) == 0
        made.remove()


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
