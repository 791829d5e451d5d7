"""Foreign programs that the engine is tried with, each private: a registry, dockerd, archives of images."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import subprocess
import tarfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from e2e_parts.clients import OLD_DOCKER, Client, execute
from e2e_parts.patience import PATIENCE
from free_ports import free_port

APPLETS = ("sh", "cat", "echo", "ls", "id", "sleep", "env", "true")
ARCHITECTURE = {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, os.uname().machine)


def need(*programs: str) -> None:
    missing = [program for program in programs if not shutil.which(program)]
    if missing:
        pytest.skip(f"not on this machine: {', '.join(missing)}")


@contextmanager
def registry(root: Path) -> Iterator[str]:
    """Debian's docker-registry on a loopback port; its host:port."""
    need("docker-registry")
    root.mkdir()
    host = f"127.0.0.1:{free_port()}"
    settings = {
        "version": 0.1,
        "log": {"level": "error"},
        "storage": {"filesystem": {"rootdirectory": str(root)}, "delete": {"enabled": True}},
        "http": {"addr": host},
    }
    (root / "config.yml").write_text(json.dumps(settings))  # JSON is YAML
    with (root / "log").open("wb") as log:
        process = subprocess.Popen(["docker-registry", "serve", str(root / "config.yml")], stdout=log, stderr=log)
    try:
        _until(lambda: urllib.request.urlopen(f"http://{host}/v2/", timeout=1).status == 200, process, root / "log")
        yield host
    finally:
        process.kill()
        process.wait(60)


@contextmanager
def dockerd(root: Path, *flags: str) -> Iterator[Client]:
    """Debian's dockerd with everything of its own; Debian's client of it."""
    need("dockerd", "containerd", OLD_DOCKER)
    root.mkdir()
    address = f"unix://{root}/s"
    own = ["--data-root", str(root / "d"), "--exec-root", str(root / "r"), "-p", str(root / "pid"), "-H", address]
    with (root / "log").open("wb") as log:
        process = subprocess.Popen(
            ["dockerd", *own, "--bridge", "none", "--iptables=false", *flags], stdout=log, stderr=log
        )
    client = Client("docker-old", (OLD_DOCKER,), address, root)
    try:
        _until(lambda: client("version", code=None).code == 0, process, root / "log")
        yield client
    finally:
        client.close()
        for id in client("ps", "-aq", code=None).out.split():
            client("rm", "-f", id, code=None)
        process.terminate()
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(60)
        _unmount_below(root)


def _unmount_below(root: Path) -> None:
    places = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines() if f"{root}/" in line]
    for place in reversed(places):
        execute(["umount", "-l", place])


def _until(condition: object, process: subprocess.Popen[bytes], log: Path) -> None:
    assert callable(condition)
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            if condition():
                return
        except OSError:
            pass
        assert process.poll() is None and time.monotonic() < deadline, log.read_text()[-2000:]
        time.sleep(0.05)


def layer(files: Mapping[str, str], programs: bool = False) -> bytes:
    """A layer with these text files; with busybox in it when it is to be run."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        if programs:
            tar.add(shutil.which("busybox") or "/bin/busybox", "bin/busybox")
            for name in APPLETS:
                link = tarfile.TarInfo(f"bin/{name}")
                link.type, link.linkname = tarfile.SYMTYPE, "busybox"
                tar.addfile(link)
        for name, text in files.items():
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(text.encode()), 0o644
            tar.addfile(info, io.BytesIO(text.encode()))
    return buffer.getvalue()


def archive(
    path: Path,
    tag: str,
    layers: list[bytes],
    config: Mapping[str, object],
    arch: str = ARCHITECTURE,
    created: str = "2024-01-02T03:04:05Z",
) -> None:
    """What `docker save` writes: an image of these layers."""
    document = {
        "architecture": arch,
        "os": "linux",
        "config": config,
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(data).hexdigest()}" for data in layers]},
        "history": [{"created_by": f"layer {number}"} for number in range(len(layers))],
        "created": created,
    }
    body = json.dumps(document).encode()
    name = f"{hashlib.sha256(body).hexdigest()}.json"
    names = [f"{number}/layer.tar" for number in range(len(layers))]
    manifest = json.dumps([{"Config": name, "RepoTags": [tag], "Layers": names}]).encode()
    with tarfile.open(path, "w") as tar:
        for entry, data in ((name, body), *zip(names, layers, strict=True), ("manifest.json", manifest)):
            info = tarfile.TarInfo(entry)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
