"""A place of its own to measure in: new mount, network, process and IPC namespaces, and one scratch directory.

All daemons and their clients live inside; their bridges, firewall rules, mounts and processes end with the namespaces.
What the peers keep in fixed places (/etc/docker/key.json, /var/lib/cni, /run, /dev/shm) goes to overlays and tmpfs.
Outside remain the scratch directory and the control groups, which `outside` removes.
"""

from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Sequence
from pathlib import Path

INSIDE = "CORTEN_BENCH_SCRATCH"  # the scratch directory; set only inside
COMPOSE = "CORTEN_BENCH_DOCKER_COMPOSE"  # Docker Compose 2, where it is not installed
PYTHON = "CORTEN_BENCH_PYTHON"  # the interpreter that the program was called with
CGROUPS = Path("/sys/fs/cgroup")


def outside(arguments: Sequence[str]) -> int:
    """Run the program again inside, wait, clear what is left; its exit status."""
    scratch = Path(tempfile.mkdtemp(prefix="corten-bench-"))
    # A copy, so that no page of the program is shared with the interpreters whose memory it measures.
    python = shutil.copy(Path(sys.executable).resolve(), scratch / "python")
    flags = ["--mount", "--net", "--ipc", "--pid", "--fork", "--kill-child", "--mount-proc", "--propagation", "private"]
    command = ["unshare", *flags, python, "-m", "bench", *arguments]
    root = Path(__file__).parents[1]
    environ = {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": str(scratch / "home"),
        "LANG": "C.UTF-8", "PYTHONPATH": f"{root}:{root / 'src'}:{sysconfig.get_path('purelib')}",
        INSIDE: str(scratch), PYTHON: sys.executable,
        COMPOSE: os.environ.get(COMPOSE, ""),
    }  # fmt: skip
    (scratch / "home").mkdir()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop)
    # In a session of its own: Ctrl-C is for this process, which ends the other with all that it started.
    process = subprocess.Popen(command, env=environ, start_new_session=True)
    try:
        _wait(os.pidfd_open(process.pid))  # not process.wait(): an exception in there may leave its lock taken
        return process.wait()
    finally:
        _end(process)
        remove_cgroups(cgroup_name(scratch))
        shutil.rmtree(scratch)


def _stop(number: int, _: object) -> None:
    """One signal ends the program; more must not disturb the clearing up."""
    for other in (signal.SIGINT, signal.SIGTERM):
        signal.signal(other, signal.SIG_IGN)
    sys.exit(128 + number)


def _wait(pidfd: int) -> None:
    """Until the process has ended; closes its descriptor."""
    try:
        select.select([pidfd], [], [])
    finally:
        os.close(pidfd)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill what still runs, and wait: a namespace's first process is gone after all others (pid_namespaces(7))."""
    if process.poll() is not None:
        return
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    pidfds = [os.pidfd_open(int(pid)) for pid in children]
    process.kill()
    process.wait()
    for pidfd in pidfds:
        _wait(pidfd)


def cgroup_name(scratch: Path) -> str:
    """Every engine's containers are placed under this one."""
    return scratch.name


def prepare(scratch: Path, run_on_disk: bool) -> None:
    """Inside: loopback up, private /run and /dev/shm, and changes to /etc and /var/lib that are thrown away.

    /run is a tmpfs as every distribution has it, or on request on the scratch directory's disk, as a few virtual
    machines have it: containerd keeps state there, and dockerd's start takes half as long again on a disk.
    """
    _run("ip", "link", "set", "lo", "up")
    _run("mount", "-t", "tmpfs", "-o", "mode=1777", "bench", "/dev/shm")
    if run_on_disk:
        (scratch / "run").mkdir()
        _run("mount", "--bind", str(scratch / "run"), "/run")
    else:
        _run("mount", "-t", "tmpfs", "-o", "mode=755", "bench", "/run")
    for place in ("/etc", "/var/lib"):
        upper = scratch / "over" / place.strip("/").replace("/", "-")
        work = upper.with_suffix(".work")
        upper.mkdir(parents=True)
        work.mkdir()
        _run("mount", "-t", "overlay", "-o", f"lowerdir={place},upperdir={upper},workdir={work}", "bench", place)
    # The peers' settings on this machine must not decide the race.
    for settings in ("/etc/docker/daemon.json", "/etc/corten/daemon.json"):
        Path(settings).unlink(missing_ok=True)


def remove_cgroups(name: str) -> None:
    """Remove the tree `name` from every hierarchy; the processes in it have ended."""
    for top in (*CGROUPS.glob(f"*/{name}"), CGROUPS / name):
        for directory, _, _ in os.walk(top, topdown=False):
            os.rmdir(directory)


def _run(*command: str) -> None:
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
