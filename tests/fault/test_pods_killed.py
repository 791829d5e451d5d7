"""kill -9 of `corten cri`, and of the daemon, in each call, and a client that goes: the next try does the rest.

What is done when a process is killed is left to chance, and whatever it is, the same has to hold: a pod is whole or
absent, a container runs once, and what is asked for again succeeds. CORTEN_SEED is printed when it fails.
"""

from __future__ import annotations

import asyncio
import os
import random
import secrets
import shutil
import socket
import struct
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest
from grpclib import GRPCError
from grpclib import Status as Code
from grpclib.exceptions import StreamTerminatedError

from corten.spec.protobuf import cri
from corten.spec.protobuf.codec import Message
from corten.supervisor import sockets
from e2e_parts.cortend import Cortend
from e2e_parts.patience import LIMIT, PATIENCE, until
from e2e_parts.pods import Face, container_config, own_network, pod_config
from fault_parts.fragile import alive, kill, parent

T = TypeVar("T")
pytestmark = pytest.mark.timeout(LIMIT)
_SHORT = 0.06  # seconds: longer than any of the calls takes on a machine that has nothing else to do
_GONE = (GRPCError, StreamTerminatedError, OSError, TimeoutError)


class World:
    """`ask` is one call with a kill in it."""

    def __init__(self, root: Path) -> None:
        self.daemon = Cortend(root, "--config-file", str(own_network(root)))
        self.face = Face(self.daemon, root)
        self.shown = root / "shown"
        self.shown.mkdir()
        self.victim = ""
        seed = int(os.environ.get("CORTEN_SEED", "0")) or secrets.randbits(32)
        print(f"CORTEN_SEED={seed}")
        self.chance = random.Random(seed)

    async def ask(self, method: str, request: Message) -> bool:
        """Whether the call was answered."""
        under_way = asyncio.ensure_future(self.face.ask(method, request, cri.Empty))
        await asyncio.sleep(self.chance.uniform(0, _SHORT))
        match self.victim:
            case "face":
                self.face.kill()
                self.face.start()
            case "daemon":
                await asyncio.to_thread(self.daemon.restart_killed)
            case "client":
                under_way.cancel()
        try:
            await under_way
        except (*_GONE, asyncio.CancelledError):
            return False
        return True

    async def until_done(self, method: str, request: Message) -> None:
        """As a kubelet asks: with a kill in the first call, and again until it is answered."""
        if not await self.ask(method, request):
            await patiently(lambda: self.face.ask(method, request, cri.Empty))

    def holders(self) -> int:
        return len(list((self.daemon.exec / "sandboxes").glob("*")))


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    root = Path(tempfile.mkdtemp(prefix="ce-"))
    made = World(root)
    try:
        made.daemon.start()
        made.daemon.warm_up()
        made.face.start()
        yield made
        made.face.stop()
    finally:
        made.daemon.stop()
        shutil.rmtree(root, ignore_errors=True)


async def pods(face: Face) -> list[cri.PodSandbox]:
    return (await face.ask("ListPodSandbox", None, cri.ListPodSandboxResponse)).items


async def containers(face: Face) -> list[cri.Container]:
    return (await face.ask("ListContainers", None, cri.ListContainersResponse)).containers


async def patiently(call: Callable[[], Awaitable[T]]) -> T:
    """Again while the daemon is still at what `corten cri` has asked for before it was killed."""
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                return await call()
            except GRPCError as error:
                if error.status not in (Code.ALREADY_EXISTS, Code.FAILED_PRECONDITION):
                    raise
            await asyncio.sleep(0.05)


async def made(there: Callable[[], Awaitable[list[str]]], make: Callable[[], Awaitable[str]]) -> str:
    """What there is of it, or another one: never two."""

    async def look() -> str:
        found = await there()
        assert len(found) <= 1
        return found[0] if found else await make()

    return await patiently(look)


