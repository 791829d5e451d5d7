"""corten vm: names in networks, and limits of interfaces."""

from __future__ import annotations

import concurrent.futures
import hashlib
import json
import socket
import subprocess
import time
from collections.abc import Iterator

import pytest

from e2e_parts.machines import LIMIT, MARKS, Vm, console, serving

pytestmark = MARKS


@pytest.fixture(scope="module")
def vm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Vm]:
    yield from serving(tmp_path_factory.mktemp("machines"))


def test_names(vm: Vm) -> None:
    """A machine finds others of its network by their names, with a limit of what it sends as well; by nothing of the
    host's, and not in the default network."""
    vm.run("network", "create", "named")
    vm.create("beta", "--network", "named", "--start")
    vm.run("vm", "pause", "beta")  # it is asked for, and says nothing
    vm.create("alpha", "--network", "named", "--start")
    address = vm.inspect("beta")["NetworkSettings"]["Networks"]["named"]["IPAddress"]  # type: ignore[index]
    vm.ready("alpha")
    ask = "echo nameserver $(cut -d' ' -f2 /names) >/etc/resolv.conf; nslookup -type=a %s; echo as''ked"
    for name in ("beta", str(vm.inspect("beta")["Id"])[:12]):
        assert str(address) in console(vm, "alpha", ask % name, "asked")
    vm.run("vm", "update", "alpha", "--net-rate", "egress=1mbit")
    assert str(address) in console(vm, "alpha", ask % "beta", "asked"), "limited"
    vm.daemon.restart_killed()
    assert str(address) in console(vm, "alpha", ask % "beta", "asked"), "the next daemon"
    vm.run("vm", "rm", "-f", "beta")
    assert str(address) not in console(vm, "alpha", ask % "beta", "asked")
    vm.run("vm", "rm", "-f", "alpha")
    vm.run("network", "rm", "named")


def test_limits_of_networks(vm: Vm) -> None:
    """What it sends and what it receives, from the start on and while it runs; nothing of that is left."""
    assert "invalid net rate" in vm.run("vm", "create", "wrong", "--net-rate", "much", code=1)
    vm.create("slow", "--net-rate", "egress=8mbit", "--start")
    vm.ready("slow")
    gateway = "$(ip route | sed -n 's/default via \\([^ ]*\\).*/\\1/p')"
    command = f"dd if=/dev/zero bs=64k count=%d | nc {gateway} %d; echo se''nt"

    def sent(pieces: int) -> float:
        with socket.socket() as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 15)  # little comes while this process stands
            listener.bind(("", 0))
            listener.listen()
            listener.settimeout(LIMIT)
            with concurrent.futures.ThreadPoolExecutor(1) as pool:
                typed = pool.submit(console, vm, "slow", command % (pieces, listener.getsockname()[1]), "sent")
                connection = listener.accept()[0]
                with connection:
                    begin, left = time.monotonic(), pieces << 16
                    connection.settimeout(LIMIT)
                    while left:
                        left -= len(connection.recv(min(left, 1 << 16)))
                    seconds = time.monotonic() - begin
                typed.result()
        return seconds

    assert sent(48) > 2.0, "3 MiB at one MB a second"
    assert len(limited(vm)) == 1
    assert vm.run("vm", "update", "slow", "--net-rate", "ingress=8mbit") == "slow: NetRate: done\n"
    assert vm.run("vm", "inspect", "-f", "{{.Config.NetRate}}", "slow") == "ingress=8mbit\n"
    sent(48)
    assert limited(vm) == []
    vm.run("vm", "update", "slow", "--net-rate", "8mbit")
    assert sent(48) > 2.0 and len(limited(vm)) == 1
    vm.run("vm", "rm", "-f", "slow")
    vm.until(lambda: limited(vm) == [])


def limited(vm: Vm) -> list[str]:
    """Devices by which what this daemon's machines send is held back."""
    shown = subprocess.run(["ip", "-j", "link", "show", "type", "ifb"], capture_output=True, check=True).stdout
    names = [str(one["ifname"]) for one in json.loads(shown or b"[]")]
    prefix = "i" + hashlib.sha256(vm.daemon.bridge.encode()).hexdigest()[:5]
    return [name for name in names if name.startswith(prefix)]


def test_a_tap_that_another_program_deletes(vm: Vm) -> None:
    """It is back, with the same address by DHCP and names: while the daemon runs, and with the next daemon."""
    bridge = f"{vm.daemon.bridge}w"
    vm.run("network", "create", "wired", "-o", f"com.docker.network.bridge.name={bridge}")
    vm.create("cut", "--network", "wired", "--start")
    vm.ready("cut")
    before = vm.inspect("cut")["NetworkSettings"]
    _delete_taps(bridge)
    _answers_again(vm, "cut", 1)
    vm.daemon.kill()
    _delete_taps(bridge)
    vm.daemon.start()
    _answers_again(vm, "cut", 2)
    assert vm.inspect("cut")["NetworkSettings"] == before
    vm.run("vm", "rm", "-f", "cut")
    vm.run("network", "rm", "wired")


def _delete_taps(bridge: str) -> None:
    links = subprocess.run(["ip", "-j", "link", "show", "master", bridge], capture_output=True, check=True).stdout
    (link,) = json.loads(links)
    subprocess.run(["ip", "link", "delete", link["ifname"]], check=True)


def _asks(interface: str) -> str:
    """A command that gets an address by DHCP."""
    return f"ip link set {interface} up && udhcpc -i {interface} -n -q -t 2 -T 1 -s /dhcp"


def _answers_again(vm: Vm, name: str, number: int) -> None:
    asked = f"{_asks('eth0')} && nslookup -type=a cut $(cut -d' ' -f2 /names)"
    console(vm, name, f"rm -f /names; until {asked}; do sleep 1; done; echo ba''ck{number}", f"back{number}")


def test_dhcp_on_an_interface_that_is_plugged_in(vm: Vm) -> None:
    """Of a machine that began without a name server, too."""
    vm.run("network", "create", "later")
    vm.create("plugged", "--start")
    vm.ready("plugged")
    vm.run("vm", "device", "add", "plugged", "--network", "later")
    address = vm.inspect("plugged")["NetworkSettings"]["Networks"]["later"]["IPAddress"]  # type: ignore[index]
    asked = f"until {_asks('eth1')}; do sleep 1; done; ip addr show eth1"
    assert f"inet {address}/" in console(vm, "plugged", f"{asked}; echo ha''s", "has")
    names = "nslookup -type=a plugged $(cut -d' ' -f2 /names); echo as''ked"
    assert str(address) in console(vm, "plugged", names, "asked")
    vm.run("vm", "rm", "-f", "plugged")
    vm.run("network", "rm", "later")
