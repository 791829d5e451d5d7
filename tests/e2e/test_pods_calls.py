"""What a kubelet asks beside a pod's life: counters, events, a resize, devices, a score; and calls that it gives up."""

from __future__ import annotations

import asyncio
import json
import os
import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from grpclib import GRPCError
from grpclib import Status as Code

from corten.spec.protobuf import cri
from corten.spec.protobuf.codec import Message
from e2e_parts.cortend import CORTEND, IMAGE, Cortend, short_root
from e2e_parts.patience import PATIENCE
from e2e_parts.pods import IMAGES, Face, container_config, own_network, pod_config

_DEVICE = {"path": "/dev/mine", "hostPath": "/dev/null", "permissions": "r"}
_RUNC = shutil.which("runc", path="/usr/sbin:/usr/bin")
_EDITS = {"env": ["DEVICE=first"], "deviceNodes": [_DEVICE]}


@pytest.fixture(scope="module")
def daemon() -> Iterator[Cortend]:
    """Without CAP_SYS_RESOURCE, whatever this machine has, and with devices by CDI."""
    with short_root() as root:
        (root / "cdi").mkdir()
        devices = [{"name": "first", "containerEdits": _EDITS}]
        kind = {"cdiVersion": "0.8.0", "kind": "vendor.com/class", "devices": devices}
        (root / "cdi/vendor.json").write_text(json.dumps(kind))
        settings = own_network(root, runtimes={"beside": {"path": _RUNC}} if _RUNC else {})
        flags = ["--config-file", str(settings), "--cdi-spec-dir", str(root / "cdi")]
        program = ["setpriv", "--bounding-set=-sys_resource", str(CORTEND)]
        with Cortend(root, *flags, program=program) as made:
            made.start()
            made.warm_up()
            yield made


async def test_counters(face: Face) -> None:
    pod = await face.pod(pod_config(face))
    asked = container_config("sh", "-c", "head -c 1000000 /dev/zero > /written; exec sleep 1000")
    container = await face.container(pod, asked)
    await face.run(container, "sh", "-c", "until [ $(wc -c < /written) = 1000000 ]; do sleep 0.02; done")
    ended = await face.container(pod, container_config("true", name="ended"))
    await face.exited(ended)
    own = await face.ask("ContainerStats", cri.ContainerStatsRequest(container), cri.ContainerStatsResponse)
    stats = own.stats
    assert stats is not None and stats.attributes is not None and stats.attributes.id == container
    assert stats.cpu is not None and stats.cpu.usage_core_nano_seconds is not None
    assert stats.memory is not None and stats.memory.working_set_bytes is not None
    assert stats.writable_layer is not None and stats.writable_layer.used_bytes is not None
    assert stats.cpu.usage_core_nano_seconds.value > 0 and stats.memory.working_set_bytes.value > 0
    assert stats.writable_layer.used_bytes.value >= 1_000_000
    several = await face.ask("ListContainerStats", None, cri.ListContainerStatsResponse)
    assert {each.attributes.id for each in several.stats if each.attributes} == {container, ended}
    of_pods = await face.ask("ListPodSandboxStats", None, cri.ListPodSandboxStatsResponse)
    assert [each.attributes.id for each in of_pods.stats if each.attributes] == [pod]

    described = await face.ask("ListMetricDescriptors", None, cri.ListMetricDescriptorsResponse)
    labels = {each.name: len(each.label_keys) for each in described.descriptors}
    (found,) = (await face.ask("ListPodSandboxMetrics", None, cri.ListPodSandboxMetricsResponse)).pod_metrics
    (metrics,) = found.container_metrics
    assert (found.pod_sandbox_id, metrics.container_id) == (pod, container)
    every = [*found.metrics, *metrics.metrics]
    assert {each.name for each in every} == labels.keys()
    assert all(len(each.label_values) == labels[each.name] for each in every), "as they are described"
    known = {each.name: each.value.value for each in every if each.value is not None}
    assert known["container_processes"] == 1 and known["container_fs_usage_bytes"] >= 1_000_000
    await face.remove(pod)


