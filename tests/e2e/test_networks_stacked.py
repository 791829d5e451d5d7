"""macvlan with a real neighbour: a network namespace at the other end of a cable. ipvlan where the kernel has it."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e_parts.clients import Client, execute
from e2e_parts.cortend import IMAGE
from e2e_parts.patience import PATIENCE
from fault_parts.fragile import Fragile, until

SERVE = "echo hello >/tmp/index.html; exec httpd -f -p 80 -h /tmp"


class Lan:
    """A cable: `parent` is our end of it, the machine at the other end has the address THREE.1."""

    def __init__(self) -> None:
        self.name = f"ln{secrets.token_hex(3)}"
        self.parent = f"{self.name}p"
        self.three = f"10.{secrets.randbelow(30) + 220}.{secrets.randbelow(256)}"

    def up(self) -> None:
        for command in (
            f"ip netns add {self.name}",
            f"ip link add {self.parent} type veth peer name lan0 netns {self.name}",
            f"ip link set {self.parent} up",
            f"ip -n {self.name} addr add {self.three}.1/24 dev lan0",
            f"ip -n {self.name} link set lan0 up",
        ):
            done = execute(command.split())
            assert done.code == 0, (command, done)

    def down(self) -> None:
        execute(["ip", "link", "delete", self.parent])
        execute(["ip", "netns", "delete", self.name])

    def fetch(self, address: str, seconds: float = 2) -> str:
        command = ["ip", "netns", "exec", self.name, "curl", "-s", "-m", str(seconds), f"http://{address}/"]
        return execute(command).out.strip()


@pytest.fixture
def lan() -> Iterator[Lan]:
    one = Lan()
    one.up()
    yield one
    one.down()


def address(client: Client, name: str, network: str) -> str:
    shown = json.loads(client.out("inspect", name))[0]
    return str(shown["NetworkSettings"]["Networks"][network]["IPAddress"])


def test_containers_are_neighbours_of_the_hosts_network(cli: Client, corten: Client, lan: Lan) -> None:
    flags = ["--subnet", f"{lan.three}.0/24", "--gateway", f"{lan.three}.1", "--ip-range", f"{lan.three}.64/26"]
    cli("network", "create", "-d", "macvlan", *flags, "-o", f"parent={lan.parent}", "street")
    cli("run", "-d", "--name", "web", "--network", "street", "--ip", f"{lan.three}.9", IMAGE, "sh", "-c", SERVE)
    until(lambda: lan.fetch(f"{lan.three}.9") == "hello", "a machine of the network reaches the container")
    done = cli("run", "--rm", "--network", "street", IMAGE, "sh", "-c", "wget -qO- http://web; ip route; ip -o addr")
    assert "hello" in done.out and f"default via {lan.three}.1" in done.out
    assert f"{lan.three}.64/24" in done.out
    rows = [json.loads(line) for line in corten.out("network", "audit", "--format", "json", "street").splitlines()]
    assert [row["From"] for row in rows] == ["outside, street"]


def test_connect_and_disconnect(cli: Client, lan: Lan) -> None:
    own = f"{lan.three}.0/24"
    cli("network", "create", "-d", "macvlan", "--subnet", own, "-o", f"parent={lan.parent}", "street")
    cli("run", "-d", "--name", "web", IMAGE, "sh", "-c", SERVE)
    cli("network", "connect", "street", "web")
    until(lambda: lan.fetch(address(cli, "web", "street")) == "hello", "the container is in the network")
    cli("network", "disconnect", "bridge", "web")
    assert f"default via {lan.three}.1" in cli.out("exec", "web", "ip", "route")
    cli("network", "disconnect", "street", "web")
    assert cli.out("exec", "web", "ip", "-o", "link").count("eth") == 0


def test_an_address_is_used_again_at_once(cli: Client, lan: Lan) -> None:
    """The kernel removes a device with its namespace, behind the last process's end: its MAC is taken until then."""
    own = f"{lan.three}.0/24"
    cli("network", "create", "-d", "macvlan", "--subnet", own, "-o", f"parent={lan.parent}", "street")
    cli("run", "-d", "--name", "web", "--network", "street", "--ip", f"{lan.three}.9", IMAGE, "sleep", "1000")
    for _ in range(8):
        cli("restart", "-t", "0", "web")
    for _ in range(4):
        cli("rm", "-f", "web")
        cli("run", "-d", "--name", "web", "--network", "street", "--ip", f"{lan.three}.9", IMAGE, "sleep", "1000")


