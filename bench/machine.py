"""The machine that the figures are of, without its name."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from pathlib import Path

from bench import image

PROGRAMS = ("docker", "dockerd", "containerd", "podman", "runc", "crun", "docker-registry", "skopeo")


def description() -> str:
    """A Markdown list: kernel, processors, memory, control groups, file system, load, versions."""
    lines = [
        f"kernel {platform.release()}, {platform.machine()}",
        f"{os.cpu_count()} processors, {_processor()}; load {os.getloadavg()[0]:.1f} at the start",
        f"{_memory_gb():.0f} GB memory",
        f"control groups {_cgroups()}; scratch directory on {_filesystem()}",
        f"Python {platform.python_version()}; {image.version()}",
        *(f"{name}: {version(name)}" for name in PROGRAMS),
    ]
    return "\n".join(f"- {line}" for line in lines)


def version(name: str) -> str:
    """The first line of the program's answer."""
    found = shutil.which(name)
    if found is None:
        return "not installed"
    return subprocess.run([found, "--version"], capture_output=True, text=True).stdout.partition("\n")[0]


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return "unnamed"


def _memory_gb() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9


def _cgroups() -> str:
    if Path("/sys/fs/cgroup/cgroup.controllers").exists():
        return "v2"
    return "v1 hybrid" if Path("/sys/fs/cgroup/unified").exists() else "v1"


def _filesystem() -> str:
    done = subprocess.run(["stat", "-f", "-c", "%T", "/tmp"], capture_output=True, text=True)
    return done.stdout.strip() or "unknown"
