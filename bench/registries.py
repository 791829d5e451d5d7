"""Registries on the loopback of the private network namespace: Debian's docker-registry, and Corten's own."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench import commands, peers
from bench.measure import Failed

START_SECONDS = 30


@dataclass(slots=True)
class Registry:
    """A running server; what it keeps is under `store`."""

    address: str
    process: subprocess.Popen[bytes]
    store: Path
    held: set[str] = field(default_factory=set)

    def put(self, source: str, reference: str) -> None:
        """Copy an image, named as skopeo does, to `reference` without the address, unless it was."""
        if reference in self.held:
            return
        target = f"docker://{self.address}/{reference}"
        commands.run(
            ["skopeo", "copy", "-q", "--insecure-policy", "--dest-tls-verify=false", source, target], seconds=600
        )
        self.held.add(reference)

    def empty(self) -> None:
        """Forget everything: a registry without a cache in memory looks at its disk each time."""
        shutil.rmtree(self.store, ignore_errors=True)
        self.store.mkdir()
        self.held.clear()

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(10)


def debian(place: Path, port: int = 5000) -> Registry:
    """Debian's docker-registry. Raises Failed where it is missing or does not start."""
    peers.need("docker-registry")
    store = place / "store"
    store.mkdir(parents=True)
    config = {
        "version": 0.1, "log": {"level": "error"}, "http": {"addr": f"127.0.0.1:{port}"},
        "storage": {"filesystem": {"rootdirectory": str(store)}, "delete": {"enabled": True}},
    }  # fmt: skip
    (place / "config.yml").write_text(json.dumps(config))  # YAML is a superset of JSON
    return _start("docker-registry", ["docker-registry", "serve", str(place / "config.yml")], place, port)


def own(place: Path, port: int) -> Registry:
    """This tree's registry server."""
    command = peers.python().parent / "corten"
    if not command.exists():
        raise Failed("not installed")
    store = place / "store"
    store.mkdir(parents=True)
    words = [str(command), "registry", "serve", "--listen", f"127.0.0.1:{port}", "--root", str(store)]
    return _start("Corten's registry", words, place, port)


def _start(name: str, command: Sequence[str], place: Path, port: int) -> Registry:
    with (place / "log").open("wb") as out:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return Registry(f"127.0.0.1:{port}", process, place / "store")
        time.sleep(0.02)
    process.kill()
    process.wait()
    raise Failed(f"{name} does not start: {commands.last_words((place / 'log').read_text(errors='replace'))}")
