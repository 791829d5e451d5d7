"""Pods in guests, as the kubelet has them by a RuntimeClass: one container at a time, with the pod's network."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from grpclib import GRPCError
from grpclib import Status as Code

from corten.cri.daemon import Daemon
from corten.errors import CortenError, Failed
from corten.spec.protobuf import cri
from e2e_parts import guests
from e2e_parts.cortend import Cortend, short_root
from e2e_parts.patience import LIMIT, PATIENCE
from e2e_parts.pods import Face, container_config, faced, own_network, pod_config
from free_ports import free_port

pytestmark = pytest.mark.timeout(LIMIT)
_PLUGIN = """#!/bin/sh
set -e
case $CNI_COMMAND in
ADD)
    ip link add {device} mtu 1380 type veth peer name eth0 mtu 1380 netns "$CNI_NETNS"
    echo 1 > /proc/sys/net/ipv4/conf/{device}/proxy_arp
    ip link set {device} up
    ip route add {address}/32 dev {device}
    nsenter --net="$CNI_NETNS" sh -e -c "
        ip address add {address}/32 dev eth0
        ip link set eth0 up
        ip route add 169.254.1.1 dev eth0 scope link
        ip route add default via 169.254.1.1"
    echo '{{"cniVersion":"1.0.0","ips":[{{"address":"{address}/32"}}]}}'
    ;;
DEL)
    ip link delete {device} 2>/dev/null || true
    ;;
