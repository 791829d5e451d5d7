"""Beside the firewalls that hosts have: iptables (its nft flavour) as Docker and ufw leave it, and firewalld itself."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from e2e_parts.clients import Client, available
from e2e_parts.patience import PATIENCE
from e2e_parts.secluded import Host, ask, fetch
from fault_parts.fragile import until
from netns import Net

FIREWALLD = """
set -e
mount -t tmpfs own /run
cp -a /etc/firewalld /run/etc
mount --bind /run/etc /etc/firewalld
mkdir -p /run/dbus
dbus-daemon --system --fork --nopidfile --print-pid > "$1/dbus"
exec firewalld --nofork --nopid
"""


class Place(Host):
    """A published web server, another network's client, and a machine outside with a server of its own."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.outside = self.neighbour()
        self.root = root

    def build(self) -> None:
        self.daemon.start()
        self.bridges = [self.network("inner"), self.network("other")]
        self.web = self.serve("web", "inner", {"80/tcp": [{"HostPort": "8080"}]})
        self.client = self.idle("client", "other")
        (self.root / "index.html").write_text("far away\n")
        self.far = self.started(self.outside, "busybox", "httpd", "-f", "-p", "80", "-h", str(self.root))
        until(lambda: fetch(self.outside, "http://127.0.0.1/", 2) == "far away", "the server outside")

    def started(self, net: Net, *command: str) -> subprocess.Popen[bytes]:
        with net.entered():
            return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)

    def published(self) -> bool:
        """From outside, from this host, and from another network."""
        here = fetch(self.net, "http://127.0.0.1:8080/") == "hello from web"
        return here and self.forwarded("http://192.0.2.1:8080/")

    def forwarded(self, url: str, seconds: float = PATIENCE) -> bool:
        return fetch(self.outside, url, seconds) == "hello from web"

    def gets_out(self, seconds: float = PATIENCE) -> bool:
        return ask(self.daemon, self.client, "http://192.0.2.9/", seconds) == "far away"

    def isolated(self) -> bool:
        address = self.endpoint(self.web, "inner")["IPAddress"]
        return ask(self.daemon, self.client, f"http://{address}/", 1) == ""

    def close(self) -> None:
        if hasattr(self, "far"):
            self.far.kill()
            self.far.wait()
        super().close()


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path)
    yield made
    made.close()


def rules(net: Net, *lines: str) -> None:
    if shutil.which("iptables-nft") is None:
        pytest.skip("no iptables-nft (Debian package iptables)")
    for line in lines:
        net.run("iptables-nft", *line.split())


def audited(place: Place) -> tuple[str, str]:
    """What our own command line says: the table, and what it warns of."""
    client = Client("corten", available()["corten"], place.daemon.address, place.root)
    try:
        done = client("network", "audit", "inner")
        return done.out, done.err
    finally:
        client.close()


def test_a_host_that_drops_all_input(place: Place) -> None:
    """INPUT is for the host's own programs; published ports are forwarded."""
    rules(place.net, "-P INPUT DROP", "-A INPUT -i lo -j ACCEPT", "-A INPUT -m state --state ESTABLISHED -j ACCEPT")
    place.build()
    assert place.published() and place.gets_out() and place.isolated()
    assert audited(place)[1] == ""


@pytest.mark.parametrize("closing", ["-P FORWARD DROP", "-A FORWARD -j REJECT", "-A FORWARD -j DROP"])
def test_a_host_that_forwards_nothing(place: Place, closing: str) -> None:
    """Its administrator's word counts: we say so, and one rule for each bridge and direction is enough."""
    rules(place.net, closing)
    place.build()
    assert not place.forwarded("http://192.0.2.1:8080/", 1) and not place.gets_out(1) and place.isolated()
    assert fetch(place.net, "http://127.0.0.1:8080/") == "hello from web"
    assert any("ip filter FORWARD" in line for line in place.daemon.get("/info")["Warnings"] or ())
    table, warning = audited(place)
    assert "192.0.2" not in table and "has to pass ip filter FORWARD as well" in warning
    for bridge in place.bridges:
        rules(place.net, f"-I FORWARD -i {bridge} -j ACCEPT", f"-I FORWARD -o {bridge} -j ACCEPT")
    assert place.published() and place.gets_out() and place.isolated()
    before = place.net.run("iptables-nft", "-S")
    place.daemon.kill()
    place.daemon.start()
    assert place.net.run("iptables-nft", "-S") == before  # no other rule was changed
    assert place.published()


@pytest.fixture
def firewalld(place: Place) -> Iterator[Callable[..., str]]:
    """firewalld as Debian has it, with a message bus and a /run of its own. Answers its command."""
    if shutil.which("firewalld") is None or shutil.which("dbus-daemon") is None:
        pytest.skip("no firewalld (Debian packages firewalld and dbus)")
    running = place.started(place.net, "unshare", "-m", "sh", "-c", FIREWALLD, "sh", str(place.root))
    enter = ["nsenter", "-m", "-t", str(running.pid), "firewall-cmd"]

    def command(*words: str) -> str:
        return place.net.run("sh", "-c", '"$@" 2>/dev/null || true', "sh", *enter, *words)

    until(lambda: "running" in command("--state").split(), "firewalld")
    yield command
    running.kill()
    running.wait()
    subprocess.run(["kill", (place.root / "dbus").read_text().strip()], check=True)


def test_beside_firewalld(place: Place, firewalld: Callable[..., str]) -> None:
    """It refuses to forward between devices of no zone; in "trusted", ours are as they are without it."""
    place.build()
    assert place.published() and place.isolated() and not place.gets_out(1)
    assert "has to pass inet firewalld filter_FORWARD as well" in audited(place)[1]
    for bridge in place.bridges:
        assert "success" in firewalld("--permanent", "--zone=trusted", f"--add-interface={bridge}")
    for _ in range(2):
        assert "success" in firewalld("--reload")
        assert place.published() and place.gets_out() and place.isolated()