async def test_every_subscriber_has_the_events(face: Face) -> None:
    """With the status of the pod, and of all its containers, at that time."""

    async def listen(begun: asyncio.Event) -> list[tuple[str, int]]:
        seen: list[tuple[str, int]] = []
        async with face.events() as stream:
            begun.set()
            while not seen or seen[-1][1] != cri.Event.DELETED or seen[-1][0] != pod:
                event = cri.ContainerEventResponse.decode(await stream.recv_message() or b"")
                seen.append((event.container_id, event.container_event_type))
                status = event.pod_sandbox_status
                assert event.container_event_type == cri.Event.DELETED or (status is not None and status.id == pod)
            await stream.cancel()
        return seen

    pod, begun = "", [asyncio.Event() for _ in range(3)]
    async with asyncio.timeout(PATIENCE):
        listening = [asyncio.ensure_future(listen(each)) for each in begun]
        for each in begun:
            await each.wait()
        pod = await face.pod(pod_config(face))
        container = await face.container(pod, container_config("true"))
        await face.exited(container)
        await face.remove(pod)
        first, *others = await asyncio.gather(*listening)
    assert all(other == first for other in others)
    assert [event for id, event in first if id == container] == [0, 1, 2, 3]


async def test_a_resize_in_place(face: Face) -> None:
    pod = await face.pod(pod_config(face))
    asked = container_config("sleep", "1000")
    asked.linux = cri.LinuxContainerConfig(
        cri.LinuxContainerResources(cpu_period=100_000, cpu_quota=50_000, memory_limit_in_bytes=64 << 20)
    )
    container = await face.container(pod, asked)
    before = await face.status(container)
    for quota, memory in ((20_000, 96 << 20), (80_000, 32 << 20)):
        more = cri.LinuxContainerResources(cpu_period=100_000, cpu_quota=quota, memory_limit_in_bytes=memory)
        await face.ask("UpdateContainerResources", cri.UpdateContainerResourcesRequest(container, more), cri.Empty)
        has = (await face.status(container)).resources
        assert has is not None and has.linux is not None
        assert (has.linux.cpu_quota, has.linux.memory_limit_in_bytes) == (quota, memory)
        counted = face.daemon.get(f"/containers/{container}/stats?stream=0&one-shot=1")
        assert counted["memory_stats"]["limit"] == memory, "of its control group"
    after = await face.status(container)
    assert (after.state, after.started_at) == (cri.State.RUNNING, before.started_at), "it was not started again"
    await face.ask("UpdatePodSandboxResources", cri.UpdatePodSandboxResourcesRequest(pod), cri.Empty)
    await face.remove(pod)


async def test_devices_by_cdi(face: Face) -> None:
    pod = await face.pod(pod_config(face))
    asked = container_config("sleep", "1000")
    asked.cdi_devices = [cri.CDIDevice("vendor.com/class=first")]
    container = await face.container(pod, asked)
    found = await face.run(container, "sh", "-c", "stat -c %t:%T /dev/mine; tr '\\0' '\\n' < /proc/1/environ")
    lines = found[0].decode().splitlines()
    assert lines[0] == "1:3" and "DEVICE=first" in lines
    asked = container_config("true", name="absent")
    asked.cdi_devices = [cri.CDIDevice("vendor.com/class=absent")]
    with pytest.raises(GRPCError, match=r"unresolvable CDI devices vendor\.com/class=absent"):
        await face.container(pod, asked)
    await face.remove(pod)


async def test_containers_by_runc(face: Face) -> None:
    """By the handler that its RuntimeClass names; all else is the pod's, as with our own runtime."""
    if not _RUNC:
        pytest.skip("no runc (Debian package runc)")
    status = await face.ask("Status", cri.StatusRequest(), cri.StatusResponse)
    assert "beside" in {each.name for each in status.runtime_handlers}
    face.handler = "beside"
    pod = await face.pod(pod_config(face, pid=cri.NamespaceMode.POD))
    assert (await face.pod_status(pod)).runtime_handler == "beside"
    context = cri.LinuxContainerSecurityContext(namespace_options=cri.NamespaceOption(pid=cri.NamespaceMode.POD))
    made = []
    for name, script in (("one", "echo one > /dev/shm/x; exec sleep 1001"), ("two", "exec sleep 1002")):
        asked = container_config("sh", "-c", script, name=name)
        asked.linux = cri.LinuxContainerConfig(security_context=context)
        made.append(await face.container(pod, asked))
    assert face.daemon.get(f"/containers/{made[0]}/json")["HostConfig"]["Runtime"] == "beside"
    await face.run(made[1], "sh", "-c", "until ps | grep -q 'sleep 100[1]'; do sleep 0.02; done")
    assert await face.run(made[1], "sh", "-c", "cat /dev/shm/x; hostname; exit 7") == (b"one\nweb-host\n", b"", 7)
    await face.remove(pod)


