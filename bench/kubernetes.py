"""Kubernetes' runtimes under comparison: containerd's CRI with runc, and `corten cri`. Each serves on a unix socket.

with containerd(place) as engine, engine.kubelet() as kubelet:
    pod = kubelet.up("web")      # RunPodSandbox, CreateContainer, StartContainer
    kubelet.down(pod)            # StopPodSandbox, RemovePodSandbox
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from bench import commands, image, peers, processes
from bench.measure import Failed
from bench.plugins import BINARIES, write_configuration
from corten.errors import CortenError
from corten.http2.channel import Channel, over_socket
from corten.http2.connection import Connection
from corten.http2.grpc import Status, unary
from corten.spec.protobuf import cri
from corten.spec.protobuf.codec import Message

M = TypeVar("M", bound=Message)
T = TypeVar("T")
START_SECONDS = 30
SECONDS = 120  # for one call
PAUSE = "bench/pause"  # containerd's image for a pod's first process; this one sleeps


@dataclass(frozen=True, slots=True)
class Engine:
    """One that serves. `parent` is the control group that pods are below, `logs` where containers write."""

    name: str
    socket: Path
    reaper: int
    parent: str
    logs: Path

    @contextlib.contextmanager
    def kubelet(self) -> Iterator[Kubelet]:
        with asyncio.Runner() as runner:
            channel = runner.run(_connect(self.socket))
            try:
                yield Kubelet(self, runner, channel)
            finally:
                channel.close()

    def processes(self) -> list[int]:
        """All that it started that is in no container."""
        return processes.engine(self.reaper)


async def _connect(path: Path) -> Channel:
    sock = socket.socket(socket.AF_UNIX)
    sock.connect(str(path))
    return await over_socket(sock.detach(), b"", Connection(client=True))


class Kubelet:
    """Calls over one connection. They raise Failed."""

    def __init__(self, engine: Engine, runner: asyncio.Runner, channel: Channel) -> None:
        self._engine, self._runner, self._channel = engine, runner, channel

    def up(self, name: str) -> str:
        """A pod with one container that runs; the pod's id."""
        return self._runner.run(self._up(name))

    def down(self, pod: str) -> None:
        """It and its container are gone."""
        self._runner.run(self._down(pod))

    def all_up(self, names: Sequence[str], at_a_time: int) -> list[str]:
        return self._runner.run(_each(self._up, names, at_a_time))

    def all_down(self, pods: Sequence[str], at_a_time: int) -> None:
        self._runner.run(_each(self._down, pods, at_a_time))

    def list(self) -> tuple[int, int]:
        """How many pods and containers there are: what a kubelet asks every second."""
        return self._runner.run(self._list())

    async def _up(self, name: str) -> str:
        config = cri.PodSandboxConfig(
            cri.PodSandboxMetadata(name, f"{name}-uid", "bench", 0),
            hostname=name,
            log_directory=str(self._engine.logs / name),
            linux=cri.LinuxPodSandboxConfig(cgroup_parent=f"{self._engine.parent}/{name}"),
        )
        made = await self._ask("RunPodSandbox", cri.RunPodSandboxRequest(config), cri.RunPodSandboxResponse)
        pod = made.pod_sandbox_id
        asked = cri.ContainerConfig(
            cri.ContainerMetadata("main", 0),
            cri.ImageSpec(image.NAME),
            command=["sleep", "100000"],
            log_path="main.log",
            linux=cri.LinuxContainerConfig(),
        )
        request = cri.CreateContainerRequest(pod, asked, config)
        container = await self._ask("CreateContainer", request, cri.CreateContainerResponse)
        await self._ask("StartContainer", cri.StartContainerRequest(container.container_id), cri.Empty)
        return pod

    async def _down(self, pod: str) -> None:
        await self._ask("StopPodSandbox", cri.StopPodSandboxRequest(pod), cri.Empty)
        await self._ask("RemovePodSandbox", cri.RemovePodSandboxRequest(pod), cri.Empty)

    async def _list(self) -> tuple[int, int]:
        pods = await self._ask("ListPodSandbox", cri.ListPodSandboxRequest(), cri.ListPodSandboxResponse)
        containers = await self._ask("ListContainers", cri.ListContainersRequest(), cri.ListContainersResponse)
        return len(pods.items), len(containers.containers)

    async def _ask(self, method: str, request: Message, answer: type[M]) -> M:
        path = f"/runtime.v1.RuntimeService/{method}"
        try:
            return answer.decode(await unary(self._channel, path, request.encode(), seconds=SECONDS))
        except (CortenError, Status, OSError) as error:
            raise Failed(f"{method}: {error}") from error


