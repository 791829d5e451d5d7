"""Limits as the kernel has them, and what happens when they are reached."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from e2e_parts.clients import Client
from e2e_parts.cortend import IMAGE, Cortend
from fault_parts.fragile import until

V1 = Path("/sys/fs/cgroup/memory/memory.limit_in_bytes").exists()
pytestmark = pytest.mark.skipif(not V1, reason="no cgroup v1 here (the v2 paths are tested in tests/vm)")


def limits(client: Client, *flags: str, files: str) -> list[str]:
    script = f"cd /sys/fs/cgroup; cat {files}"
    return client("run", "--rm", *flags, IMAGE, "sh", "-c", script).out.split()


def test_memory(cli: Client) -> None:
    files = "memory/memory.limit_in_bytes memory/memory.memsw.limit_in_bytes"
    assert limits(cli, "-m", "32m", files=files) == [str(32 << 20), str(64 << 20)]
    assert limits(cli, "-m", "32m", "--memory-swap", "48m", files=files) == [str(32 << 20), str(48 << 20)]
    reserved = "memory/memory.soft_limit_in_bytes"
    assert limits(cli, "-m", "32m", "--memory-reservation", "16m", files=reserved) == [str(16 << 20)]


def test_cpu(cli: Client) -> None:
    flags = ["--cpus", "1.5", "--cpu-shares", "512", "--cpuset-cpus", "0"]
    files = "cpu/cpu.cfs_quota_us cpu/cpu.cfs_period_us cpu/cpu.shares cpuset/cpuset.cpus"
    assert limits(cli, *flags, files=files) == ["150000", "100000", "512", "0"]
    assert "cpus" in cli("run", "--rm", "--cpuset-cpus", "77", IMAGE, "true", code=125).err.lower()


def test_pids(cli: Client) -> None:
    assert limits(cli, "--pids-limit", "20", files="pids/pids.max") == ["20"]
    script = "for i in $(seq 1 50); do sleep 5 & done"
    done = cli("run", "--rm", "--pids-limit", "10", IMAGE, "sh", "-c", script, code=None)
    assert "can't fork" in done.err or "Resource temporarily unavailable" in done.err


def test_block_devices(cli: Client) -> None:
    disks = [disk for disk in Path("/sys/block").glob("*d?") if Path("/dev", disk.name).exists()]
    if not disks:
        pytest.skip("no disk here")
    name = f"/dev/{disks[0].name}"
    number = (disks[0] / "dev").read_text().strip()
    flags = ["--device-read-bps", f"{name}:1mb", "--device-write-iops", f"{name}:100"]
    info = json.loads(cli.out("info", "--format", "{{json .}}"))
    if not info.get("BlkioReadBpsDevice", True):
        pytest.skip("this kernel has no throttling of block devices")
    found = limits(cli, *flags, files="blkio/blkio.throttle.read_bps_device blkio/blkio.throttle.write_iops_device")
    assert found == [number, str(1 << 20), number, "100"]


def test_what_the_machine_lacks_is_a_warning(docker: Client) -> None:
    script = "cat /sys/fs/cgroup/blkio/blkio.bfq.weight /sys/fs/cgroup/blkio/blkio.weight 2>/dev/null"
    done = docker("run", "--rm", "--blkio-weight", "300", IMAGE, "sh", "-c", script, code=None)
    assert "300" in done.out.split() or "weight" in done.err.lower()


def test_a_weight_of_a_device_whose_scheduler_has_none(docker: Client) -> None:
    disks = [disk for disk in Path("/sys/block").iterdir() if (disk / "queue/scheduler").exists()]
    if not disks:
        pytest.skip("no block device")
    docker("run", "--rm", "--blkio-weight-device", f"/dev/{disks[0].name}:300", IMAGE, "true")


def test_refused_limits(cli: Client) -> None:
    assert "Minimum memory limit" in cli("run", "--rm", "-m", "1m", IMAGE, "true", code=125).err
    assert cli("run", "--rm", "--memory-swap", "1g", IMAGE, "true", code=125).err
    assert cli("run", "--rm", "--cpus", "1000", IMAGE, "true", code=125).err
    assert cli("run", "--rm", "--blkio-weight", "5000", IMAGE, "true", code=125).err


def test_out_of_memory_is_visible(cli: Client, daemon: Cortend) -> None:
    began = time.time()
    eat = "a=x; while :; do a=$a$a$a$a; done"
    cli("run", "--name", "over-limit", "-m", "16m", "--memory-swap", "16m", IMAGE, "sh", "-c", eat, code=137)
    state = json.loads(cli.out("inspect", "-f", "{{json .State}}", "over-limit"))
    assert (state["OOMKilled"], state["ExitCode"], state["Status"]) == (True, 137, "exited")
    actions = [event["Action"] for event in daemon.events(began, event=["oom", "die"], container="over-limit")]
    assert actions == ["oom", "die"]


def test_out_of_memory_of_a_child(docker: Client, daemon: Cortend) -> None:
    """The container lives on, and it is still said."""
    began = time.time()
    eat = "sh -c 'a=x; while :; do a=$a$a$a$a; done'; echo $?; sleep 0.1"
    done = docker("run", "--name", "parent", "-m", "16m", "--memory-swap", "16m", IMAGE, "sh", "-c", eat)
    assert done.out == "137\n"
    assert daemon.events(began, event="oom", container="parent")


def test_out_of_memory_where_nothing_is_killed(cli: Client, daemon: Cortend) -> None:
    """The program waits for memory, which is said at once; the state says so when it has been killed, as dockerd's."""
    began = time.time()
    flags = ("-m", "16m", "--memory-swap", "16m", "--oom-kill-disable")
    cli("run", "-d", "--name", "stuck", *flags, IMAGE, "sh", "-c", "a=x; while :; do a=$a$a$a$a; done")
    until(lambda: daemon.events(began, event="oom", container="stuck"), "the event")
    assert cli.out("inspect", "-f", "{{.State.Status}}", "stuck") == "running"
    cli("kill", "stuck")
    assert cli.out("inspect", "-f", "{{.State.OOMKilled}} {{.State.ExitCode}}", "stuck") == "true 137"


