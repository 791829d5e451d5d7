"""The whole engine in a guest with control groups v2 only: the daemon, its API, containers with limits."""

from __future__ import annotations

import subprocess
import sysconfig
from pathlib import Path
from typing import Any

import pytest

import kept
from vm import guest

SCRIPT = """
import http.client, json, os, socket, subprocess, sys, time
from guest import report

SOCKET = "/run/corten/corten.sock"


class Api(http.client.HTTPConnection):
    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(60)
        self.sock.connect(SOCKET)


def ask(method, path, body=None):
    api = Api("guest")
    api.request(method, path, None if body is None else json.dumps(body), {"Content-Type": "application/json"})
    answer = api.getresponse()
    text = answer.read()
    if answer.status >= 400:
        raise RuntimeError(f"{method} {path}: {answer.status} {text.decode()}")
    kind = answer.headers.get("Content-Type") or ""
    return json.loads(text) if text and kind.startswith("application/json") else text


def run(name, command, **host):
    body = {"Image": "corten/busybox", "Cmd": ["sh", "-c", command], "HostConfig": {"NetworkMode": "none", **host}}
    warnings = ask("POST", f"/containers/create?name={name}", body)["Warnings"]
    ask("POST", f"/containers/{name}/start")
    status = ask("POST", f"/containers/{name}/wait")["StatusCode"]
    frames, output = ask("GET", f"/containers/{name}/logs?stdout=1&stderr=1"), b""
    while frames:
        size = int.from_bytes(frames[4:8], "big")
        output, frames = output + frames[8 : 8 + size], frames[8 + size :]
    state = ask("GET", f"/containers/{name}/json")["State"]
    ask("DELETE", f"/containers/{name}")
    report(container=name, status=status, output=output.decode(), oom=state["OOMKilled"], warnings=warnings)


def accepts():
    try:
        Api("guest").connect()
    except OSError:  # no socket yet, or nothing listens yet
        return False
    return True


sys.stderr.flush()
daemon = subprocess.Popen([sys.executable, "-m", "corten.daemon", "--bridge", "none"], stderr=subprocess.PIPE)
deadline = time.monotonic() + 60
while not accepts():
    if daemon.poll() is not None or time.monotonic() > deadline:
        report(daemon=daemon.stderr.read().decode()[-2000:])
        sys.exit(1)
    time.sleep(0.05)
info = ask("GET", "/info")
report(version=info["CgroupVersion"], memory=info["MemoryLimit"], pids=info["PidsLimit"], warnings=info["Warnings"])
files = "memory.max memory.swap.max pids.max cpu.max cpu.weight cpuset.cpus"
limits = f"cat /proc/self/cgroup; cd /sys/fs/cgroup; cat {files}"
run("limits", limits, Memory=64 << 20, MemorySwap=64 << 20, PidsLimit=20, NanoCpus=500_000_000, CpuShares=512,
    CpusetCpus="0")
run("oom", "tail /dev/zero", Memory=16 << 20, MemorySwap=16 << 20)
run("devices", "mknod /tmp/d b 8 0 && (head -c 1 /tmp/d || echo refused); head -c 3 /dev/zero | wc -c")
run("read-only", "echo 1 > /sys/fs/cgroup/pids.max || echo refused")
ask("POST", "/containers/create?name=live", {"Image": "corten/busybox", "Cmd": ["sleep", "1000"],
                                              "HostConfig": {"NetworkMode": "none"}})
ask("POST", "/containers/live/start")
ask("POST", "/containers/live/update", {"Memory": 32 << 20, "MemorySwap": 32 << 20})
ask("POST", "/containers/live/pause")
state = ask("GET", "/containers/live/json")
group = next(path for path, _, files in os.walk("/sys/fs/cgroup") if state["Id"] in path)
frozen = open(f"{group}/cgroup.events").read()
report(live=open(f"{group}/memory.max").read().strip(), status=state["State"]["Status"], frozen="frozen 1" in frozen)
ask("POST", "/containers/live/unpause")
ask("DELETE", "/containers/live?force=1")
daemon.terminate()
report(ended=daemon.wait(), log=daemon.stderr.read().decode()[-500:])
report(left=[path for path, _, _ in os.walk("/sys/fs/cgroup") if "/corten/" in path])
"""


@pytest.fixture(scope="module")
def results() -> list[dict[str, Any]]:
    lacking = guest.missing()
    if lacking:
        pytest.skip(lacking)
    machine = guest.Guest(kept.directory() / "vm", memory=1 << 30)
    packages = Path(sysconfig.get_paths()["purelib"])
    names = (
        "aiohttp aiohappyeyeballs aiosignal frozenlist multidict propcache yarl attr attrs idna msgspec isal backports"
    )
    found = [packages / name for name in [*names.split(), "typing_extensions.py"] if (packages / name).exists()]
    files: dict[str, Path] = {f"/guest/{path.name}": path for path in found}
    files["/bin/busybox.static"] = Path("/bin/busybox")
    return machine.run(SCRIPT, files | {str(path): path for path in libraries(found)})


def libraries(packages: list[Path]) -> list[Path]:
    """The shared libraries that the extension modules of `packages` are linked with."""
    modules = [str(module) for package in packages for module in package.rglob("*.so")]
    text = subprocess.run(["ldd", *modules], capture_output=True, text=True, check=True, timeout=30).stdout
    return sorted({Path(line.split()[2]) for line in text.splitlines() if "=> /" in line})


def container(results: list[dict[str, Any]], name: str) -> dict[str, Any]:
    (result,) = [result for result in results if result.get("container") == name]
    return result


def test_the_daemon_reports_what_it_has(results: list[dict[str, Any]]) -> None:
    assert "daemon" not in results[0], results[0]
    assert results[0]["version"] == "2"
    assert results[0]["memory"] and results[0]["pids"]


def test_limits_are_what_a_container_sees_in_its_own_group(results: list[dict[str, Any]]) -> None:
    lines = container(results, "limits")["output"].split("\n")
    assert lines[0] == "0::/"
    assert lines[1:5] == [str(64 << 20), "0", "20", "50000 100000"]
    assert lines[6] == "0"


def test_out_of_memory_is_visible(results: list[dict[str, Any]]) -> None:
    result = container(results, "oom")
    assert (result["status"], result["oom"]) == (137, True)


def test_devices_are_filtered_by_a_program(results: list[dict[str, Any]]) -> None:
    lines = container(results, "devices")["output"].splitlines()
    assert lines == ["head: /tmp/d: Operation not permitted", "refused", "3"]


def test_the_groups_of_a_container_are_read_only(results: list[dict[str, Any]]) -> None:
    assert "refused" in container(results, "read-only")["output"]


def test_limits_change_and_processes_freeze_while_it_runs(results: list[dict[str, Any]]) -> None:
    (live,) = [result for result in results if "live" in result]
    assert live == {"live": str(32 << 20), "status": "paused", "frozen": True}


def test_nothing_is_left(results: list[dict[str, Any]]) -> None:
    (result,) = [result for result in results if "left" in result]
    assert result["left"] == []
    assert results[-1]["exit"] == 0