async def _each(work: Callable[[str], Awaitable[T]], items: Sequence[str], at_a_time: int) -> list[T]:
    turns = asyncio.Semaphore(at_a_time)

    async def one(item: str) -> T:
        async with turns:
            return await work(item)

    return await asyncio.gather(*map(one, items))


# ---------------------------------------------------------------------------------------------------------- the engines


@contextlib.contextmanager
def corten(place: Path, number: int, plugins: bool) -> Iterator[Engine]:
    """This tree's daemon with its `corten cri`; in its own default network, or in one by plugins."""
    of_plugins, settings = place.with_suffix(".net.d"), place.with_suffix(".json")
    if plugins:
        write_configuration(of_plugins, number)
    cri_ = {"start": True, "cni-conf-dir": str(of_plugins), "cni-bin-dir": str(BINARIES)}
    settings.write_text(json.dumps({"cri": cri_}))
    daemon = peers.cortend(place, number, "--config-file", str(settings))
    try:
        found = Engine("Corten", peers.state(place) / "cri.sock", daemon.reaper.pid, _parent(place), place / "logs")
        _wait_until_served(found, place / "log")
        yield found
    finally:
        daemon.stop()


@contextlib.contextmanager
def containerd(place: Path, number: int) -> Iterator[Engine]:
    """Debian's containerd with runc and its bridge plugin. Raises Failed where it is missing or does not start."""
    for program in ("containerd", "ctr", "runc"):
        peers.need(program)
    place.mkdir(parents=True)
    write_configuration(place / "net.d", number)
    path = place / "api.sock"
    (place / "config.toml").write_text(_settings(place, path))
    command = [
        sys.executable,
        str(Path(__file__).with_name("reaper.py")),
        "containerd",
        "-c",
        str(place / "config.toml"),
    ]
    with (place / "log").open("wb") as out:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
    engine = Engine("containerd", path, process.pid, _parent(place), place / "logs")
    try:
        _wait_until_served(engine, place / "log")
        for name in (image.NAME, PAUSE):
            tar = place / "image.tar"
            tar.write_bytes(image.docker_archive(place.parent / "rootfs", f"{name}:latest", ("sleep", "1000000")))
            commands.run(["ctr", "-a", str(path), "-n", "k8s.io", "images", "import", str(tar)])
        yield engine
    finally:
        processes.kill_all(process.pid)
        process.wait(10)


def _parent(place: Path) -> str:
    return f"/{peers.cgroup(place)}/{place.name}"


def _settings(place: Path, path: Path) -> str:
    cri_ = 'plugins."io.containerd.grpc.v1.cri"'
    return f"""version = 2
root = "{place / "root"}"
state = "{peers.state(place)}"
[grpc]
address = "{path}"
[{cri_}]
sandbox_image = "docker.io/{PAUSE}:latest"
restrict_oom_score_adj = true
disable_apparmor = true
[{cri_}.cni]
bin_dir = "{BINARIES}"
conf_dir = "{place / "net.d"}"
[{cri_}.containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
"""


def _wait_until_served(engine: Engine, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    said = "no socket"
    while time.monotonic() < deadline:
        try:
            with engine.kubelet() as kubelet:
                kubelet.list()
                return
        except (Failed, OSError) as error:
            said = str(error)
        time.sleep(0.05)
    raise Failed(f"{engine.name} does not start: {said}: {commands.last_words(log.read_text(errors='replace'))}")
