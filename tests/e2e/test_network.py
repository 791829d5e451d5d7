"""Networks as containers and their users see them: modes, names, published ports."""

from __future__ import annotations

import ipaddress
import json
import secrets
import socket
from collections.abc import Iterator

import pytest

from e2e_parts.clients import Client, execute
from e2e_parts.cortend import IMAGE, Cortend
from e2e_parts.patience import PATIENCE, until
from free_ports import free_port

SERVE = "echo hello > /tmp/index.html; exec httpd -f -p 80 -h /tmp"


def inside(client: Client, *flags: str, script: str, code: int = 0) -> str:
    return client("run", "--rm", *flags, IMAGE, "sh", "-c", script, code=code).out.strip()


def fetch(url: str, *prefix: str) -> str:
    """What curl gets, once there is something. (What forwards a port hangs up while nothing listens behind it.)"""
    return until(lambda: execute([*prefix, "curl", "-s", "-m", "60", url]).out.strip())


def published(client: Client, name: str, port: str = "80/tcp") -> int:
    return int(client.out("port", name, port).splitlines()[0].rpartition(":")[2])


@pytest.fixture
def neighbour(daemon: Cortend) -> Iterator[tuple[str, ...]]:
    """Another host: a network namespace with a cable to this one. The command prefix, and our address as it sees it."""
    name = f"n{daemon.name[2:]}"
    ours, theirs = f"{name}a", f"{name}b"
    base = ipaddress.ip_address("198.18.0.0") + 4 * secrets.randbelow(1 << 15)  # RFC 2544; no other test's /30
    commands = [
        ["ip", "netns", "add", name],
        ["ip", "link", "add", ours, "type", "veth", "peer", "name", theirs, "netns", name],
        ["ip", "addr", "add", f"{base + 1}/30", "dev", ours],
        ["ip", "link", "set", ours, "up"],
        ["ip", "-n", name, "addr", "add", f"{base + 2}/30", "dev", theirs],
        ["ip", "-n", name, "link", "set", theirs, "up"],
    ]
    try:
        for command in commands:
            done = execute(command)
            if done.code:
                pytest.skip(f"cannot make a neighbour: {done.err}")
        yield (str(base + 1), "ip", "netns", "exec", name)
    finally:
        execute(["ip", "netns", "delete", name])
        execute(["ip", "link", "delete", ours])


def test_published_ports(cli: Client, neighbour: tuple[str, ...]) -> None:
    named = free_port()  # what was chosen is another daemon's as soon as it is free again
    cli("run", "-d", "--name", "web", "-p", "80", "-p", f"{named}:80", IMAGE, "sh", "-c", SERVE)
    ports = {int(line.rpartition(":")[2]) for line in cli.out("port", "web", "80/tcp").splitlines()}
    (port,) = ports - {named}
    assert fetch(f"http://127.0.0.1:{port}/") == fetch(f"http://127.0.0.1:{named}/") == "hello"
    address, *prefix = neighbour
    assert fetch(f"http://{address}:{port}/", *prefix) == "hello"
    own = cli.out("inspect", "-f", "{{.NetworkSettings.Networks.bridge.IPAddress}}", "web")
    assert fetch(f"http://{own}/") == "hello"
    cli("stop", "-t", "0", "web")
    assert execute(["curl", "-s", "-m", "1", f"http://127.0.0.1:{named}/"]).code != 0