def test_a_stray_of_a_killed_daemon_is_no_obstacle(docker: Client, lan: Lan) -> None:
    docker(
        "network", "create", "-d", "macvlan", "--subnet", f"{lan.three}.0/24", "-o", f"parent={lan.parent}", "street"
    )
    docker("run", "-d", "--name", "web", IMAGE, "sh", "-c", SERVE)
    pid = docker.out("inspect", "-f", "{{.State.Pid}}", "web")
    stray = f"ip link add link {lan.parent} name eth1 netns {pid} type macvlan mode bridge"
    assert execute(stray.split()).code == 0
    docker("network", "connect", "street", "web")
    until(lambda: lan.fetch(address(docker, "web", "street")) == "hello", "the container is in the network")


def test_a_network_without_parent_leads_nowhere(cli: Client) -> None:
    cli("network", "create", "-d", "macvlan", "nowhere")
    cli("run", "-d", "--name", "web", "--network", "nowhere", IMAGE, "sh", "-c", SERVE)
    script = "until wget -qO- http://web; do sleep 0.02; done"
    assert cli.out("run", "--rm", "--network", "nowhere", IMAGE, "timeout", "60", "sh", "-c", script) == "hello"
    id = cli.out("network", "inspect", "-f", "{{.Id}}", "nowhere")
    assert Path(f"/sys/class/net/dm-{id[:12]}").exists()
    cli("rm", "-f", "web")
    cli("network", "rm", "nowhere")
    assert not Path(f"/sys/class/net/dm-{id[:12]}").exists()


def test_what_cannot_be(cli: Client, lan: Lan) -> None:
    def refused(*flags: str) -> str:
        return cli("network", "create", *flags, "street", code=1).err

    assert "does not exist" in refused("-d", "macvlan", "-o", "parent=nosuch0")
    assert "unknown macvlan mode" in refused("-d", "macvlan", "-o", f"parent={lan.parent}", "-o", "macvlan_mode=up")
    cli("network", "create", "-d", "macvlan", "-o", f"parent={lan.parent}", "first")
    assert "belongs to one network" in refused("-d", "macvlan", "-o", f"parent={lan.parent}")


def test_ipvlan_or_why_not(cli: Client, lan: Lan) -> None:
    flags = ["-d", "ipvlan", "--subnet", f"{lan.three}.0/24", "-o", f"parent={lan.parent}"]
    done = cli("network", "create", *flags, "street", code=None)
    if done.code:
        assert "this kernel has no ipvlan (CONFIG_IPVLAN)" in done.err
        return
    cli("run", "-d", "--name", "web", "--network", "street", IMAGE, "sh", "-c", SERVE)
    until(lambda: lan.fetch(address(cli, "web", "street")) == "hello", "a machine of the network reaches the container")


def test_it_outlives_the_daemon(tmp_path: Path, lan: Lan) -> None:
    daemon = Fragile(tmp_path)
    daemon.start()
    try:
        ipam = {"Config": [{"Subnet": f"{lan.three}.0/24", "Gateway": f"{lan.three}.1"}]}
        body = {"Name": "street", "Driver": "macvlan", "IPAM": ipam, "Options": {"parent": lan.parent}}
        assert daemon.ask("POST", "/networks/create", body)[0] == 201
        web = daemon.run("sh", "-c", SERVE, name="web", host={"NetworkMode": "street"})
        until(lambda: lan.fetch(f"{lan.three}.2") == "hello", "the container is in the network")
        daemon.kill()
        daemon.start()
        assert lan.fetch(f"{lan.three}.2", PATIENCE) == "hello"
        other = daemon.run("nslookup", "web", host={"NetworkMode": "street"})
        assert daemon.ask("POST", f"/containers/{other}/wait")[1]["StatusCode"] == 0
        shown = daemon.get(f"/containers/{web}/json")["NetworkSettings"]["Networks"]["street"]
        assert shown["IPAddress"] == f"{lan.three}.2"
    finally:
        daemon.stop()