esac
"""
_SERVES = "mkdir /w; echo page > /w/index.html; httpd -h /w -p 8080; httpd -h /w -p 127.0.0.1:8081; exec sleep 1000"


@pytest.fixture(scope="module")
def daemon(run_s_own: Path) -> Iterator[Cortend]:
    if why := guests.missing():
        pytest.skip(why)
    with short_root() as root, Cortend(root, "--config-file", str(root / "daemon.json")) as made:
        plugins = {"cni-conf-dir": str(root / "net.d"), "cni-bin-dir": str(root / "bin")}
        (root / "daemon.json").write_text(json.dumps({"cri": plugins}))
        guests.begin(made, run_s_own)
        yield made


@pytest.fixture
def face(daemon: Cortend, tmp_path: Path) -> Iterator[Face]:
    with faced(daemon, tmp_path, handler="vm") as made:
        yield made


async def page(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    """What it is answered to a request on that connection, up to its end."""
    writer.write(b"GET / HTTP/1.0\r\n\r\n")
    async with asyncio.timeout(PATIENCE):
        found = await reader.read()
    writer.close()
    return found.rpartition(b"\r\n")[2]


async def served(host: str, port: int) -> bytes:
    """The same of a server that is about to listen."""
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                return await page(*await asyncio.open_connection(host, port))
            except OSError:
                await asyncio.sleep(0.1)


async def forwarded(face: Face, pod: str, port: int) -> bytes:
    """By the way of port-forward."""
    daemon = Daemon(str(face.daemon.socket))
    try:
        return await page(*await daemon.dial(pod, port))
    finally:
        await daemon.close()


async def address_of(face: Face, pod: str) -> str:
    network = (await face.pod_status(pod)).network
    assert network is not None
    return network.ip


async def refused(face: Face, pod: str, asked: cri.ContainerConfig) -> GRPCError:
    with pytest.raises(GRPCError) as raised:
        await face.container(pod, asked)
    return raised.value


async def test_the_handler_is_listed_with_what_it_can(face: Face) -> None:
    status = await face.ask("Status", cri.StatusRequest(verbose=True), cri.StatusResponse)
    can = {each.name: each.features for each in status.runtime_handlers}
    assert can["vm"] == cri.RuntimeHandlerFeatures(recursive_read_only_mounts=True, user_namespaces=False)
    assert can[""] == can["runc"] == cri.RuntimeHandlerFeatures(recursive_read_only_mounts=True, user_namespaces=True)
    assert json.loads(status.info["handlers"])["vm"] == "ready"


async def test_from_its_beginning_to_its_end(face: Face, tmp_path: Path) -> None:
    published = free_port()
    config = pod_config(face)
    config.port_mappings = [cri.PortMapping(container_port=8080, host_port=published, host_ip="127.0.0.1")]
    pod = await face.pod(config)
    assert (await face.pod_status(pod)).runtime_handler == "vm"
    script = "echo out; echo err >&2; hostname; uname -r; " + _SERVES
    first = await face.container(pod, container_config("sh", "-c", script))
    address = await address_of(face, pod)
    assert await served(address, 8080) == b"page\n", "by its own address"
    assert await served("127.0.0.1", published) == b"page\n", "by a port of the node"
    assert await forwarded(face, pod, 8081) == b"page\n", "at the guest's own loopback"
    with pytest.raises(Failed, match=f"cannot connect to port 8083 of pod {pod}: connection refused"):
        await forwarded(face, pod, 8083)
    lines = [line.split(b" ", 1)[1] for line in (face.logs / "web" / "main.log").read_bytes().splitlines()]
    assert {b"stderr F err", b"stdout F out", b"stdout F web-host"} < set(lines)
    assert b"stdout F " + os.uname().release.encode() not in lines, "a kernel of its own"
    found = await face.run(first, "sh", "-c", "ifconfig eth0; echo x >&2; exit 7")
    assert address.encode() in found[0] and found[1:] == (b"x\n", 7)
    await _counted(face, pod)

    error = await refused(face, pod, container_config("true", name="second"))
    assert error.status is Code.UNIMPLEMENTED and "one container at a time" in str(error.message)
    await face.ask("StopContainer", cri.StopContainerRequest(first, 0), cri.Empty)
    assert (await face.status(first)).exit_code == 137
    with pytest.raises(CortenError, match=r"no container of pod .* runs"):
        await forwarded(face, pod, 8080)

    shared, hosts = tmp_path / "shared", tmp_path / "hosts"
    shared.mkdir()
    hosts.write_text("192.0.2.7\tof-the-kubelet\n")
    asked = container_config("sh", "-c", f"cat /etc/hosts > /mnt/hosts; {_SERVES}", name="second")
    asked.mounts = [cri.Mount("/mnt", str(shared)), cri.Mount("/etc/hosts", str(hosts))]
    await face.container(pod, asked)
    assert await served(address, 8080) == b"page\n", "the next one has the pod's address"
    assert (shared / "hosts").read_text() == hosts.read_text()
    status, answer = face.daemon.ask("POST", f"/containers/{first}/start")
    assert status == 409 and "one container at a time" in answer["message"]
    assert await forwarded(face, pod, 8081) == b"page\n"
    await face.remove(pod)
    assert (await face.ask("ListPodSandbox", None, cri.ListPodSandboxResponse)).items == []


async def _counted(face: Face, pod: str) -> None:
    stats = (await face.ask("PodSandboxStats", cri.PodSandboxStatsRequest(pod), cri.PodSandboxStatsResponse)).stats
    assert stats is not None and stats.linux is not None and stats.linux.network is not None
    (container,) = stats.linux.containers
    assert container.cpu is not None and container.memory is not None
    interface = stats.linux.network.default_interface
    assert interface is not None and interface.name == "eth0"
    assert interface.rx_bytes is not None and interface.rx_bytes.value > 0
    metrics = await face.ask("ListPodSandboxMetrics", None, cri.ListPodSandboxMetricsResponse)
    (own,) = next(each for each in metrics.pod_metrics if each.pod_sandbox_id == pod).container_metrics
    known = {each.name: each.value.value for each in own.metrics if each.value is not None}
    assert known["container_processes"] >= 2
    assert "container_file_descriptors" not in known, "they are not known, and not 0"


async def test_it_goes_on_when_daemon_and_face_are_killed(daemon: Cortend, run_s_own: Path) -> None:
    """A daemon of its own, which begins from what the other one has booted."""
    with short_root() as root, Cortend(root, "--config-file", str(own_network(root))) as killed:
        face = Face(killed, root, handler="vm")
        guests.provide(killed, run_s_own)
        killed.start()
        face.start()
        pod = await face.pod(pod_config(face))
        container = await face.container(pod, container_config("sh", "-c", _SERVES))
        address = await address_of(face, pod)
        assert await served(address, 8080) == b"page\n"
        before = await face.status(container)
        face.kill()
        killed.restart_killed()
        face.start()
        after = await face.status(container)
        assert (after.state, after.started_at) == (cri.State.RUNNING, before.started_at)
        assert await address_of(face, pod) == address
        assert await served(address, 8080) == b"page\n"
        assert await forwarded(face, pod, 8081) == b"page\n"
        assert (await face.run(container, "echo", "still"))[0] == b"still\n"
        late = await refused(face, pod, container_config("true", name="late"))
        assert "one container at a time" in str(late.message)
        await face.remove(pod)
        assert not list((killed.exec / "sandboxes").iterdir())
        face.stop()


@pytest.fixture
def routed(daemon: Cortend) -> Iterator[str]:
    """A plugin whose pods are behind a gateway of no network, reached by a route of the host's; the address that it
    gives."""
    plugin, config = daemon.root / "bin/routed", daemon.root / "net.d/10-routed.conflist"
    address = f"10.203.{secrets.randbelow(256)}.{1 + secrets.randbelow(254)}"
    for path in (plugin, config):
        path.parent.mkdir()
    plugin.write_text(_PLUGIN.format(address=address, device=f"r{secrets.token_hex(4)}"))
    plugin.chmod(0o755)
    config.write_text(json.dumps({"cniVersion": "1.0.0", "name": "routed", "plugins": [{"type": "routed"}]}))
    try:
        yield address
    finally:
        for path in (plugin, config):
            shutil.rmtree(path.parent)


async def test_its_network_by_a_plugin(routed: str, face: Face) -> None:
    pod = await face.pod(pod_config(face))
    assert await address_of(face, pod) == routed
    container = await face.container(pod, container_config("sh", "-c", _SERVES))
    assert await served(routed, 8080) == b"page\n"
    routes, _, _ = await face.run(container, "sh", "-c", "ip route; cat /sys/class/net/eth0/mtu")
    shown = [line.split() for line in routes.decode().splitlines()]
    assert ["default", "via", "169.254.1.1", "dev", "eth0"] in shown and ["1380"] in shown
    await face.remove(pod)


async def test_what_it_cannot_have(face: Face) -> None:
    """Each is refused before anything is made, and one that could not be started takes no place."""
    own, host = cri.NamespaceMode.CONTAINER, cri.NamespaceMode.NODE
    for options, words in (
        (cri.NamespaceOption(network=host, pid=own), "hostNetwork"),
        (cri.NamespaceOption(pid=host), "hostPID"),
        (cri.NamespaceOption(ipc=host, pid=own), "hostIPC"),
        (cri.NamespaceOption(pid=cri.NamespaceMode.POD), "shareProcessNamespace"),
    ):
        config = pod_config(face)
        assert config.linux is not None
        config.linux.security_context = cri.LinuxSandboxSecurityContext(options)
        with pytest.raises(GRPCError, match=words) as raised:
            await face.pod(config)
        assert raised.value.status is Code.UNIMPLEMENTED
    pod = await face.pod(pod_config(face))
    spread = container_config("true")
    spread.mounts = [cri.Mount("/mnt", "/tmp", propagation=cri.Propagation.BIDIRECTIONAL)]
    error = await refused(face, pod, spread)
    assert error.status is Code.UNIMPLEMENTED and "mountPropagation Bidirectional of /mnt" in str(error.message)
    device = container_config("true")
    device.devices = [cri.Device("/dev/x", "/dev/null", "rw")]
    pinned = container_config("true")
    pinned.linux = cri.LinuxContainerConfig(cri.LinuxContainerResources(cpuset_cpus="0"))
    for asked, words in ((device, "devices of the host"), (pinned, "a set of the host's processors")):
        error = await refused(face, pod, asked)
        assert error.status is Code.INVALID_ARGUMENT and words in str(error.message)
    assert not (await face.ask("ListContainers", None, cri.ListContainersResponse)).containers
    connected = container_config("true")
    connected.mounts = [cri.Mount("/sock", str(face.socket))]
    error = await refused(face, pod, connected)
    assert "a socket of the host cannot be reached from a guest" in str(error.message)
    await face.container(pod, container_config("true", name="next"), start=False)
    with pytest.raises(CortenError, match=r"no container of pod .* runs"):
        await forwarded(face, pod, 80)
    await face.remove(pod)