def test_published_ports_on_ipv6(cli: Client, neighbour: tuple[str, ...]) -> None:
    """Of a container that has none, as with dockerd's proxy; and at ::1 alone."""
    cli("run", "-d", "--name", "web", "-p", "80", IMAGE, "sh", "-c", SERVE)
    port = published(cli, "web")
    assert cli.out("port", "web", "80").splitlines() == [f"0.0.0.0:{port}", f"[::]:{port}"]
    for shown in (f"0.0.0.0:{port}->80/tcp", f"{port}->80/tcp"):
        assert shown in cli.out("ps", "--format", "{{.Ports}}")
    rows = json.loads(cli.out("inspect", "web"))[0]["NetworkSettings"]["Ports"]["80/tcp"]
    assert rows == [{"HostIp": "0.0.0.0", "HostPort": str(port)}, {"HostIp": "::", "HostPort": str(port)}]
    assert fetch(f"http://[::1]:{port}/") == "hello"
    ours, theirs = f"fd00:{port:x}::1", f"fd00:{port:x}::2"
    _, *prefix = neighbour
    device = f"{prefix[-1]}a"
    execute(["ip", "addr", "add", f"{ours}/64", "dev", device, "nodad"])
    execute([*prefix, "ip", "addr", "add", f"{theirs}/64", "dev", f"{prefix[-1]}b", "nodad"])
    assert fetch(f"http://[{ours}]:{port}/", *prefix) == "hello"
    port = free_port()  # no other daemon's at another address, nor when it is free again
    cli("run", "-d", "--name", "own", "-p", f"[::1]:{port}:80", IMAGE, "sh", "-c", SERVE)
    assert cli.out("port", "own", "80") == f"[::1]:{port}" and fetch(f"http://[::1]:{port}/") == "hello"
    assert execute([*prefix, "curl", "-s", "-m", "1", f"http://[{ours}]:{port}/"]).code != 0
    assert execute(["curl", "-s", "-m", "1", f"http://127.0.0.1:{port}/"]).code != 0
    cli("rm", "-f", "web", "own")
    socket.create_server(("::1", port), family=socket.AF_INET6).close()  # it is free again


def test_a_port_on_loopback_only(cli: Client, neighbour: tuple[str, ...]) -> None:
    cli("run", "-d", "--name", "web", "-p", "127.0.0.1::80", IMAGE, "sh", "-c", SERVE)
    port = published(cli, "web")
    assert fetch(f"http://127.0.0.1:{port}/") == "hello"
    address, *prefix = neighbour
    assert execute([*prefix, "curl", "-s", "-m", "1", f"http://{address}:{port}/"]).code != 0


def test_publish_all_and_expose(cli: Client) -> None:
    cli("run", "-d", "--name", "web", "-P", "--expose", "80", "--expose", "90-91/udp", IMAGE, "sh", "-c", SERVE)
    lines = cli.out("port", "web").splitlines()
    assert {line.split(" ")[0] for line in lines} == {"80/tcp", "90/udp", "91/udp"}
    assert fetch(f"http://127.0.0.1:{published(cli, 'web')}/") == "hello"


def test_udp(docker: Client) -> None:
    echo = "import socket; s = socket.socket(2, 2); s.bind(('', 7))\nwhile True: s.sendto(*s.recvfrom(999))"
    flags = ["-p", "127.0.0.1::7/udp", "-v", "/:/host:ro"]
    docker("run", "-d", "--name", "echo", *flags, IMAGE, "chroot", "/host", "/usr/bin/python3", "-c", echo)
    port = published(docker, "echo", "7/udp")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(0.3)

        def answered() -> bool:
            sock.sendto(b"ping", ("127.0.0.1", port))
            try:
                return sock.recv(100) == b"ping"
            except (TimeoutError, ConnectionRefusedError):
                return False

        until(answered)


def test_a_port_in_use(cli: Client) -> None:
    port = free_port()
    with socket.create_server(("127.0.0.1", port)):
        done = cli("run", "-d", "--name", "late", "-p", f"127.0.0.1:{port}:80", IMAGE, "sleep", "100", code=125)
        assert str(port) in done.err and ("in use" in done.err or "allocated" in done.err)
    cli("start", "late")
    done = cli("run", "-d", "-p", f"127.0.0.1:{port}:80", IMAGE, "sleep", "100", code=125)
    assert str(port) in done.err


def test_modes(cli: Client) -> None:
    assert inside(cli, "--network", "none", script="ls /sys/class/net").split() == ["lo"]
    assert inside(cli, script="ls /sys/class/net").split() == ["eth0", "lo"]
    import os

    assert set(inside(cli, "--network", "host", script="ls /sys/class/net").split()) >= {"lo"}
    assert inside(cli, "--network", "host", script="hostname") == os.uname().nodename
    cli("run", "-d", "--name", "first", "-p", "127.0.0.1::80", IMAGE, "sh", "-c", SERVE)
    script = "until wget -q -O - http://127.0.0.1/; do sleep 0.02; done; hostname; cat /etc/hostname"
    out = inside(cli, "--network", "container:first", script=script).split()
    assert out[0] == "hello" and out[1] == out[2] == cli.out("ps", "-q", "--no-trunc", "--filter", "name=first")[:12]
    assert "nosuch" in cli("run", "--rm", "--network", "container:nosuch", IMAGE, "true", code=125).err
    assert "nosuch" in cli("run", "--rm", "--network", "nosuch", IMAGE, "true", code=125).err
    assert cli("run", "--rm", "--network", "container:first", "-p", "80", IMAGE, "true", code=125).err


