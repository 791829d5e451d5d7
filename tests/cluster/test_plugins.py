"""Pods' networks by Debian's plugins, in a network namespace that has nothing of this machine's."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from corten.spec.protobuf import cri
from e2e_parts.cluster import Space
from e2e_parts.cortend import CORTEND, Cortend
from e2e_parts.patience import until
from e2e_parts.pods import Face, container_config, pod_config

_PLUGINS = Path("/usr/lib/cni")
_NAMES = ("bridge", "host-local", "portmap", "bandwidth", "firewall")
_RANGE = "10.99.0"
_SERVES = "mkdir /w; echo $NAME > /w/index.html; exec httpd -f -h /w -p 8080"


class World:
    def __init__(self, root: Path) -> None:
        self.leases, self.space = root / "leases", Space()
        ipam = {"type": "host-local", "dataDir": str(self.leases), "ranges": [[{"subnet": f"{_RANGE}.0/24"}]],
                "routes": [{"dst": "0.0.0.0/0"}]}  # fmt: skip
        bridge = {"type": "bridge", "bridge": "cni0", "isGateway": True, "ipMasq": True, "hairpinMode": True}
        plugins = [
            {**bridge, "ipam": ipam},
            {"type": "portmap", "capabilities": {"portMappings": True}, "snat": True},
            {"type": "bandwidth", "capabilities": {"bandwidth": True}},
            {"type": "firewall", "backend": "iptables"},
        ]
        (root / "net.d").mkdir()
        (root / "net.d/10.conflist").write_text(
            json.dumps({"cniVersion": "1.0.0", "name": "debian", "plugins": plugins})
        )
        settings = root / "daemon.json"
        settings.write_text(json.dumps({"cri": {"cni-conf-dir": str(root / "net.d"), "cni-bin-dir": str(_PLUGINS)}}))
        self.daemon = Cortend(root, "--config-file", str(settings), program=[*self.space.enter, str(CORTEND)])
        self.face = Face(self.daemon, root)

    async def pod(self, name: str, port: int) -> tuple[str, str]:
        """Its id, and its address. It serves its name."""
        config = pod_config(self.face, name)
        config.port_mappings = [cri.PortMapping(cri.Protocol.TCP, 8080, port)]
        config.annotations = {"kubernetes.io/ingress-bandwidth": "10M", "kubernetes.io/egress-bandwidth": "10M"}
        id = await self.face.pod(config)
        asked = container_config("sh", "-c", _SERVES)
        asked.envs = [cri.KeyValue("NAME", name.encode())]
        await self.face.container(id, asked)
        network = (await self.face.pod_status(id)).network
        assert network is not None
        return id, network.ip

    def devices(self) -> set[str]:
        return {each["ifname"] for each in json.loads(self.space.run("ip", "-j", "link"))}

    def leased(self) -> set[str]:
        return {path.name for path in self.leases.rglob(f"{_RANGE}.*")}

    def rules(self) -> list[str]:
        """Of pods: what plugins have once for all of them stays."""
        saved = self.space.run("iptables-save").splitlines()
        return [line for line in saved if line.startswith("-A") and f"{_RANGE}." in line]


@pytest.fixture
def world() -> Iterator[World]:
    if missing := [name for name in _NAMES if not os.access(_PLUGINS / name, os.X_OK)]:
        pytest.skip(f"needs {', '.join(missing)} (Debian package containernetworking-plugins)")
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
        made.space.close()
        shutil.rmtree(root)


async def test_debian_s_plugins(world: World) -> None:
    """Also over kill -9 of the daemon; all that was added is taken away."""
    before = world.devices()
    (first, one), (second, two) = await world.pod("one", 18_081), await world.pod("two", 18_082)
    assert world.leased() == {one, two} and one != two
    for name, address, port in (("one", one, 18_081), ("two", two, 18_082)):
        for asked in (f"{address}:8080", f"{_RANGE}.1:{port}"):
            until(lambda asked=asked: world.space.fetch(asked), lambda said, name=name: said == f"{name}\n")  # type: ignore[misc]
    assert world.rules(), "of host ports, and of what may be forwarded"
    assert "tbf" in world.space.run("tc", "qdisc"), "its bandwidth"
    await asyncio.to_thread(world.daemon.restart_killed)
    assert world.space.fetch(f"{one}:8080") == "one\n"
    await world.face.remove(first)
    assert world.leased() == {two} and world.space.fetch(f"{_RANGE}.1:18082") == "two\n"
    await world.face.remove(second)
    assert not world.leased() and not world.rules()
    assert world.devices() == before | {"cni0"}, "the bridge is kept for the next one"
