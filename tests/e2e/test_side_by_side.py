"""Several daemons on one machine, each with everything of its own."""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from e2e_parts.clients import CORTEN, Client
from e2e_parts.cortend import CORTEND, IMAGE, Cortend
from e2e_parts.secluded import SERVE, fetch
from fault_parts.fragile import Fragile, until
from netns import Net


def test_daemons_that_start_at_once_choose_different_subnets() -> None:
    daemons = [Cortend(Path(tempfile.mkdtemp(prefix="ce-"))) for _ in range(4)]
    try:
        with ThreadPoolExecutor(len(daemons)) as pool:
            list(pool.map(Cortend.start, daemons))
        subnets = [daemon.get("/networks/bridge")["IPAM"]["Config"][0]["Subnet"] for daemon in daemons]
        assert len(set(subnets)) == len(daemons), subnets
        first, second = daemons[:2]
        first.warm_up()
        assert second.containers() == [] and second.get("/images/json") == []
        assert f"{IMAGE}:latest" in first.get("/images/json")[0]["RepoTags"]
    finally:
        for daemon in daemons:
            daemon.stop()
            shutil.rmtree(daemon.root, ignore_errors=True)


class Plain(Fragile):
    """A daemon without any flag about networks."""

    @property
    def command(self) -> list[str]:
        flags = super().command
        at = flags.index("--bridge")
        return flags[:at] + flags[at + 2 :]


def test_daemons_that_differ_only_in_their_roots_and_sockets(tmp_path: Path) -> None:
    """Each has a bridge, a firewall and a subnet of its own, at its next start as well."""
    net, group = Net(), f"/ce{secrets.token_hex(3)}"
    program = ["nsenter", f"--net=/proc/{os.getpid()}/fd/{net.fd}", str(CORTEND)]
    daemons = [Plain(tmp_path / name, program=program) for name in "ab"]
    try:
        for daemon in daemons:
            daemon.root.mkdir()
            daemon.cgroup = group
        with ThreadPoolExecutor(len(daemons)) as pool:
            list(pool.map(Cortend.start, daemons))
        chosen = [bridge_of(daemon) for daemon in daemons]
        assert {name for name, _ in chosen} == {"corten0", "corten1"} and len({subnet for _, subnet in chosen}) == 2
        for number, daemon in enumerate(daemons):
            ports = {"80/tcp": [{"HostPort": f"808{number}"}]}
            daemon.run("sh", "-c", SERVE, f"web{number}", name="web", host={"PortBindings": ports})
        for daemon in daemons[::-1]:
            daemon.kill()
            daemon.start()
        assert [bridge_of(daemon) for daemon in daemons] == chosen
        for number in range(2):
            url = f"http://127.0.0.1:808{number}/"
            until(lambda: fetch(net, url, 2) == f"hello from web{number}", f"{url} answers")  # noqa: B023
            assert fetch(net, f"http://[::1]:808{number}/") == f"hello from web{number}"
    finally:
        for daemon in daemons:
            daemon.stop()
        net.close()


def bridge_of(daemon: Cortend) -> tuple[str, str]:
    """The default network's device, and its subnet."""
    shown = daemon.get("/networks/bridge")
    return shown["Options"]["com.docker.network.bridge.name"], shown["IPAM"]["Config"][0]["Subnet"]


@pytest.fixture
def bridgeless(tmp_path: Path) -> Iterator[Client]:
    """Our command line at a daemon without a default bridge."""
    daemon = Fragile(tmp_path)
    daemon.bridge = "none"
    daemon.start()
    client = Client("corten", CORTEN, daemon.address, daemon.root)
    yield client
    client.close()
    daemon.stop()


def test_without_a_default_bridge(bridgeless: Client) -> None:
    """As with dockerd 20.10: what is to be in the bridge has its loopback alone, whatever it publishes."""
    client = bridgeless
    for flags in ([], ["--network", "bridge"], ["--network", "default", "-p", "8080:80"]):
        assert client.out("run", "--rm", *flags, IMAGE, "ls", "/sys/class/net") == "lo"
    assert "bridge not found" in client("network", "inspect", "bridge", code=1).err
    client("run", "-d", "--name", "idle", IMAGE, "sleep", "100")
    assert "bridge not found" in client("network", "connect", "bridge", "idle", code=1).err
    client("network", "create", "own")
    assert client.out("run", "--rm", "--network", "own", IMAGE, "ls", "/sys/class/net").split() == ["eth0", "lo"]
    client("rm", "-f", "idle")
    client("network", "rm", "own")


def test_a_container_goes_on_when_its_default_bridge_is_given_up(tmp_path: Path) -> None:
    daemon = Fragile(tmp_path)
    daemon.start()
    own = daemon.bridge
    try:
        id = daemon.run("sleep", "1000")
        daemon.kill()
        daemon.bridge = "none"
        daemon.start()
        assert daemon.state(id)["Running"] and daemon.inside(id, "true") == (0, "")
        assert "has lost its network bridge until it starts again" in daemon.log.read_text()
        assert daemon.ask("POST", f"/containers/{id}/restart?t=0")[0] == 204
        assert daemon.inside(id, "ls", "/sys/class/net") == (0, "lo\n")
    finally:
        daemon.stop()
        daemon.bridge = own
        daemon._clear()
