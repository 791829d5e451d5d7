"""kill -9 of `corten cri`, and of the daemon, in each call, and a client that goes: the next try does the rest.

What is done when a process is killed is left to chance, and whatever it is, the same has to hold: a pod is whole or
absent, a container runs once, and what is asked for again succeeds. CORTEN_SEED is printed when it fails.
"""

from __future__ import annotations

import asyncio
import os
import random
import secrets
import socket
import struct
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import pytest
from grpclib import GRPCError
from grpclib import Status as Code
from grpclib.exceptions import StreamTerminatedError

from corten.spec.protobuf import cri
from corten.spec.protobuf.codec import Message
from corten.supervisor import sockets
from e2e_parts.cortend import IMAGE, Cortend, short_root
from e2e_parts.patience import LIMIT, PATIENCE, until
from e2e_parts.pods import IMAGES, RUNTIME, Face, container_config, own_network, pod_config
from fault_parts.fragile import alive, kill, parent
from fault_parts.images import busybox
from image_parts import tars
from image_parts.held import held
from image_parts.stores import Made, digest

T = TypeVar("T")
pytestmark = pytest.mark.timeout(LIMIT)
VICTIMS = ["face", "daemon", "client"]
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

    async def ask(self, method: str, request: Message, service: str = RUNTIME) -> bool:
        """Whether the call was answered."""
        under_way = asyncio.ensure_future(self.face.ask(method, request, cri.Empty, service))
        await asyncio.sleep(self.chance.uniform(0, _SHORT))
        await self.kill([under_way])
        return await answered(under_way)

    async def kill(self, under_way: Sequence[asyncio.Task[cri.Empty]]) -> None:
        """While these calls are."""
        match self.victim:
            case "face":
                self.face.kill()
                self.face.start()
            case "daemon":
                await asyncio.to_thread(self.daemon.restart_killed)
            case "client":
                for each in under_way:
                    each.cancel()

    async def until_done(self, method: str, request: Message, service: str = RUNTIME) -> None:
        """As a kubelet asks: with a kill in the first call, and again until it is answered."""
        if not await self.ask(method, request, service):
            await patiently(lambda: self.face.ask(method, request, cri.Empty, service))

    def holders(self) -> int:
        return len(list((self.daemon.exec / "sandboxes").glob("*")))


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with short_root() as root:
        made = World(root)
        with made.daemon:
            made.daemon.start()
            made.daemon.warm_up()
            made.face.start()
            yield made
            made.face.stop()


async def answered(under_way: asyncio.Task[cri.Empty]) -> bool:
    try:
        await under_way
    except (*_GONE, asyncio.CancelledError):
        return False
    return True


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


@pytest.mark.parametrize("victim", VICTIMS)
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


def _looks(pod: str, container: str) -> list[tuple[str, str, Message]]:
    """All other calls: each looks, or gives out an address."""
    image = cri.ImageSpec(IMAGE)
    return [
        (RUNTIME, "Version", cri.VersionRequest()),
        (RUNTIME, "Status", cri.StatusRequest(verbose=True)),
        (RUNTIME, "RuntimeConfig", cri.Empty()),
        (RUNTIME, "UpdateRuntimeConfig", cri.Empty()),
        (RUNTIME, "UpdatePodSandboxResources", cri.UpdatePodSandboxResourcesRequest(pod)),
        (RUNTIME, "PodSandboxStatus", cri.PodSandboxStatusRequest(pod)),
        (RUNTIME, "ListPodSandbox", cri.ListPodSandboxRequest()),
        (RUNTIME, "PodSandboxStats", cri.PodSandboxStatsRequest(pod)),
        (RUNTIME, "ListPodSandboxStats", cri.ListPodSandboxStatsRequest()),
        (RUNTIME, "ContainerStatus", cri.ContainerStatusRequest(container)),
        (RUNTIME, "ListContainers", cri.ListContainersRequest()),
        (RUNTIME, "ContainerStats", cri.ContainerStatsRequest(container)),
        (RUNTIME, "ListContainerStats", cri.ListContainerStatsRequest()),
        (RUNTIME, "ListMetricDescriptors", cri.Empty()),
        (RUNTIME, "ListPodSandboxMetrics", cri.Empty()),
        (RUNTIME, "Exec", cri.ExecRequest(container, ["true"], stdout=True)),
        (RUNTIME, "Attach", cri.AttachRequest(container, stdout=True)),
        (RUNTIME, "PortForward", cri.PortForwardRequest(pod, [80])),
        (IMAGES, "ListImages", cri.ListImagesRequest()),
        (IMAGES, "ImageStatus", cri.ImageStatusRequest(image)),
        (IMAGES, "ImageFsInfo", cri.Empty()),
    ]


