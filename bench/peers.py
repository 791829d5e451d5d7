"""The engines under comparison, each private: dockerd, cortend, podman, runc.

A daemon is started under a reaper, so that everything it leaves to init is still ours to count and to end. `absent`
engines keep their reason; a work then shows it in its row.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench import commands, image, processes, sandbox
from bench.measure import Failed
from bench.wire import Connection

START_SECONDS = 30
ROOT = Path(__file__).parents[1]


@dataclass(slots=True)
class Daemon:
    """A running daemon with the image `bench/busybox` in it."""

    name: str
    socket: Path
    log: Path
    reaper: subprocess.Popen[bytes]
    environ: Mapping[str, str] = field(default_factory=dict)  # for a client that connects to it

    def connect(self) -> Connection:
        return Connection(self.socket)

    def processes(self) -> list[int]:
        """The daemon and everything it started that is no container."""
        return processes.engine(self.reaper.pid)

    def stop(self) -> None:
        """End its running containers, then the daemon, then whatever is left of it."""
        with contextlib.suppress(OSError, Failed), self.connect() as api:
            for container in api.ask("GET", "/containers/json"):
                api.raw("DELETE", f"/containers/{container['Id']}?force=1")
        started = processes.descendants(self.reaper.pid, processes.parents())
        if started:
            os.kill(started[0], signal.SIGTERM)
        deadline = time.monotonic() + 20
        while self.reaper.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
            if started and started[0] not in processes.parents():
                break
        processes.kill_all(self.reaper.pid)
        self.reaper.wait(10)


def dockerd(place: Path) -> Daemon:
    """Debian's dockerd with everything under `place`. Raises Failed where it is missing or does not start."""
    need("dockerd")
    flags = [
        "--data-root", str(place / "data"), "--exec-root", str(state(place)), "--pidfile", str(place / "pid"),
        "--bip", "172.29.1.1/24", "--cgroup-parent", f"/{cgroup(place)}/dockerd",
    ]  # fmt: skip
    return _start("dockerd", ["dockerd", *flags], place)


def cortend(place: Path, number: int = 2, *more: str) -> Daemon:
    """This tree's daemon, the same way; `number` is in its bridge's name and address, `more` are flags of its own."""
    command = python().parent / "cortend"
    if not command.exists():
        raise Failed("not installed")
    flags = [
        "--data-root", str(place / "data"), "--exec-root", str(state(place)), "--pidfile", str(place / "pid"),
        "--bridge", f"cortenbench{number}", "--bip", f"172.29.{number}.1/24",
        "--cgroup-parent", f"/{cgroup(place)}/corten", *more,
    ]  # fmt: skip
    return _start("Corten", [str(command), *flags], place)


def python() -> Path:
    """The interpreter of Corten's virtual environment: the one that the program was called with."""
    return Path(os.environ.get(sandbox.PYTHON, sys.executable))


def own_client() -> list[str]:
    """Corten's command line as the launcher script in the tree starts it, without that script's shell."""
    return [str(python()), "-I", "-S", str(ROOT / "scripts/corten.py")]


def docker_client() -> str:
    """Docker's own client. Raises Failed where it is missing."""
    return need("docker")


def _start(name: str, command: Sequence[str], place: Path) -> Daemon:
    place.mkdir(parents=True)
    socket, log = place / "api.sock", place / "log"
    reaper = [sys.executable, str(Path(__file__).with_name("reaper.py"))]
    with log.open("wb") as out:
        process = subprocess.Popen(
            [*reaper, *command, "-H", f"unix://{socket}"], stdin=subprocess.DEVNULL, stdout=out, stderr=out
        )
    environ = dict(os.environ, DOCKER_HOST=f"unix://{socket}", CORTEN_HOST=f"unix://{socket}")
    daemon = Daemon(name, socket, log, process, environ)
    try:
        _wait_until_ready(daemon)
        with daemon.connect() as api:
            api.ask("POST", "/images/load?quiet=1", _archive(place))
            api.ask("GET", f"/images/{image.NAME}/json")
    except (Failed, OSError) as error:
        daemon.stop()
        raise Failed(f"does not start: {error}") from error
    return daemon


def _wait_until_ready(daemon: Daemon) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError, Failed), daemon.connect() as api:
            api.ask("GET", "/_ping")
            return
        if daemon.reaper.poll() is not None:
            break
        time.sleep(0.02)
    lines = daemon.log.read_text(errors="replace").strip().splitlines()
    raise Failed(lines[-1] if lines else "no word from it")


@dataclass(frozen=True, slots=True)
class Podman:
    """Podman without a daemon: `command` is what goes before the subcommand."""

    command: tuple[str, ...]
    parent: str

    def run(self, *words: str) -> str:
        """`podman run WORDS` on the image."""
        return commands.run([*self.command, "run", "--cgroup-parent", self.parent, *words])


def podman(place: Path) -> Podman:
    """Debian's podman with its own stores and the image. Raises Failed where it is missing or refuses.

    Its runtime is runc, as dockerd's is: crun refuses the hybrid layout of control groups.
    """
    need("podman")
    place.mkdir(parents=True)
    command = (
        "podman", "--root", str(place / "root"), "--runroot", str(state(place) / "run"),
        "--tmpdir", str(state(place) / "tmp"),
        "--cgroup-manager", "cgroupfs", "--events-backend", "file", "--runtime", "runc",
    )  # fmt: skip
    tar = place / "image.tar"
    tar.write_bytes(_archive(place))
    commands.run([*command, "load", "-q", "-i", str(tar)])
    return Podman(command, f"/{cgroup(place)}/podman")


@dataclass(frozen=True, slots=True)
class Runc:
    """A bundle for bare runc: no image, no network set up, no log, no process that keeps its state."""

    root: Path
    bundle: Path

    def run(self, name: str) -> str:
        return commands.run(["runc", "--root", str(self.root), "run", "--bundle", str(self.bundle), name])


def runc(place: Path) -> Runc:
    """runc's own default configuration, `true` in place of a shell. Raises Failed where runc is missing."""
    need("runc")
    bundle = place / "bundle"
    bundle.mkdir(parents=True)
    (bundle / "rootfs").symlink_to(place.parent / "rootfs")
    commands.run(["runc", "spec", "--bundle", str(bundle)])
    config = bundle / "config.json"
    spec = json.loads(config.read_text())
    spec["process"] |= {"terminal": False, "args": ["true"]}
    spec["root"]["path"] = str(place.parent / "rootfs")
    spec["linux"]["cgroupsPath"] = f"/{cgroup(place)}/runc"
    config.write_text(json.dumps(spec))
    return Runc(state(place), bundle)


def need(command: str) -> str:
    """Where the program is. Raises Failed where it is not installed."""
    found = shutil.which(command)
    if found is None:
        raise Failed("not installed")
    return found


def _archive(place: Path) -> bytes:
    return image.docker_archive(place.parent / "rootfs", f"{image.NAME}:latest")


def state(place: Path) -> Path:
    """Where an engine keeps what a reboot may take: under /run, as by default."""
    return Path("/run/bench") / place.name


def cgroup(place: Path) -> str:
    return sandbox.cgroup_name(place.parent)
