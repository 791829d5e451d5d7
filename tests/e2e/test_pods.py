"""Pods as the kubelet has them, by way of `corten cri`."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from grpclib import GRPCError
from grpclib import Status as Code

from corten.network.sysctls import bridges_are_filtered
from corten.spec.protobuf import cri
from corten.spec.protobuf.codec import Message
from corten.supervisor.sockets import HOLDER
from e2e_parts.cortend import IMAGE, Cortend, short_root
from e2e_parts.patience import PATIENCE
from e2e_parts.pods import IMAGES, Face, container_config, own_network, pod_config, private


@pytest.fixture(scope="module")
def daemon() -> Iterator[Cortend]:
    """One of its own: this machine may have a configuration of networks by plugins."""
    with short_root() as root, Cortend(root, "--config-file", str(own_network(root))) as made:
        made.start()
        made.warm_up()
        yield made


async def test_what_a_kubelet_asks_first(face: Face) -> None:
    assert private(face.socket), "who may call it has root's power"
    version = await face.ask("Version", cri.VersionRequest("0.1.0"), cri.VersionResponse)
    assert (version.version, version.runtime_name, version.runtime_api_version) == ("0.1.0", "corten", "v1")
    status = await face.ask("Status", cri.StatusRequest(), cri.StatusResponse)
    assert status.status is not None
    assert {each.type: each.status for each in status.status.conditions} == {"RuntimeReady": True, "NetworkReady": True}
    assert {"", "runc"} <= {handler.name for handler in status.runtime_handlers}
    config = await face.ask("RuntimeConfig", None, cri.RuntimeConfigResponse)
    assert config.linux is not None and config.linux.cgroup_driver == cri.CgroupDriver.CGROUPFS
    with pytest.raises(GRPCError) as raised:
        await face.ask("CheckpointContainer", None, cri.Empty)
    assert raised.value.status is Code.UNIMPLEMENTED
    image = await face.ask("ImageStatus", cri.ImageStatusRequest(cri.ImageSpec(IMAGE)), cri.ImageStatusResponse, IMAGES)
    assert image.image is not None and image.image.id.startswith("sha256:")
    absent = cri.ImageStatusRequest(cri.ImageSpec("no/such:image"))
    assert (await face.ask("ImageStatus", absent, cri.ImageStatusResponse, IMAGES)).image is None
    used = await face.ask("ImageFsInfo", None, cri.ImageFsInfoResponse, IMAGES)
    assert used.image_filesystems[0].used_bytes is not None and used.image_filesystems[0].used_bytes.value > 0


async def test_a_pod_from_its_beginning_to_its_end(face: Face) -> None:
    config = pod_config(face)
    pod = await face.pod(config)
    with pytest.raises(GRPCError, match="is reserved for"):
        await face.pod(config)
    status = await face.pod_status(pod)
    assert status.state == cri.PodState.READY and status.network is not None and status.network.ip
    shown_ports = subprocess.run(["ip", "-d", "-o", "link", "show", "master", face.daemon.bridge], capture_output=True)
    assert (b"hairpin on" in shown_ports.stdout) == bridges_are_filtered(), "a service may lead back to the pod"
    asked = container_config("sh", "-c", "echo one > /dev/shm/x; echo out; echo err >&2; hostname; exec sleep 1000")
    first = await face.container(pod, asked)
    with pytest.raises(GRPCError, match="already in use"):
        await face.container(pod, asked)
    second = await face.container(pod, container_config("sh", "-c", "exit 3", name="other"))
    ended = await face.exited(second)
    assert (ended.exit_code, ended.reason) == (3, "Error") and ended.finished_at >= ended.started_at > 0
    assert face.daemon.get(f"/containers/{first}/json")["Name"] == "/k8s_main_web_default_web-uid_0"
    log = face.logs / "web" / "main.log"
    async with asyncio.timeout(PATIENCE):
        while len(lines := [line.split(b" ", 1)[1] for line in log.read_bytes().splitlines()]) < 3:
            await asyncio.sleep(0.02)
    assert sorted(lines) == [b"stderr F err", b"stdout F out", b"stdout F web-host"]
    found = await face.run(first, "sh", "-c", "ip -4 addr show eth0 2>/dev/null || ifconfig eth0; echo x >&2; exit 7")
    assert status.network.ip.encode() in found[0] and found[1:] == (b"x\n", 7)

    command = [str(Path(sys.executable).parent / "corten"), "-H", face.daemon.address, "pod"]
    shown = subprocess.run([*command, "ls"], capture_output=True, text=True, check=True).stdout.splitlines()
    assert len(shown) == 2 and shown[1].split()[:4] == [pod[:12], "web", "default", "Ready"]
    inspected = subprocess.run([*command, "inspect", "-f", "{{.network.ip}}", pod[:8]], capture_output=True, check=True)
    assert inspected.stdout.decode().strip() == status.network.ip
    said = subprocess.run([*command, "logs", "default/web", "main"], capture_output=True, check=True)
    assert (sorted(said.stdout.split()), said.stderr) == ([b"out", b"web-host"], b"err\n")
    several = subprocess.run([*command, "logs", "web"], capture_output=True, text=True)
    assert several.returncode == 1 and "several containers: main, other" in several.stderr
    before = subprocess.run([*command, "logs", "-p", pod[:8], "main"], capture_output=True, text=True)
    assert before.returncode == 1 and "no previous container main" in before.stderr
    third = await face.container(pod, container_config("sh", "-c", "cat /dev/shm/x; exec sleep 1000", name="third"))
    assert (await face.run(third, "cat", "/dev/shm/x"))[0] == b"one\n", "the pod's memory is its containers'"
    listed = await face.ask("ListContainers", cri.ListContainersRequest(), cri.ListContainersResponse)
    assert {each.id for each in listed.containers} == {first, second, third}
    for each in listed.containers:
        full = await face.status(each.id)
        assert each.pod_sandbox_id == pod and all(
            getattr(each, name) == getattr(full, name)
            for name in ("metadata", "image", "image_ref", "image_id", "state", "created_at", "labels", "annotations")
        )
    only = cri.ContainerFilter(state=cri.ContainerStateValue(cri.State.EXITED), pod_sandbox_id=pod)
    listed = await face.ask("ListContainers", cri.ListContainersRequest(only), cri.ListContainersResponse)
    assert [each.id for each in listed.containers] == [second]
    stats = await face.ask("PodSandboxStats", cri.PodSandboxStatsRequest(pod), cri.PodSandboxStatsResponse)
    assert stats.stats is not None and stats.stats.linux is not None and len(stats.stats.linux.containers) == 3
    layers = [each.writable_layer.fs_id for each in stats.stats.linux.containers if each.writable_layer]
    assert {place.mountpoint for place in layers if place} == {str(face.daemon.data)}, "the kubelet looks for it"

    await face.ask("StopPodSandbox", cri.StopPodSandboxRequest(pod), cri.Empty)
    await face.ask("StopPodSandbox", cri.StopPodSandboxRequest(pod), cri.Empty)
    assert (await face.pod_status(pod)).state == cri.PodState.NOT_READY
    assert (await face.status(first)).state == cri.State.EXITED
    with pytest.raises(GRPCError, match="does not run"):
        await face.container(pod, container_config("true", name="late"))
    await face.remove(pod)
    await face.remove(pod)
    assert (await face.ask("ListPodSandbox", None, cri.ListPodSandboxResponse)).items == []


@pytest.mark.parametrize("readonly", [False, True])
async def test_what_a_kubelet_mounts_in_each_container(face: Face, tmp_path: Path, readonly: bool) -> None:
    """Its own /etc/hosts, a file for the last words, what /sys and /proc are not to show, and limits of nothing."""
    hosts, words = tmp_path / "etc-hosts", tmp_path / "0a1b2c3d"
    hosts.write_text("127.0.0.1\tlocalhost\n192.0.2.7\tof-the-kubelet\n")
    words.touch(0o666)
    asked = container_config("sh", "-c", "echo last > /dev/termination-log; exec sleep 1000")
    asked.mounts = [cri.Mount("/etc/hosts", str(hosts)), cri.Mount("/dev/termination-log", str(words))]
    asked.annotations = {"io.kubernetes.container.hash": "5a8b", "io.kubernetes.pod.terminationGracePeriod": "30"}
    asked.linux = cri.LinuxContainerConfig(
        cri.LinuxContainerResources(
            cpu_period=100_000, cpu_shares=2, oom_score_adj=1000, hugepage_limits=[cri.HugepageLimit("2MB", 0)]
        ),
        cri.LinuxContainerSecurityContext(
            namespace_options=cri.NamespaceOption(pid=cri.NamespaceMode.CONTAINER),
            readonly_rootfs=readonly,
            masked_paths=["/proc/asound", "/proc/kcore", "/sys/firmware"],
            readonly_paths=["/proc/bus", "/proc/sys"],
            seccomp=cri.SecurityProfile(cri.ProfileType.UNCONFINED),
        ),
    )
    pod = await face.pod(pod_config(face))
    container = await face.container(pod, asked)
    assert (await face.run(container, "cat", "/etc/hosts"))[0].decode() == hosts.read_text()
    async with asyncio.timeout(PATIENCE):
        while words.read_text() != "last\n":
            await asyncio.sleep(0.02)
    assert (await face.run(container, "sh", "-c", "echo x > /made"))[2] == (1 if readonly else 0)
    await face.remove(pod)


async def test_stopping_takes_the_time_that_is_given(face: Face) -> None:
    """With none it is killed at once; otherwise it has its signal first."""
    pod = await face.pod(pod_config(face))
    script = "trap 'exit 5' USR1; touch /tmp/ready; while true; do sleep 0.05; done"
    asked = container_config("sh", "-c", script)
    asked.stop_signal = cri.SIGNALS.index("USR1") + 1
    for seconds, code in ((30, 5), (0, 137)):
        asked.metadata = cri.ContainerMetadata("main", seconds)
        container = await face.container(pod, asked)
        await face.run(container, "sh", "-c", "while [ ! -f /tmp/ready ]; do sleep 0.02; done")
        await face.ask("StopContainer", cri.StopContainerRequest(container, seconds), cri.Empty)
        assert (await face.status(container)).exit_code == code
    await face.remove(pod)


async def test_what_is_not_there(face: Face) -> None:
    """The kubelet relies on these."""
    removals: list[tuple[str, Message]] = [
        ("StopPodSandbox", cri.StopPodSandboxRequest("gone")),
        ("RemovePodSandbox", cri.RemovePodSandboxRequest("gone")),
        ("StopContainer", cri.StopContainerRequest("gone")),
        ("RemoveContainer", cri.RemoveContainerRequest("gone")),
    ]
    for method, request in removals:
        await face.ask(method, request, cri.Empty)
    await face.ask("RemoveImage", cri.RemoveImageRequest(cri.ImageSpec("no/such:image")), cri.Empty, IMAGES)
    others: list[tuple[str, Message]] = [
        ("PodSandboxStatus", cri.PodSandboxStatusRequest("gone")),
        ("ContainerStatus", cri.ContainerStatusRequest("gone")),
        ("StartContainer", cri.StartContainerRequest("gone")),
        ("ExecSync", cri.ExecSyncRequest("gone", ["true"])),
        ("ReopenContainerLog", cri.ReopenContainerLogRequest("gone")),
        ("CreateContainer", cri.CreateContainerRequest("gone", container_config("true"))),
    ]
    for method, request in others:
        with pytest.raises(GRPCError) as raised:
            await face.ask(method, request, cri.Empty)
        assert raised.value.status is Code.NOT_FOUND, method


async def test_what_cannot_be(face: Face) -> None:
    bad = pod_config(face)
    bad.log_directory = "/var/log/../../etc"
    nameless = pod_config(face)
    nameless.metadata = None
    foreign = pod_config(face)
    foreign.linux = cri.LinuxPodSandboxConfig(sysctls={"net.core.somaxconn": "1"})
    foreign.linux.security_context = cri.LinuxSandboxSecurityContext(cri.NamespaceOption(cri.NamespaceMode.NODE))
    other_name, host, space = (pod_config(face) for _ in range(3))
    assert other_name.metadata is not None and space.linux is not None
    other_name.metadata.uid = "u;K8S_POD_NAME=other"  # an argument of plugins of its own
    host.hostname = "x" * 65
    space.linux.security_context = cri.LinuxSandboxSecurityContext(cri.NamespaceOption(pid=4))
    twice = [cri.IDMapping(700_000, 0, 65_536), cri.IDMapping(800_000, 1_000, 10)]
    rootless = [cri.IDMapping(700_000, 1_000, 65_536)]
    beyond = [cri.IDMapping((1 << 32) - 65_536, 0, 65_536)]
    mapped = [_mapped(face, ids) for ids in (twice, rootless, beyond, [])]
    for config in (bad, nameless, foreign, other_name, host, space, *mapped):
        with pytest.raises(GRPCError) as raised:
            await face.pod(config)
        assert raised.value.status is Code.INVALID_ARGUMENT, config
    pod = await face.pod(pod_config(face))
    climbing = container_config("true")
    climbing.log_path = "../../../etc/cron.d/x"
    relative = container_config("true")
    relative.mounts = [cri.Mount("/mnt", "etc")]
    other = container_config("true")
    other.linux = cri.LinuxContainerConfig(
        security_context=cri.LinuxContainerSecurityContext(run_as_group=cri.Int64Value(5))
    )
    ending, device, raw = (container_config("true") for _ in range(3))
    ending.mounts = [cri.Mount("/mnt", "/tmp\0/x")]
    device.devices = [cri.Device("/dev/x", "/dev/null\0", "r")]
    raw.envs = [cri.KeyValue("K", b"\xff")]
    for asked in (climbing, relative, other, ending, device, raw, cri.ContainerConfig()):
        with pytest.raises(GRPCError) as raised:
            await face.container(pod, asked)
        assert raised.value.status is Code.INVALID_ARGUMENT
    missing = container_config("true")
    missing.image = cri.ImageSpec("no/such:image")
    with pytest.raises(GRPCError) as raised:
        await face.container(pod, missing)
    assert raised.value.status is Code.NOT_FOUND
    assert not (await face.ask("ListContainers", None, cri.ListContainersResponse)).containers
    await face.remove(pod)


def _mapped(face: Face, ids: list[cri.IDMapping]) -> cri.PodSandboxConfig:
    """A pod with a user namespace of its own."""
    config = pod_config(face)
    assert config.linux is not None
    options = cri.NamespaceOption(pid=cri.NamespaceMode.CONTAINER, userns_options=cri.UserNamespace(0, ids, ids))
    config.linux.security_context = cri.LinuxSandboxSecurityContext(options)
    return config


async def test_processes_are_shared_where_that_is_asked_for(face: Face) -> None:
    pod = await face.pod(pod_config(face, pid=cri.NamespaceMode.POD))
    shared = container_config("sleep", "1000")
    context = cri.LinuxContainerSecurityContext(namespace_options=cri.NamespaceOption(pid=cri.NamespaceMode.POD))
    shared.linux = cri.LinuxContainerConfig(security_context=context)
    first = await face.container(pod, shared)
    beside = container_config("sleep", "2000", name="beside")
    beside.linux = shared.linux
    second = await face.container(pod, beside)
    seen = (await face.run(second, "ps"))[0]
    assert b"sleep 1000" in seen and b"sleep 2000" in seen
    await face.ask("StopContainer", cri.StopContainerRequest(first, 0), cri.Empty)
    assert (await face.exited(first)).exit_code == 137
    assert b"sleep 2000" in (await face.run(second, "ps"))[0], "the others go on"
    found = await face.run(second, "sh", "-c", "ls -A /proc/1/root; cat /proc/1/environ | wc -c")
    assert found[0].strip() in (b"", b"0"), f"the first process of a pod is nothing to look into: {found}"
    await face.remove(pod)


async def test_a_log_is_reopened(face: Face) -> None:
    pod = await face.pod(pod_config(face))
    script = "mkfifo /tmp/pipe; while true; do cat /tmp/pipe; done"
    container = await face.container(pod, container_config("sh", "-c", script))
    log = face.logs / "web" / "main.log"

    async def say(text: str) -> None:
        await face.run(container, "sh", "-c", f"while [ ! -p /tmp/pipe ]; do :; done; echo {text} > /tmp/pipe")

    async def has(path: Path, text: bytes) -> None:
        async with asyncio.timeout(PATIENCE):
            while not path.exists() or text not in path.read_bytes():
                await asyncio.sleep(0.02)

    await say("first")
    await has(log, b"stdout F first\n")
    log.rename(log.with_suffix(".1"))
    await face.ask("ReopenContainerLog", cri.ReopenContainerLogRequest(container), cri.Empty)
    await say("second")
    await has(log, b"stdout F second\n")
    assert b"first" not in log.read_bytes() and b"second" not in log.with_suffix(".1").read_bytes()
    await face.remove(pod)


async def test_events(face: Face) -> None:
    """Of pods and their containers alone, with what both are then."""
    seen: list[tuple[str, cri.Event]] = []
    async with face.events() as stream:
        made = {"Image": IMAGE, "Cmd": ["true"], "HostConfig": {"NetworkMode": "none"}}
        assert face.daemon.ask("POST", "/containers/create?name=other", made)[0] == 201
        pod = await face.pod(pod_config(face))
        container = await face.container(pod, container_config("true"))
        await face.exited(container)
        await face.remove(pod)
        last: cri.ContainerEventResponse | None = None
        while (pod, cri.Event.DELETED) not in seen:
            async with asyncio.timeout(PATIENCE):
                message = await stream.recv_message()
            last = cri.ContainerEventResponse.decode(message or b"")
            seen.append((last.container_id, cri.Event(last.container_event_type)))
        await stream.cancel()
    assert [event for id, event in seen if id == container] == [0, 1, 2, 3]
    assert [event for id, event in seen if id == pod] == [0, 1, 2, 3]
    assert {id for id, _ in seen} == {pod, container}


async def test_a_command_that_takes_too_long(face: Face) -> None:
    pod = await face.pod(pod_config(face))
    container = await face.container(pod, container_config("sleep", "1000"))
    with pytest.raises(GRPCError) as raised:
        await face.run(container, "sleep", "4321", seconds=1)
    assert raised.value.status is Code.DEADLINE_EXCEEDED
    async with asyncio.timeout(PATIENCE):
        while b"sleep 4321" in (await face.run(container, "ps"))[0]:
            await asyncio.sleep(0.05)
    await face.remove(pod)


async def test_users_of_a_pod_with_ids_of_its_own(face: Face, tmp_path: Path) -> None:
    ids = [cri.IDMapping(host_id=700_000, container_id=0, length=65_536)]
    config = pod_config(face)
    assert config.linux is not None and config.linux.security_context is not None
    options = cri.NamespaceOption(pid=cri.NamespaceMode.CONTAINER, userns_options=cri.UserNamespace(0, ids, ids))
    config.linux.security_context.namespace_options = options
    pod = await face.pod(config)
    shown = tmp_path / "shown"
    shown.mkdir()
    asked = container_config("sleep", "1000")
    asked.mounts = [cri.Mount("/mnt", str(shown), uid_mappings=ids, gid_mappings=ids)]
    asked.linux = cri.LinuxContainerConfig(
        security_context=cri.LinuxContainerSecurityContext(
            namespace_options=options,
            run_as_user=cri.Int64Value(0),
            supplemental_groups=[1234],
            supplemental_groups_policy=cri.GroupsPolicy.STRICT,
        )
    )
    container = await face.container(pod, asked)
    assert (await face.run(container, "cat", "/proc/self/uid_map"))[0].split() == [b"0", b"700000", b"65536"]
    assert (await face.run(container, "sh", "-c", "echo x > /mnt/made; stat -c %u /mnt"))[::2] == (b"0\n", 0)
    assert os.stat(shown / "made").st_uid == 0, "on this host it has the owner that the container says"
    status = await face.status(container)
    assert status.user is not None and status.user.linux is not None
    assert (status.user.linux.uid, status.user.linux.supplemental_groups) == (0, [0, 1234])
    await face.remove(pod)


async def test_a_pod_whose_holder_is_killed(face: Face) -> None:
    pod = await face.pod(pod_config(face))
    container = await face.container(pod, container_config("sleep", "1000"))
    with socket.socket(socket.AF_UNIX) as connection:
        directory = os.open(face.daemon.exec / "sandboxes" / pod, os.O_PATH)
        connection.connect(f"/proc/self/fd/{directory}/{HOLDER}")
        os.close(directory)
        pid, _, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    os.kill(pid, signal.SIGKILL)
    async with asyncio.timeout(PATIENCE):
        while (await face.pod_status(pod)).state != cri.PodState.NOT_READY:
            await asyncio.sleep(0.02)
    assert (await face.status(container)).state == cri.State.RUNNING, "the kubelet ends it, and makes another pod"
    with pytest.raises(GRPCError, match="does not run"):
        await face.container(pod, container_config("true", name="late"))
    await face.remove(pod)


async def test_everything_goes_on_when_daemon_and_face_are_killed() -> None:
    with short_root() as root, Cortend(root, "--config-file", str(own_network(root))) as daemon:
        face = Face(daemon, root)
        daemon.start()
        face.start()
        pod = await face.pod(pod_config(face))
        container = await face.container(pod, container_config("sleep", "1000"))
        before, network = await face.status(container), (await face.pod_status(pod)).network
        face.kill()
        daemon.restart_killed()
        face.start()
        after = await face.status(container)
        assert (after.state, after.started_at) == (cri.State.RUNNING, before.started_at)
        status = await face.pod_status(pod)
        assert status.state == cri.PodState.READY and status.network == network
        assert (await face.run(container, "echo", "still"))[0] == b"still\n"
        with pytest.raises(GRPCError, match="is reserved for"):
            await face.pod(pod_config(face))
        await face.container(pod, container_config("sleep", "1000", name="later"))
        await face.remove(pod)
        assert not list((daemon.exec / "sandboxes").iterdir())
        face.stop()
