"""Kubernetes' side of `corten cri`: calls by grpclib, with messages of ours, and streams over HTTP."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TypeVar

from grpclib.client import Channel, Stream, UnaryStreamMethod, UnaryUnaryMethod

from corten.spec.protobuf import cri
from corten.spec.protobuf.codec import Message
from e2e_parts.cortend import IMAGE, Cortend
from e2e_parts.patience import PATIENCE, until
from grpc_bytes import Bytes

M = TypeVar("M", bound=Message)
RUNTIME, IMAGES = "/runtime.v1.RuntimeService/", "/runtime.v1.ImageService/"


class Face:
    """A `corten cri` of its own for a daemon. `logs` is a directory for those of containers, `handler` its pods'."""

    def __init__(self, daemon: Cortend, root: Path, handler: str = "") -> None:
        self.daemon, self.root, self.handler = daemon, root, handler
        self.socket, self.logs = root / "cri.sock", root / "logs"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "corten.cri", "--socket", str(self.socket), "-H", self.daemon.address]
        with (self.root / "cri.log").open("ab") as log:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        until(lambda: self.socket.is_socket() and b"listens" in (self.root / "cri.log").read_bytes())

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait(PATIENCE)
        (self.root / "cri.log").write_bytes(b"")

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            assert self._process.wait(PATIENCE) == 0, (self.root / "cri.log").read_text()

    async def ask(self, method: str, request: Message | None, answer: type[M], service: str = RUNTIME) -> M:
        channel = Channel(path=str(self.socket), codec=Bytes())
        try:
            call = UnaryUnaryMethod(channel, service + method, bytes, bytes)
            found = await call((request or cri.Empty()).encode(), timeout=PATIENCE)
            return answer.decode(found)
        finally:
            channel.close()

    @asynccontextmanager
    async def events(self) -> AsyncIterator[Stream[bytes, bytes]]:
        """Messages of GetContainerEvents, from now on: it has begun."""
        channel = Channel(path=str(self.socket), codec=Bytes())
        try:
            async with UnaryStreamMethod(channel, RUNTIME + "GetContainerEvents", bytes, bytes).open() as stream:
                await stream.send_message(b"", end=True)
                await stream.recv_initial_metadata()
                yield stream
        finally:
            channel.close()

    # ------------------------------------------------------------------------------------------------------- shorter

    async def pod(self, config: cri.PodSandboxConfig) -> str:
        made = await self.ask(
            "RunPodSandbox", cri.RunPodSandboxRequest(config, self.handler), cri.RunPodSandboxResponse
        )
        return made.pod_sandbox_id

    async def container(self, pod: str, config: cri.ContainerConfig, start: bool = True) -> str:
        request = cri.CreateContainerRequest(pod, config)
        id = (await self.ask("CreateContainer", request, cri.CreateContainerResponse)).container_id
        if start:
            await self.ask("StartContainer", cri.StartContainerRequest(id), cri.Empty)
        return id

    async def run(self, container: str, *command: str, seconds: int = 30) -> tuple[bytes, bytes, int]:
        request = cri.ExecSyncRequest(container, list(command), seconds)
        found = await self.ask("ExecSync", request, cri.ExecSyncResponse)
        return found.stdout, found.stderr, found.exit_code

    async def status(self, container: str) -> cri.ContainerStatus:
        request = cri.ContainerStatusRequest(container)
        found = (await self.ask("ContainerStatus", request, cri.ContainerStatusResponse)).status
        assert found is not None
        return found

    async def exited(self, container: str) -> cri.ContainerStatus:
        async with asyncio.timeout(PATIENCE):
            while (found := await self.status(container)).state != cri.State.EXITED:
                await asyncio.sleep(0.02)
        return found

    async def pod_status(self, pod: str) -> cri.PodSandboxStatus:
        request = cri.PodSandboxStatusRequest(pod)
        found = (await self.ask("PodSandboxStatus", request, cri.PodSandboxStatusResponse)).status
        assert found is not None
        return found

    async def remove(self, pod: str) -> None:
        await self.ask("StopPodSandbox", cri.StopPodSandboxRequest(pod), cri.Empty)
        await self.ask("RemovePodSandbox", cri.RemovePodSandboxRequest(pod), cri.Empty)


@contextmanager
def faced(daemon: Cortend, root: Path, handler: str = "") -> Iterator[Face]:
    """A face that is started. At the end there is none of its pods, also of a test that has failed."""
    face = Face(daemon, root, handler)
    face.start()
    try:
        yield face
    finally:
        for pod in daemon.get("/pods/json"):
            daemon.ask("DELETE", f"/pods/{pod['id']}")
        face.stop()


def own_network(root: Path, **more: object) -> Path:
    """A daemon.json for pods in the engine's own network, whatever this machine has of plugins."""
    path = root / "daemon.json"
    path.write_text(json.dumps({"cri": {"cni-conf-dir": str(root / "none")}, **more}))
    return path


def pod_config(face: Face, name: str = "web", pid: int = cri.NamespaceMode.CONTAINER) -> cri.PodSandboxConfig:
    context = cri.LinuxSandboxSecurityContext(cri.NamespaceOption(pid=pid))
    return cri.PodSandboxConfig(
        cri.PodSandboxMetadata(name, f"{name}-uid", "default", 0),
        hostname=f"{name}-host",
        log_directory=str(face.logs / name),
        labels={"app": name},
        linux=cri.LinuxPodSandboxConfig(cgroup_parent=f"{face.daemon.cgroup}/pod", security_context=context),
    )


def container_config(*words: str, name: str = "main") -> cri.ContainerConfig:
    return cri.ContainerConfig(
        cri.ContainerMetadata(name, 0),
        cri.ImageSpec(IMAGE),
        command=list(words),
        log_path=f"{name}.log",
        labels={"io.kubernetes.container.name": name},
    )


def private(path: Path) -> bool:
    return os.stat(path).st_mode & 0o077 == 0