def test_stats(cli: Client) -> None:
    cli("run", "-d", "--name", "measured", "-m", "64m", IMAGE, "sleep", "1000")
    line = json.loads(cli.out("stats", "--no-stream", "--format", "{{json .}}", "measured"))
    assert line["Name"] == "measured" and "64MiB" in line["MemUsage"] and line["PIDs"] == "1"


def test_stats_are_the_groups(docker: Client, corten: Client, daemon: Cortend) -> None:
    """What the daemon says is what the kernel counts, and both clients make the same of it."""
    work = "head -c 20000000 /dev/zero > /dev/shm/x; i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done"
    script = f"{work}; echo done; sleep 1000; true"
    id = docker.out("run", "-d", "--name", "measured", "-m", "64m", IMAGE, "sh", "-c", script)
    until(lambda: docker.out("logs", "measured") == "done", "its work is done")
    group = f"{daemon.cgroup[1:]}/{id}"
    until(lambda: int((_group("pids", group) / "pids.current").read_text()) == 2, "it sleeps")
    v1, v2 = Path("/sys/fs/cgroup/memory") / group, Path("/sys/fs/cgroup") / group
    usage = v1 / "memory.usage_in_bytes" if v1.exists() else v2 / "memory.current"
    before = _cpu_nanoseconds(group)
    sample = daemon.get(f"/containers/{id}/stats?stream=0&one-shot=1")
    assert before <= sample["cpu_stats"]["cpu_usage"]["total_usage"] <= _cpu_nanoseconds(group)
    assert sample["memory_stats"]["usage"] == pytest.approx(int(usage.read_text()), abs=1 << 20)
    assert sample["memory_stats"]["usage"] > 20_000_000 and sample["memory_stats"]["limit"] == 64 << 20
    assert sample["pids_stats"]["current"] == int((_group("pids", group) / "pids.current").read_text()) == 2
    shown = [json.loads(c.out("stats", "--no-stream", "--format", "json", "measured")) for c in (docker, corten)]
    assert {key: shown[0][key] for key in ("ID", "Name", "PIDs", "BlockIO")} == {
        key: shown[1][key] for key in ("ID", "Name", "PIDs", "BlockIO")
    }
    sizes = [float(one["MemUsage"].split("MiB")[0]) for one in shown]
    assert sizes[0] == pytest.approx(sizes[1], abs=1) and 19 < sizes[0] < 25


def _group(controller: str, group: str) -> Path:
    v1 = Path("/sys/fs/cgroup") / controller / group
    return v1 if v1.exists() else Path("/sys/fs/cgroup") / group


def _cpu_nanoseconds(group: str) -> int:
    file = Path("/sys/fs/cgroup/cpuacct") / group / "cpuacct.usage"
    if file.exists():
        return int(file.read_text())
    lines = (Path("/sys/fs/cgroup") / group / "cpu.stat").read_text().split()
    return int(lines[lines.index("usage_usec") + 1]) * 1000


def test_shares_of_a_parent(docker: Client, daemon: Cortend) -> None:
    script = "cat /proc/self/cgroup | grep memory"
    out = docker.out("run", "--rm", "--cgroup-parent", f"{daemon.cgroup}/sub", IMAGE, "sh", "-c", script)
    assert out.split(":")[2].startswith(f"{daemon.cgroup}/sub/")
    deadline = time.monotonic() + 60
    while list(Path("/sys/fs/cgroup").glob(f"*{daemon.cgroup}/sub")):  # it goes with the container, behind the answer
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_parent_group_goes_with_its_last_container(docker: Client, daemon: Cortend) -> None:
    """Those that were made for containers; what was there before stays."""
    tree = Path("/sys/fs/cgroup/pids") if Path("/sys/fs/cgroup/pids").is_dir() else Path("/sys/fs/cgroup")
    theirs = tree / f"{daemon.name}-theirs"
    theirs.mkdir()
    try:
        parent = f"/{theirs.name}/ours/deep"
        for name in ("one", "two"):
            docker("run", "-d", "--name", name, "--cgroup-parent", parent, IMAGE, "sleep", "1000")
        docker("rm", "-f", "one")
        assert (tree / parent[1:]).is_dir()
        docker("rm", "-f", "two")
        deadline = time.monotonic() + 60
        trees = Path("/sys/fs/cgroup")
        while [*trees.glob(f"*/{theirs.name}/ours"), *trees.glob(f"*/{theirs.name}")] != [theirs]:
            assert time.monotonic() < deadline  # the removal goes on behind the answer
            time.sleep(0.02)
    finally:
        theirs.rmdir()