@pytest.mark.parametrize("victim", ["face", "daemon", "client"])
async def test_each_call(world: World, victim: str) -> None:
    face, world.victim = world.face, victim
    config = pod_config(face)

    async def ready_pods() -> list[str]:
        return [each.id for each in await pods(face) if each.state == cri.PodState.READY]

    await world.ask("RunPodSandbox", cri.RunPodSandboxRequest(config))
    pod = await made(ready_pods, lambda: face.pod(config))
    status = await face.pod_status(pod)
    assert status.network is not None and status.network.ip, "a pod is whole, or absent"
    until(lambda: world.holders() == 1)

    script = "echo begun >> /shown/begun; exec sleep 1000"
    asked = container_config("sh", "-c", script)
    asked.mounts = [cri.Mount("/shown", str(world.shown))]

    async def all_containers() -> list[str]:
        return [each.id for each in await containers(face)]

    await world.ask("CreateContainer", cri.CreateContainerRequest(pod, asked))
    container = await made(all_containers, lambda: face.container(pod, asked, start=False))
    assert (await face.status(container)).state == cri.State.CREATED

    (world.shown / "begun").unlink(missing_ok=True)
    await world.ask("StartContainer", cri.StartContainerRequest(container))

    async def start() -> None:
        if (await face.status(container)).state == cri.State.CREATED:
            await face.ask("StartContainer", cri.StartContainerRequest(container), cri.Empty)

    await patiently(start)
    assert (await face.status(container)).state == cri.State.RUNNING
    until(lambda: (world.shown / "begun").exists() and (world.shown / "begun").read_text() == "begun\n")

    more = cri.LinuxContainerResources(memory_limit_in_bytes=256 << 20)
    await world.until_done("UpdateContainerResources", cri.UpdateContainerResourcesRequest(container, more))
    has = (await face.status(container)).resources
    assert has is not None and has.linux is not None and has.linux.memory_limit_in_bytes == 256 << 20
    await world.ask("ExecSync", cri.ExecSyncRequest(container, ["true"], 30))
    assert (await face.run(container, "echo", "still")) == (b"still\n", b"", 0)
    await world.until_done("ReopenContainerLog", cri.ReopenContainerLogRequest(container))
    assert (world.shown / "begun").read_text() == "begun\n", "it was started once"

    await world.until_done("StopContainer", cri.StopContainerRequest(container, 0))
    assert (await face.exited(container)).exit_code == 137
    await world.until_done("RemoveContainer", cri.RemoveContainerRequest(container))
    assert not await containers(face)
    await face.container(pod, asked)
    await world.until_done("StopPodSandbox", cri.StopPodSandboxRequest(pod))
    assert (await face.pod_status(pod)).state == cri.PodState.NOT_READY
    assert [each.state for each in await containers(face)] == [cri.State.EXITED]
    await world.until_done("RemovePodSandbox", cri.RemovePodSandboxRequest(pod))
    assert not await pods(face) and not await containers(face)
    until(lambda: world.holders() == 0)
    until(lambda: not list((world.daemon.data / "containers").glob("*")))


async def test_the_supervisor_of_one_container(world: World) -> None:
    """It ends; the pod and its other container go on, and another one can take its place."""
    face = world.face
    pod = await face.pod(pod_config(face, "stands"))
    ends, stays = [
        await face.container(pod, container_config("sleep", "1000", name=name)) for name in ("ends", "stays")
    ]
    first, other = [world.daemon.get(f"/containers/{id}/json")["State"]["Pid"] for id in (ends, stays)]
    kill(parent(first))
    ended = await face.exited(ends)
    assert ended.exit_code == 137 and "supervisor was killed" in ended.message
    until(lambda: not alive(first))
    assert (await face.pod_status(pod)).state == cri.PodState.READY
    again = await face.container(pod, container_config("sleep", "1000", name="again"))
    for id in (stays, again):
        assert await face.run(id, "echo", "here") == (b"here\n", b"", 0)
    assert alive(other)
    await face.remove(pod)
    assert not await pods(face) and not await containers(face)


def _holder(world: World, pod: str) -> int:
    """The process that keeps the pod's namespaces."""
    directory = os.open(world.daemon.exec / "sandboxes" / pod, os.O_PATH | os.O_DIRECTORY)
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(f"/proc/self/fd/{directory}/{sockets.HOLDER}")
        pid, _, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    os.close(directory)
    return int(pid)


@pytest.mark.parametrize("daemon", ["is there", "is killed"])
async def test_the_holder_of_a_pod(world: World, daemon: str) -> None:
    """The pod is not ready any more, and what the kubelet does then succeeds: stop, remove, and a new one."""
    face = world.face
    config = pod_config(face, "held")
    pod = await face.pod(config)
    container = await face.container(pod, container_config("sleep", "1000"))
    kill(_holder(world, pod))
    if daemon == "is killed":
        await asyncio.to_thread(world.daemon.restart_killed)
    async with asyncio.timeout(PATIENCE):
        while (await face.pod_status(pod)).state == cri.PodState.READY:
            await asyncio.sleep(0.02)
    with pytest.raises(GRPCError):
        await face.container(pod, container_config("sleep", "1000", name="late"))
    await face.ask("StopPodSandbox", cri.StopPodSandboxRequest(pod), cri.Empty)
    assert (await face.status(container)).state == cri.State.EXITED
    asked = container_config("sleep", "1000")
    assert config.metadata and asked.metadata
    config.metadata.attempt, asked.metadata.attempt = 1, 1
    again = await face.pod(config)
    assert await face.run(await face.container(again, asked), "echo", "up") == (b"up\n", b"", 0)
    for id in (pod, again):
        await face.remove(id)
    assert not await pods(face) and not await containers(face)
    until(lambda: world.holders() == 0)
