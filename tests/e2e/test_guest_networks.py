"""Networks of containers in guests that run, beside containers that are none."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from e2e_parts import clients, guests
from e2e_parts.clients import Client
from e2e_parts.cortend import IMAGE, Cortend
from e2e_parts.webs import address, ask, inside, serve, subnet
from fault_parts.fragile import until

PLAIN = ("--isolation", "process")


def test_a_guest_sees_what_others_do(docker: Client) -> None:
    """The row of a link follows the other container, which has another address after its start."""
    docker("run", "-d", "--name", "db", *PLAIN, IMAGE, "sleep", "1000")
    docker("run", "-d", "--name", "app", "--link", "db:store", IMAGE, "sleep", "1000")
    before = address(docker, "db", "bridge")
    assert f"{before}\tstore" in inside(docker, "app", "cat", "/etc/hosts")
    docker("stop", "-t", "0", "db")
    docker("run", "-d", "--name", "taken", *PLAIN, IMAGE, "sleep", "1000")
    docker("start", "db")
    after = address(docker, "db", "bridge")
    assert after != before or address(docker, "taken", "bridge") != before
    until(lambda: f"{after}\tstore" in inside(docker, "app", "cat", "/etc/hosts"), "the row follows")


def test_while_it_is_paused(docker: Client, net: Callable[..., str]) -> None:
    first, second = net(), net()
    serve(docker, "web", *PLAIN, "--network", second)
    docker("run", "-d", "--name", "guest", "--network", first, IMAGE, "sleep", "1000")
    docker("pause", "guest")
    docker("network", "connect", "--alias", "other", second, "guest")
    docker("network", "disconnect", first, "guest")
    docker("unpause", "guest")
    assert ask(docker, "guest", "web") == "hello from web"
    assert address(docker, "guest", second) in inside(docker, "web", "nslookup", "other")


def test_root_in_a_guest_takes_the_address_of_another(docker: Client, net: Callable[..., str]) -> None:
    """By its kernel: the address itself, words to all neighbours about it, and another MAC."""
    three = subnet()
    network = net("--subnet", f"{three}.0/24")
    docker("run", "-d", "--name", "victim", *PLAIN, "--network", network, IMAGE, "sleep", "1000")
    docker("run", "-d", "--name", "witness", *PLAIN, "--network", network, IMAGE, "sleep", "1000")
    docker("run", "-d", "--name", "root", "--privileged", "--network", network, IMAGE, "sleep", "1000")
    victim, gateway = address(docker, "victim", network), f"{three}.1"
    own = inside(docker, "root", "cat", "/sys/class/net/eth0/address")

    def neighbours() -> dict[str, str]:
        """Of the witness: addresses, and the MACs that they are believed to be at."""
        inside(docker, "witness", "ping", "-c", "1", "-W", "9", victim)
        lines = [line.split() for line in inside(docker, "witness", "ip", "neigh").splitlines()]
        return {words[0]: words[4] for words in lines if "lladdr" in words}

    before = neighbours()
    script = f"""
        ping -c 1 -W 20 {gateway} > /dev/null && echo before
        ip address add {victim}/24 dev eth0
        arping -q -U -c 2 -I eth0 {victim}; arping -q -A -c 2 -I eth0 {victim}; arping -q -U -c 1 -I eth0 {gateway}
        ping -c 1 -W 2 -I {victim} {gateway} > /dev/null || echo not as another
        ip address del {victim}/24 dev eth0
        ip link set eth0 address 02:66:66:66:66:66
        ping -c 1 -W 2 {gateway} > /dev/null || echo not by another
        ip link set eth0 address {own}
        ping -c 1 -W 20 {gateway} > /dev/null && echo after
    """
    assert inside(docker, "root", "sh", "-c", script).split("\n") == [
        "before", "not as another", "not by another", "after"
    ]  # fmt: skip
    assert neighbours()[victim] == before[victim] != own
    assert "02:66:66:66:66:66" not in subprocess.run(["bridge", "fdb"], capture_output=True, text=True).stdout


@pytest.fixture
def other(daemon: Cortend, docker: Client) -> Iterator[Cortend]:
    """A daemon of its own, with the template of the first."""
    root = Path(tempfile.mkdtemp(prefix="cg-"))
    other = Cortend(root, *guests.FLAGS)
    other.data.mkdir(0o700)
    subprocess.run(["cp", "-a", "--sparse=always", daemon.data / "vm", other.data], check=True)
    try:
        other.start()
        yield other
    finally:
        other.stop()
        shutil.rmtree(root, ignore_errors=True)


def test_behind_a_daemon_that_was_killed(other: Cortend) -> None:
    docker = Client("docker", clients.available()["docker"], other.address, other.root)
    for network in ("first", "second"):
        docker("network", "create", network)
    docker("run", "-d", "--name", "guest", "--network", "first", IMAGE, "sleep", "1000")
    docker("network", "connect", "second", "guest")
    other.restart_killed()
    docker("network", "disconnect", "first", "guest")
    docker("network", "connect", "first", "guest")
    docker("network", "disconnect", "second", "guest")
    docker("network", "connect", "second", "guest")
    serve(docker, "web", *PLAIN, "--network", "first")
    assert ask(docker, "guest", "web") == "hello from web"
    assert inside(docker, "guest", "ip", "-o", "link").count(": eth") == 2
    docker.close()
