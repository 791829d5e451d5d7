"""Images as an enemy would make them: any tree, any configuration."""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from corten.layers import write
from corten.spec import platform
from e2e_parts.http import Connection
from fault_parts.fragile import Fragile
from image_parts import tars

APPLETS = "sh cat ls id sleep mount umount mknod mkdir ln rm touch readlink unshare head grep stat true echo setsid env chmod".split()  # noqa: E501  # fmt: skip


def busybox() -> list[bytes]:
    """A root with the least that a test needs, as tar entries."""
    binary = Path(shutil.which("busybox") or "/bin/busybox").read_bytes()
    entries = [tars.directory("bin"), tars.file("bin/busybox", binary, mode=0o755)]
    return [*entries, *(tars.symlink(f"bin/{name}", "busybox") for name in APPLETS)]


FIFO, CHARACTER = b"6", b"3"  # tar's types


def node(name: str, kind: bytes, major: int = 0, minor: int = 0) -> bytes:
    return write.header(name.encode(), kind, mode=0o666, major=major, minor=minor)


def archive(tag: str, entries: Sequence[bytes], config: dict[str, Any] | None = None) -> bytes:
    """An image with one layer, as `save` writes it."""
    layer = tars.archive(*entries)
    digest = "sha256:" + hashlib.sha256(layer).hexdigest()
    document = {
        "architecture": platform.host().architecture,
        "os": "linux",
        "config": config or {},
        "rootfs": {"type": "layers", "diff_ids": [digest]},
    }
    manifest = [{"Config": "config.json", "RepoTags": [f"{tag}:latest"], "Layers": ["layer.tar"]}]
    return tars.archive(
        tars.file("config.json", json.dumps(document).encode()),
        tars.file("layer.tar", layer),
        tars.file("manifest.json", json.dumps(manifest).encode()),
    )


def load(daemon: Fragile, tag: str, entries: Sequence[bytes], config: dict[str, Any] | None = None) -> str:
    """`archive` by /images/load; what the daemon said when it refused it. Empty: it is there."""
    with Connection(daemon.socket) as http:
        http.request(
            "POST", "/images/load?quiet=1", archive(tag, entries, config), {"Content-Type": "application/x-tar"}
        )
        said = http.getresponse().read().decode()
    return said if "error" in said else ""


def python_binds() -> list[str]:
    """Read-only binds that bring this machine's Python into a container whose own root has none of it."""
    binds = []
    for path in ("/usr", "/lib", "/lib64"):
        if Path(path).exists():
            binds.append(f"{Path(path).resolve()}:{path}:ro")
    if not sys.base_prefix.startswith("/usr"):
        binds.append(f"{sys.base_prefix}:{sys.base_prefix}:ro")
    return binds


def python(code: str) -> list[str]:
    """The command that runs `code` with it."""
    return [str(Path(sys.executable).resolve()), "-I", "-S", "-c", code]
