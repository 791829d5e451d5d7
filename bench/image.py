"""The image that all engines run: the machine's static busybox, as an archive to load and as a directory."""

from __future__ import annotations

import io
import json
import os
import platform
import shutil
import subprocess
import tarfile
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

from bench.measure import Failed

NAME = "bench/busybox"
APPLETS = ("sh", "true", "sleep", "yes", "head", "cat", "dd", "ls")
DIRECTORIES = ("bin", "dev", "etc", "proc", "sys", "tmp", "root", "run", "var")


def busybox() -> Path:
    """The static busybox. Raises Failed where the machine has none."""
    found = shutil.which("busybox")
    if found is None:
        raise Failed("no static busybox here: apt-get install busybox-static")
    return Path(found).resolve()


def tree(root: Path) -> Path:
    """The root file system as a directory."""
    for name in DIRECTORIES:
        (root / name).mkdir(parents=True, exist_ok=True)
    shutil.copy(busybox(), root / "bin/busybox")
    for name in APPLETS:
        (root / "bin" / name).symlink_to("busybox")
    (root / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
    (root / "etc/group").write_text("root:x:0:\n")
    return root


def layer_of(root: Path) -> bytes:
    """The tree as a tar."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name in sorted(os.listdir(root)):
            tar.add(root / name, arcname=name)
    return out.getvalue()


def docker_archive(root: Path, reference: str, command: Sequence[str] = ("sh",)) -> bytes:
    """What `docker save` writes for an image of one layer (Docker image specification 1.2)."""
    layer = layer_of(root)
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    config = json.dumps({
        "architecture": machine, "os": "linux", "config": {"Cmd": list(command), "Env": ["PATH=/bin"]},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{sha256(layer).hexdigest()}"]},
    }).encode()  # fmt: skip
    name = f"{sha256(config).hexdigest()}.json"
    manifest = json.dumps([{"Config": name, "RepoTags": [reference], "Layers": ["layer/layer.tar"]}])
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for member, content in ((name, config), ("layer/layer.tar", layer), ("manifest.json", manifest.encode())):
            info = tarfile.TarInfo(member)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return out.getvalue()


def weigh(root: Path, megabytes: int) -> None:
    """Add files of random bytes, so that a pull or load has something to move; they do not compress."""
    place = root / "usr/share/weight"
    place.mkdir(parents=True)
    for number in range(megabytes):
        (place / f"{number}").write_bytes(os.urandom(1 << 20))


def version() -> str:
    return subprocess.run([busybox()], capture_output=True, text=True).stdout.partition("\n")[0]