@pytest.mark.parametrize("victim", VICTIMS)
async def test_calls_that_look(world: World, victim: str) -> None:
    """All at the same time: each is answered or fails, and then answered; a stream of events ends."""
    face, world.victim = world.face, victim
    pod = await face.pod(pod_config(face, "looked-at"))
    container = await face.container(pod, container_config("sleep", "1000"))
    before = await face.status(container)
    calls = _looks(pod, container)
    async with face.events() as events:
        under_way = [
            asyncio.ensure_future(face.ask(method, asked, cri.Empty, service)) for service, method, asked in calls
        ]
        await asyncio.sleep(world.chance.uniform(0, _SHORT))
        await world.kill(under_way)
        for each in under_way:
            await answered(each)
        if victim == "client":
            await events.cancel()
        else:
            async with asyncio.timeout(PATIENCE):
                with pytest.raises(_GONE):
                    while await events.recv_message() is not None:
                        pass
                    await events.recv_trailing_metadata()
    for service, method, asked in calls:
        await face.ask(method, asked, cri.Empty, service)
    after = await face.status(container)
    assert (after.state, after.started_at) == (cri.State.RUNNING, before.started_at)
    await face.remove(pod)


@pytest.mark.parametrize("victim", VICTIMS)
async def test_calls_for_images(world: World, victim: str) -> None:
    """In the middle of a layer: the next try goes on from there, and one id names the image everywhere."""
    face, world.victim = world.face, victim
    image = Made([tars.archive(*busybox(), tars.file("big", os.urandom(8 << 20)))])
    layer, content = digest(image.layers[0]), world.daemon.data / "content"
    blobs, parts = content / "blobs/sha256", content / "ingest"
    stored = sorted(os.listdir(blobs))
    part = parts / f"{layer.replace(':', '-')}.part"
    with held() as registry:
        registry.add("1", image)
        registry.hold = 5 << 20
        name = cri.ImageSpec(f"{registry.host}/kept/image:1")
        pull = cri.PullImageRequest(name)
        under_way = asyncio.ensure_future(face.ask("PullImage", pull, cri.Empty, IMAGES))
        await asyncio.to_thread(until, lambda: part.exists() and part.stat().st_size >= 2 << 20)
        await world.kill([under_way])
        registry.hold = None
        registry.go.set()
        await answered(under_way)
        made = await patiently(lambda: face.ask("PullImage", pull, cri.PullImageResponse, IMAGES))
        first, *again = registry.ranges(layer)
        assert first == "" and all(int(wanted.strip("bytes=-")) >= 2 << 20 for wanted in again), again
        await _one_id(face, name, made.image_ref, digest(image.config))
        await world.until_done("RemoveImage", cri.RemoveImageRequest(name), IMAGES)
        assert await _image(face, name) is None
        # what a killed daemon was about to erase is kept for a day, as what it was about to pull is
        assert (await face.ask("PullImage", pull, cri.PullImageResponse, IMAGES)).image_ref == made.image_ref
    await face.ask("RemoveImage", cri.RemoveImageRequest(name), cri.Empty, IMAGES)
    until(lambda: sorted([*os.listdir(blobs), *os.listdir(parts)]), lambda found: found == stored)


async def _image(face: Face, name: cri.ImageSpec) -> cri.Image | None:
    return (await face.ask("ImageStatus", cri.ImageStatusRequest(name), cri.ImageStatusResponse, IMAGES)).image


async def _one_id(face: Face, name: cri.ImageSpec, pulled: str, id: str) -> None:
    """As the kubelet compares them, to collect images that no container has."""
    shown = await _image(face, name)
    assert shown is not None and (shown.id, shown.repo_tags, shown.pinned) == (id, [name.image], False)
    listed = (await face.ask("ListImages", None, cri.ListImagesResponse, IMAGES)).images
    assert [each for each in listed if each.id == id] == [shown] and pulled == id
    pod = await face.pod(pod_config(face, "of-image"))
    asked = container_config("sleep", "1000")
    asked.image = cri.ImageSpec(id)
    status = await face.status(await face.container(pod, asked))
    assert status.image_ref == status.image_id == id
    await face.remove(pod)


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