def test_containers_reach_each_other_and_the_host(docker: Client, daemon: Cortend) -> None:
    docker("run", "-d", "--name", "web", "-p", "80", IMAGE, "sh", "-c", SERVE)
    own = docker.out("inspect", "-f", "{{.NetworkSettings.Networks.bridge.IPAddress}}", "web")
    gateway = docker.out("inspect", "-f", "{{.NetworkSettings.Networks.bridge.Gateway}}", "web")
    get = "until wget -q -O - http://{}/; do sleep 0.02; done"
    assert inside(docker, script=get.format(own)) == "hello"
    assert inside(docker, script=get.format(f"{gateway}:{published(docker, 'web')}")) == "hello"


def test_names_and_addresses(cli: Client) -> None:
    flags = [
        "-h",
        "box",
        "--add-host",
        "db:10.1.2.3",
        "--dns",
        "10.9.8.7",
        "--dns-search",
        "example.org",
        "--dns-opt",
        "ndots:3",
    ]
    hosts, resolv = inside(cli, *flags, script="cat /etc/hosts; echo ---; cat /etc/resolv.conf").split("---")
    assert "10.1.2.3\tdb" in hosts and "\tbox" in hosts and "127.0.0.1\tlocalhost" in hosts
    assert "nameserver 10.9.8.7" in resolv and "search example.org" in resolv and "options ndots:3" in resolv


def test_mac_address(every: Client) -> None:
    mac = inside(every, "--mac-address", "02:11:22:33:44:55", script="cat /sys/class/net/eth0/address")
    assert mac == "02:11:22:33:44:55"


def test_networks_of_its_own(docker: Client, daemon: Cortend) -> None:
    status, made = daemon.ask("POST", "/networks/create", {"Name": "extra", "CheckDuplicate": True})
    assert status == 201, made
    try:
        docker("run", "-d", "--name", "web", "--network", "extra", "--network-alias", "www", IMAGE, "sh", "-c", SERVE)
        shown = json.loads(docker.out("inspect", "-f", "{{json .NetworkSettings.Networks}}", "web"))
        assert list(shown) == ["extra"] and shown["extra"]["IPAddress"]
        own = shown["extra"]["IPAddress"]
        get = f"until wget -q -O - http://{own}/; do sleep 0.02; done"
        assert inside(docker, "--network", "extra", script=get) == "hello"
        assert inside(docker, script=f"wget -q -T 1 -O - http://{own}/ || echo no") == "no"
        assert daemon.ask("DELETE", "/networks/extra")[0] in (403, 409)
        docker("rm", "-f", "web")
    finally:
        assert daemon.ask("DELETE", "/networks/extra")[0] == 204


def test_starts_side_by_side_have_addresses_of_their_own(corten: Client, daemon: Cortend) -> None:
    script = "cat /sys/class/net/eth0/address; read line"
    processes = [corten.popen("run", "--rm", "-i", IMAGE, "sh", "-c", script) for _ in range(20)]
    seen = {process.stdout.readline() for process in processes if process.stdout}
    assert len(seen) == 20 and b"" not in seen
    for process in processes:
        assert process.stdin is not None
        process.stdin.write(b"go\n")
        process.stdin.flush()
    assert [process.wait(PATIENCE) for process in processes] == [0] * 20


def test_a_network_that_is_disabled(docker: Client, daemon: Cortend) -> None:
    """No command line has a flag for it; a device of this host would be a hole."""
    body = {"Image": IMAGE, "Cmd": ["ls", "/sys/class/net"], "NetworkDisabled": True}
    status, made = daemon.ask("POST", "/containers/create", body)
    assert status == 201
    docker("start", made["Id"])
    assert docker.out("wait", made["Id"]) == "0"
    assert docker.out("logs", made["Id"]).split() == ["lo"]
