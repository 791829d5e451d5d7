"""The configuration that `corten-oci spec` writes: a shell in the bundle's rootfs, with Docker's default protection."""

from __future__ import annotations

import json
from argparse import Namespace
from pathlib import Path

from corten.errors import Conflict
from corten.oci.state import OCI_VERSION
from corten.spec.json import Json

_CAPABILITIES = ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]


def template() -> Json:
    def mount(kind: str, target: str, *options: str) -> Json:
        return {"destination": target, "type": kind, "source": kind, "options": ["nosuid", *options]}

    return {
        "ociVersion": OCI_VERSION,
        "process": {
            "terminal": True,
            "user": {"uid": 0, "gid": 0},
            "args": ["sh"],
            "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"],
            "cwd": "/",
            "capabilities": dict.fromkeys(("bounding", "effective", "permitted"), _CAPABILITIES),
            "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}],
            "noNewPrivileges": True,
        },
        "root": {"path": "rootfs", "readonly": True},
        "hostname": "corten",
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            mount("tmpfs", "/dev", "strictatime", "mode=755", "size=65536k"),
            mount("devpts", "/dev/pts", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"),
            mount("tmpfs", "/dev/shm", "noexec", "nodev", "mode=1777", "size=65536k"),
            mount("mqueue", "/dev/mqueue", "noexec", "nodev"),
            mount("sysfs", "/sys", "noexec", "nodev", "ro"),
            mount("cgroup", "/sys/fs/cgroup", "noexec", "nodev", "relatime", "ro"),
        ],
        "linux": {
            "resources": {"devices": [{"allow": False, "access": "rwm"}]},
            "namespaces": [{"type": kind} for kind in ("pid", "network", "ipc", "uts", "mount", "cgroup")],
            "maskedPaths": ["/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
                            "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/sys/firmware",
                            "/proc/scsi"],
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
        },
    }  # fmt: skip


def spec(arguments: Namespace) -> int:
    path = Path(arguments.bundle) / "config.json"
    if path.exists():
        raise Conflict(f"{path} exists; remove it first")
    path.write_text(json.dumps(template(), indent=4) + "\n")
    return 0