async def test_a_score_below_what_may_be_set(face: Face) -> None:
    """As a kubelet asks for pods whose resources are guaranteed."""
    lowest = int(Path("/proc/self/oom_score_adj").read_text())
    pod = await face.pod(pod_config(face))
    asked = container_config("sleep", "1000")
    asked.linux = cri.LinuxContainerConfig(cri.LinuxContainerResources(oom_score_adj=-997))
    container = await face.container(pod, asked)
    assert (await face.run(container, "cat", "/proc/1/oom_score_adj"))[0] == b"%d\n" % max(-997, lowest)
    if lowest > -997:
        assert f"oom_score_adj is {lowest}, the lowest this daemon may set, not -997" in face.daemon.log.read_text()
    await face.remove(pod)


async def test_links_of_host_paths(face: Face, tmp_path: Path) -> None:
    """Followed when the container is made: what they lead to at its start is not what was asked for."""
    for name in ("asked", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "which").write_text(name)
    link = tmp_path / "link"
    link.symlink_to("asked")
    pod = await face.pod(pod_config(face))
    asked = container_config("sleep", "1000")
    asked.mounts = [cri.Mount("/mnt", str(link))]
    container = await face.container(pod, asked, start=False)
    link.unlink()
    link.symlink_to("other")
    await face.ask("StartContainer", cri.StartContainerRequest(container), cri.Empty)
    assert (await face.run(container, "cat", "/mnt/which"))[0] == b"asked"
    (mount,) = (await face.status(container)).mounts
    assert (mount.container_path, mount.host_path) == ("/mnt", str(link)), "as it was given"
    await face.remove(pod)


async def test_ids_that_are_unknown(face: Face) -> None:
    """Also such as would be another path of the daemon's."""
    made = {"Image": IMAGE, "Cmd": ["true"], "HostConfig": {"NetworkMode": "none"}}
    other = face.daemon.ask("POST", "/containers/create", made)[1]["Id"]
    limits = cri.LinuxContainerResources(cpu_shares=5)
    calls: list[tuple[str, Message]] = [
        ("UpdateContainerResources", cri.UpdateContainerResourcesRequest("gone", limits)),
        ("UpdatePodSandboxResources", cri.UpdatePodSandboxResourcesRequest("gone")),
        ("ContainerStats", cri.ContainerStatsRequest("gone")),
        ("PodSandboxStats", cri.PodSandboxStatsRequest("gone")),
        ("Exec", cri.ExecRequest("gone", ["true"], stdout=True)),
        ("Attach", cri.AttachRequest("gone", stdout=True)),
        ("PortForward", cri.PortForwardRequest("gone", [80])),
        ("ContainerStatus", cri.ContainerStatusRequest("")),
        ("ContainerStatus", cri.ContainerStatusRequest("../../info")),
        ("ContainerStatus", cri.ContainerStatusRequest(other)),
        ("PodSandboxStatus", cri.PodSandboxStatusRequest("../containers")),
        ("PodSandboxStatus", cri.PodSandboxStatusRequest(f"./../containers/{other}")),
    ]
    for method, request in calls:
        with pytest.raises(GRPCError) as raised:
            await face.ask(method, request, cri.Empty)
        assert raised.value.status is Code.NOT_FOUND, method
    await face.ask("RemovePodSandbox", cri.RemovePodSandboxRequest(f"../containers/{other}"), cri.Empty)
    await face.ask("RemoveContainer", cri.RemoveContainerRequest(other), cri.Empty)
    assert face.daemon.get(f"/containers/{other}/json")["Id"] == other, "it is no pod, and in none"
    image = cri.ImageStatusRequest(cri.ImageSpec(f"../containers/{other}"))
    assert (await face.ask("ImageStatus", image, cri.ImageStatusResponse, IMAGES)).image is None
    assert face.daemon.ask("DELETE", f"/containers/{other}")[0] == 204


async def test_a_command_whose_client_leaves(face: Face) -> None:
    """Before, while and after it is started: its process does not go on."""
    chance = random.Random(int(os.environ.get("CORTEN_SEED", "16")))
    pod = await face.pod(pod_config(face))
    container = await face.container(pod, container_config("sleep", "1000"))
    for _ in range(20):
        running = asyncio.ensure_future(face.run(container, "sleep", "4321", seconds=0))
        await asyncio.sleep(chance.uniform(0, 0.05))  # not to wait for something: when it leaves is to differ
        running.cancel()
        await asyncio.wait([running])
    async with asyncio.timeout(PATIENCE):
        while b"sleep 4321" in (await face.run(container, "ps"))[0]:
            await asyncio.sleep(0.05)
    await face.remove(pod)
