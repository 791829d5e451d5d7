"""Pods' networks by plugins of the Container Network Interface: ours, which write down what they are asked."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from grpclib import GRPCError
from grpclib import Status as Code

from corten.spec.protobuf import cri
from e2e_parts.cortend import Cortend, short_root
from e2e_parts.patience import PATIENCE
from e2e_parts.pods import Face, container_config, pod_config

PLUGIN = """#!/bin/sh
here=$(dirname "$0")
name=$(basename "$0")
cat > "$here/$CNI_COMMAND.$name.json"
echo "$CNI_COMMAND $name $CNI_CONTAINERID $CNI_IFNAME $CNI_ARGS" >> "$here/calls"
[ "$CNI_COMMAND" = ADD ] && { [ -e "$CNI_NETNS" ] || exit 9; }
if [ -f "$here/fail-$CNI_COMMAND" ]; then cat "$here/fail-$CNI_COMMAND"; exit 1; fi
if [ -f "$here/say-$CNI_COMMAND" ]; then cat "$here/say-$CNI_COMMAND"; exit 0; fi
if [ -f "$here/hang-$CNI_COMMAND" ]; then touch "$here/hangs"; exec sleep 1000; fi
[ "$CNI_COMMAND" = ADD ] && echo '{"cniVersion":"1.0.0","ips":[{"address":"10.88.77.5/24"}]}'
exit 0
"""
CONFIG = {
    "cniVersion": "1.0.0",
    "name": "pods",
    "plugins": [{"type": "first", "mtu": 1400}, {"type": "second", "capabilities": {"portMappings": True}}],
}
_ANNOTATIONS = "io.kubernetes.cri.pod-annotations"


class World:
    def __init__(self, root: Path) -> None:
        self.root, self.plugins, self.config = root, root / "bin", root / "net.d"
        for directory in (self.plugins, self.config):
            directory.mkdir()
        for name in ("first", "second"):
            (self.plugins / name).write_text(PLUGIN)
            (self.plugins / name).chmod(0o755)
        (self.config / "10-pods.conflist").write_text(json.dumps(CONFIG))
        settings = root / "daemon.json"
        directories = {"cni-conf-dir": str(self.config), "cni-bin-dir": str(self.plugins)}
        settings.write_text(json.dumps({"cri": {**directories, "cni-gc": True}}))
        self.daemon = Cortend(root, "--config-file", str(settings))
        self.face = Face(self.daemon, root)

    def called(self) -> list[str]:
        """Commands and plugins, since the last `calls`."""
        path = self.plugins / "calls"
        return [" ".join(line.split()[:2]) for line in path.read_text().splitlines()] if path.exists() else []

    def calls(self) -> list[str]:
        """The same, since the last time. Where nothing is asked of a plugin meanwhile: that would be lost."""
        found = self.called()
        (self.plugins / "calls").unlink(missing_ok=True)
        return found

    def asked(self, command: str, plugin: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.plugins / f"{command}.{plugin}.json").read_text())
        return found

    def noted(self) -> list[str]:
        return [path.name for path in (self.daemon.exec / "sandboxes").glob("*")]

    async def network_ready(self) -> cri.RuntimeCondition:
        status = (await self.face.ask("Status", cri.StatusRequest(), cri.StatusResponse)).status
        assert status is not None
        return next(each for each in status.conditions if each.type == "NetworkReady")


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with short_root() as root:
        made = World(root)
        with made.daemon:
            made.daemon.start()
            made.face.start()
            yield made
            made.face.stop()


async def test_plugins_make_and_undo_a_network(world: World) -> None:
    face = world.face
    assert (await world.network_ready()).status
    config = pod_config(face)
    config.port_mappings = [cri.PortMapping(cri.Protocol.TCP, 80, 18_080)]
    pod = await face.pod(config)
    line = (world.plugins / "calls").read_text().splitlines()[0]
    assert f" {pod} eth0 " in line and "K8S_POD_NAMESPACE=default;K8S_POD_NAME=web;" in line
    assert world.calls() == ["ADD first", "ADD second"]
    assert world.asked("ADD", "first") == {"type": "first", "mtu": 1400, "cniVersion": "1.0.0", "name": "pods"}
    second = world.asked("ADD", "second")
    assert second["prevResult"]["ips"] == [{"address": "10.88.77.5/24"}]
    assert second["runtimeConfig"]["portMappings"][0]["hostPort"] == 18_080
    status = await face.pod_status(pod)
    assert status.network is not None and status.network.ip == "10.88.77.5"
    container = await face.container(pod, container_config("sleep", "1000"))
    assert b"10.88.77.5\tweb-host" in (await face.run(container, "cat", "/etc/hosts"))[0]
    await face.remove(pod)
    assert world.calls() == ["DEL second", "DEL first"]
    assert world.asked("DEL", "first")["prevResult"]["ips"], "with what was made"
    assert not world.noted()


async def test_a_pod_is_whole_or_absent(world: World) -> None:
    """A plugin that fails, or says what is no answer."""
    failing = world.plugins / "fail-ADD"
    for said, expected in (
        ('{"code":100,"msg":"no address is left"}', "no address is left"),
        ("rubbish", "exit status 1"),
    ):
        failing.write_text(said)
        with pytest.raises(GRPCError, match=expected):
            await world.face.pod(pod_config(world.face))
        assert not world.noted() and world.calls() == ["ADD first", "DEL second", "DEL first"]
    failing.unlink()
    await world.face.remove(await world.face.pod(pod_config(world.face)))
    world.calls()


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("rubbish", "no JSON object"),
        ("[]", "no JSON object"),
        ("[" * 50_000, "no JSON object"),
        ('{"ips":[{"address":"nowhere"}]}', "an address that is none"),
        ('{"ips":5}', "an address that is none"),
    ],
    ids=["rubbish", "list", "deep", "no address", "number"],
)
async def test_an_answer_that_is_none(world: World, said: str, expected: str) -> None:
    """Of a plugin that says that it has succeeded: what it may have made is undone."""
    saying = world.plugins / "say-ADD"
    saying.write_text(said)
    with pytest.raises(GRPCError, match=expected):
        await world.face.pod(pod_config(world.face))
    saying.unlink()
    assert world.calls()[-2:] == ["DEL second", "DEL first"] and not world.noted()
    await world.face.remove(await world.face.pod(pod_config(world.face)))
    assert world.calls() == ["ADD first", "ADD second", "DEL second", "DEL first"], "there is nothing else to undo"


async def test_annotations(world: World) -> None:
    """Hostile ones are shown and handed on as they are; one that cannot be what it stands for is refused before any
    plugin is called, as that would get the same again to undo it."""
    takes = {"bandwidth": True, _ANNOTATIONS: True}
    asking = world.config / "05-asking.conflist"
    asking.write_text(
        json.dumps({**CONFIG, "plugins": [CONFIG["plugins"][0], {"type": "second", "capabilities": takes}]})
    )
    ingress, odd = (
        "kubernetes.io/ingress-bandwidth",
        {"": "", "a\nb;K8S_POD_NAME=x": '"}\0\u202e', "long": "x" * 200_000},
    )
    try:
        for limit, rate in (("10M", 10_000_000), ("1.5G", 1_500_000_000), ("512Ki", 524_288)):
            config = pod_config(world.face)
            config.annotations = {ingress: limit, **odd}
            pod = await world.face.pod(config)
            assert (await world.face.pod_status(pod)).annotations == config.annotations
            given = world.asked("ADD", "second")["runtimeConfig"]
            assert given["bandwidth"]["ingressRate"] == rate and given[_ANNOTATIONS] == config.annotations
            await world.face.remove(pod)
            assert world.asked("DEL", "second")["runtimeConfig"] == given
        world.calls()
        for limit in ("", "fast", "-1M", "1e400", "9" * 5000, "\u0663M", "1M\n", "10P"):
            config.annotations = {ingress: limit or " "}
            with pytest.raises(GRPCError, match="invalid bandwidth") as raised:
                await world.face.pod(config)
            assert raised.value.status is Code.INVALID_ARGUMENT
            assert not world.noted() and not world.calls()
    finally:
        asking.unlink()


async def test_a_client_that_leaves_while_a_plugin_hangs(world: World) -> None:
    """What was begun is either whole in the end or undone; meanwhile the name is taken."""
    hanging, hangs = world.plugins / "hang-ADD", world.plugins / "hangs"
    hanging.touch()
    making = asyncio.ensure_future(world.face.pod(pod_config(world.face)))
    async with asyncio.timeout(PATIENCE):
        while not hangs.exists():
            await asyncio.sleep(0.02)
    making.cancel()
    await asyncio.wait([making])
    with pytest.raises(GRPCError, match="is reserved for") as raised:
        await world.face.pod(pod_config(world.face))
    assert raised.value.status is Code.FAILED_PRECONDITION
    for each in (hanging, hangs):
        each.unlink()
    (pid,) = [path.name for path in Path("/proc").glob("[0-9]*") if _is_hanging(path, world.plugins)]
    os.kill(int(pid), signal.SIGKILL)
    async with asyncio.timeout(PATIENCE):
        while world.noted():
            await asyncio.sleep(0.02)
    assert (await world.face.ask("ListPodSandbox", None, cri.ListPodSandboxResponse)).items == []
    assert world.calls() == ["ADD first", "DEL second", "DEL first"]
    await world.face.remove(await world.face.pod(pod_config(world.face)))
    world.calls()


def _is_hanging(process: Path, plugins: Path) -> bool:
    try:
        environment = (process / "environ").read_bytes().split(b"\0")
        return f"CNI_PATH={plugins}".encode() in environment and b"CNI_COMMAND=ADD" in environment
    except OSError:
        return False


async def test_deletion_is_tried_until_it_succeeds(world: World) -> None:
    pod = await world.face.pod(pod_config(world.face))
    failing = world.plugins / "fail-DEL"
    failing.write_text('{"msg":"not now"}')
    with pytest.raises(GRPCError, match="not now"):
        await world.face.remove(pod)
    assert (await world.face.pod_status(pod)).state == cri.PodState.READY
    failing.unlink()
    await world.face.remove(pod)
    world.calls()


async def test_a_daemon_that_is_killed_in_between(world: World) -> None:
    """The next one undoes what was begun: there is no such pod."""
    hanging = world.plugins / "hang-ADD"
    hanging.touch()
    making = asyncio.ensure_future(world.face.pod(pod_config(world.face)))
    async with asyncio.timeout(PATIENCE):
        while not (world.plugins / "hangs").exists():
            await asyncio.sleep(0.02)
    await asyncio.to_thread(world.daemon.restart_killed)
    with pytest.raises(GRPCError) as raised:
        await making
    assert raised.value.status is Code.UNAVAILABLE
    hanging.unlink()
    async with asyncio.timeout(PATIENCE):
        while "DEL first" not in world.called():
            await asyncio.sleep(0.02)
    world.calls()
    assert not world.noted()
    assert (await world.face.ask("ListPodSandbox", None, cri.ListPodSandboxResponse)).items == []
    await world.face.remove(await world.face.pod(pod_config(world.face)))
    world.calls()


async def test_plugins_of_1_1_have_a_status_and_collect(world: World) -> None:
    """STATUS with each look at the engine, and GC once after a start, before any pod is added."""
    young = world.config / "05-young.conflist"
    young.write_text(json.dumps({**CONFIG, "cniVersions": ["0.4.0", "1.0.0", "1.1.0", "9.0.0"]}))
    failing = world.plugins / "fail-STATUS"
    try:
        assert (await world.network_ready()).status
        assert world.calls() == ["STATUS first", "STATUS second"]
        failing.write_text('{"code":50,"msg":"the fabric is down"}')
        condition = await world.network_ready()
        assert not condition.status and "the fabric is down" in condition.message
        world.calls()

        pod = await world.face.pod(pod_config(world.face))
        assert world.calls() == ["ADD first", "ADD second"] and world.asked("ADD", "first")["cniVersion"] == "1.1.0"
        await asyncio.to_thread(world.daemon.restart_killed)
        other = await world.face.pod(pod_config(world.face, "other"))
        assert world.calls() == ["GC first", "GC second", "ADD first", "ADD second"]
        assert world.asked("GC", "second")["cni.dev/valid-attachments"] == [{"containerID": pod, "ifname": "eth0"}]
        for each in (pod, other):
            await world.face.remove(each)
    finally:
        young.unlink()
        failing.unlink(missing_ok=True)
        world.calls()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{", "Expecting"),
        ("[" * 50_000, "recursion"),
        ('{"name":"x","cniVersion":"9.9","plugins":[{"type":"first"}]}', "not supported"),
        ('{"name":"x","cniVersion":"1.0.0","plugins":[{"type":"../sh"}]}', "type"),
        ('{"name":"x","cniVersion":"1.0.0","plugins":[{"type":"absent"}]}', "absent is not in"),
        ('{"name":"../x","cniVersion":"1.0.0","plugins":[{"type":"first"}]}', "name"),
        ('{"name":"x","cniVersion":"1.0.0","plugins":[]}', "no plugins"),
    ],
)
async def test_a_configuration_that_cannot_be_used(world: World, text: str, expected: str) -> None:
    path = world.config / "00-bad.conflist"
    path.write_text(text)
    try:
        condition = await world.network_ready()
        assert not condition.status and expected in condition.message
        with pytest.raises(GRPCError, match=expected):
            await world.face.pod(pod_config(world.face))
    finally:
        path.unlink()
    assert not world.noted() and not world.calls()
