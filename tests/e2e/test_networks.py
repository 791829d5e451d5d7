"""Networks between real containers: names, addresses, walls, and changes while they run."""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import http.client
import json
import random
import secrets
import shutil
import socket
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from e2e_parts.clients import Client, execute
from e2e_parts.cortend import CORTEND, IMAGE, Cortend
from fault_parts.fragile import Fragile, until

SERVE = "echo hello from $0 >/tmp/index.html; exec httpd -f -p 80 -h /tmp"


def subnet() -> str:
    """Three numbers of a /24 that nobody else uses."""
    return f"10.{secrets.randbelow(100) + 100}.{secrets.randbelow(256)}"


@pytest.fixture
def net(docker: Client) -> Callable[..., str]:
    """Makes a network with these flags; answers its name. The end of the test takes it away."""

    def make(*flags: str) -> str:
        name = f"n{secrets.token_hex(3)}"
        docker("network", "create", *flags, name)
        return name

    return make


def serve(client: Client, name: str, *flags: str) -> None:
    """A container with a web server on port 80."""
    client("run", "-d", "--name", name, *flags, IMAGE, "sh", "-c", SERVE, name)
    until(lambda: client("exec", name, "wget", "-qO-", "127.0.0.1", code=None).code == 0, f"{name} serves")


def ask(client: Client, name: str, host: str, code: int | None = 0) -> str:
    """What the web server `host` says to the container `name`."""
    return client("exec", name, "timeout", "3", "wget", "-qO-", f"http://{host}/", code=code).out.strip()


def idle(client: Client, name: str, *flags: str) -> None:
    client("run", "-d", "--name", name, *flags, IMAGE, "sleep", "1000")


def inside(client: Client, name: str, *command: str) -> str:
    return client.out("exec", name, *command)


def address(client: Client, name: str, network: str) -> str:
    networks = json.loads(client.out("inspect", "--format", "{{json .NetworkSettings.Networks}}", name))
    return str(networks[network]["IPAddress"])


def resolves(client: Client, asker: str, name: str) -> bool:
    return client("exec", asker, "nslookup", name, code=None).code == 0


# ------------------------------------------------------------------------------------------------------------ names


def test_containers_find_each_other_by_name_alias_and_id(docker: Client, net: Callable[..., str]) -> None:
    network = net()
    serve(docker, "web", "--network", network, "--network-alias", "shop")
    idle(docker, "asker", "--network", network)
    id = docker.out("inspect", "--format", "{{.Id}}", "web")
    for name in ("web", "shop", f"web.{network}", id[:12], "WEB"):
        assert ask(docker, "asker", name) == "hello from web"
    assert inside(docker, "asker", "cat", "/etc/resolv.conf").splitlines()[0] == "nameserver 127.0.0.11"
    assert not resolves(docker, "asker", "nobody-is-called-so")
    found = inside(docker, "asker", "nslookup", address(docker, "web", network))
    assert f"web.{network}" in found


def test_one_alias_of_several_containers_has_all_addresses(docker: Client, net: Callable[..., str]) -> None:
    network = net()
    for name in ("one", "two"):
        idle(docker, name, "--network", network, "--network-alias", "pool")
    found = inside(docker, "one", "nslookup", "pool")
    assert all(address(docker, name, network) in found for name in ("one", "two"))
    docker("rm", "-f", "two")
    assert not resolves(docker, "one", "two")


def test_a_container_that_starts_again_is_found_again(docker: Client, net: Callable[..., str]) -> None:
    network = net()
    serve(docker, "web", "--network", network)
    idle(docker, "asker", "--network", network)
    docker("stop", "-t", "0", "web")
    assert not resolves(docker, "asker", "web")
    docker("start", "web")
    until(lambda: ask(docker, "asker", "web", code=None) == "hello from web", "web serves again")


def test_rename_is_known_at_once(docker: Client, net: Callable[..., str]) -> None:
    network = net()
    idle(docker, "old", "--network", network)
    idle(docker, "asker", "--network", network)
    docker("rename", "old", "new")
    assert resolves(docker, "asker", "new") and not resolves(docker, "asker", "old")
    assert "new" in docker.out("network", "inspect", network)
    assert json.loads(docker.out("inspect", "new"))[0]["NetworkSettings"]["Networks"][network]["DNSNames"][0] == "new"


def test_the_default_network_has_no_names_but_links(docker: Client) -> None:
    serve(docker, "web")
    done = docker("run", "--rm", "--link", "web:db", IMAGE, "sh", "-c", "wget -qO- http://db; cat /etc/resolv.conf")
    assert "hello from web" in done.out and "127.0.0.11" not in done.out
    assert docker("run", "--rm", IMAGE, "ping", "-c1", "-W1", "web", code=None).code != 0
    idle(docker, "linked", "--link", "web:db")
    old = address(docker, "web", "bridge")
    docker("stop", "-t", "0", "web")

    def taken() -> bool:
        docker("rm", "-f", "other", code=None)
        idle(docker, "other")
        return address(docker, "other", "bridge") == old

    until(taken, "another container has the address")
    docker("start", "web")
    assert (new := address(docker, "web", "bridge")) != old
    assert f"{new}\tdb\n" in inside(docker, "linked", "cat", "/etc/hosts")
    docker("stop", "-t", "0", "web")
    assert "Cannot link to a non running container" in docker("run", "--link", "web:db", IMAGE, code=125).err


def test_links_in_a_network_are_names_of_one_container(docker: Client, net: Callable[..., str]) -> None:
    network = net()
    serve(docker, "web", "--network", network)
    idle(docker, "linked", "--network", network, "--link", "web:db")
    idle(docker, "other", "--network", network)
    assert ask(docker, "linked", "db") == "hello from web"
    assert not resolves(docker, "other", "db")


# ------------------------------------------------------------------------------------------------------------ walls


def test_networks_do_not_reach_each_other(docker: Client, net: Callable[..., str]) -> None:
    here, there = net(), net()
    serve(docker, "web", "--network", there)
    idle(docker, "asker", "--network", here)
    assert not resolves(docker, "asker", "web")
    assert ask(docker, "asker", address(docker, "web", there), code=None) == ""
    docker("network", "connect", here, "web")
    assert ask(docker, "asker", "web") == "hello from web"


def test_an_internal_network_has_no_way_out(docker: Client, net: Callable[..., str]) -> None:
    inner, outer = net("--internal"), net()
    serve(docker, "web", "--network", inner)
    serve(docker, "outside", "--network", outer)
    idle(docker, "asker", "--network", inner)
    assert ask(docker, "asker", "web") == "hello from web"
    assert ask(docker, "asker", address(docker, "outside", outer), code=None) == ""
    assert "default" not in inside(docker, "asker", "ip", "route")
    begun = time.monotonic()
    assert not resolves(docker, "asker", "example.com")
    assert time.monotonic() - begun < 5  # refused, not waited for


def test_without_icc_neighbours_are_strangers(docker: Client, net: Callable[..., str]) -> None:
    network = net("-o", "com.docker.network.bridge.enable_icc=false")
    serve(docker, "web", "--network", network)
    idle(docker, "asker", "--network", network)
    assert ask(docker, "asker", address(docker, "web", network), code=None) == ""


def test_a_container_takes_no_router_advertisements(docker: Client) -> None:
    idle(docker, "one")
    for device in ("all", "default", "eth0"):
        assert inside(docker, "one", "cat", f"/proc/sys/net/ipv6/conf/{device}/accept_ra") == "0"


# -------------------------------------------------------------------------------------------------------- addresses


def test_static_addresses(docker: Client, net: Callable[..., str]) -> None:
    three = subnet()
    network = net("--subnet", f"{three}.0/24", "--gateway", f"{three}.254", "--ip-range", f"{three}.128/25")
    idle(docker, "fixed", "--network", network, "--ip", f"{three}.7")
    idle(docker, "free", "--network", network)
    assert address(docker, "fixed", network) == f"{three}.7"
    assert address(docker, "free", network) == f"{three}.128"
    assert f"default via {three}.254" in inside(docker, "fixed", "ip", "route")
    taken = docker("run", "--rm", "--network", network, "--ip", f"{three}.7", IMAGE, "true", code=125)
    assert "already in use" in taken.err
    docker("restart", "-t", "0", "fixed")
    assert address(docker, "fixed", network) == f"{three}.7"


def test_two_families(docker: Client, net: Callable[..., str]) -> None:
    network = net("--ipv6")
    serve(docker, "web", "--network", network)
    idle(docker, "asker", "--network", network)
    shown = json.loads(docker.out("inspect", "web"))[0]["NetworkSettings"]["Networks"][network]
    assert shown["GlobalIPv6Address"].startswith("fd")
    assert shown["GlobalIPv6Address"] in inside(docker, "asker", "nslookup", "web")
    docker("exec", "asker", "ping", "-6", "-c1", "-W2", shown["GlobalIPv6Address"])


def test_ports_are_published_on_user_defined_networks(docker: Client, net: Callable[..., str]) -> None:
    serve(docker, "web", "--network", net(), "-p", "127.0.0.1::80")
    assert fetched(docker.out("port", "web", "80")) == "hello from web"


# ------------------------------------------------------------------------------------------------- while it runs


def test_connect_and_disconnect_a_running_container(cli: Client, docker: Client, net: Callable[..., str]) -> None:
    three = subnet()
    first, second = net(), net("--subnet", f"{three}.0/24")
    serve(docker, "web", "--network", first)
    idle(docker, "asker", "--network", second)
    cli("network", "connect", "--alias", "shop", "--ip", f"{three}.9", second, "web")
    assert ask(docker, "asker", "shop") == "hello from web"
    assert address(cli, "web", second) == f"{three}.9"
    assert f"{three}.9" in inside(docker, "web", "cat", "/etc/hosts")
    old = address(docker, "web", first)
    cli("network", "disconnect", first, "web")
    assert f"default via {three}.1" in inside(docker, "web", "ip", "route")
    assert old not in inside(docker, "web", "cat", "/etc/hosts")
    assert list(json.loads(cli.out("inspect", "--format", "{{json .NetworkSettings.Networks}}", "web"))) == [second]
    cli("network", "disconnect", second, "web")
    assert inside(docker, "web", "ip", "-o", "link").count("\n") == 0
    assert not resolves(docker, "asker", "shop")


def test_a_container_of_the_default_network_gets_names_when_connected(docker: Client, net: Callable[..., str]) -> None:
    network = net()
    serve(docker, "web", "--network", network)
    idle(docker, "asker")
    assert "127.0.0.11" not in inside(docker, "asker", "cat", "/etc/resolv.conf")
    docker("network", "connect", network, "asker")
    assert ask(docker, "asker", "web") == "hello from web"


def test_a_network_wished_for_while_stopped_is_there_at_the_start(docker: Client, net: Callable[..., str]) -> None:
    first, second = net(), net()
    docker("create", "--name", "web", "--network", first, IMAGE, "sleep", "1000")
    docker("network", "connect", second, "web")
    docker("start", "web")
    assert address(docker, "web", first) and address(docker, "web", second)
    assert inside(docker, "web", "ip", "-o", "link").count(": eth") == 2


def test_ports_move_to_another_network_with_a_way_out(cli: Client, docker: Client, net: Callable[..., str]) -> None:
    first, second, inner = net(), net(), net("--internal")
    serve(docker, "web", "--network", first, "-p", "127.0.0.1::80")
    for network in (inner, second):
        cli("network", "connect", network, "web")
    cli("network", "disconnect", first, "web")
    assert fetched(docker.out("port", "web", "80")) == "hello from web"
    cli("network", "disconnect", second, "web")
    assert docker.out("port", "web") == ""


def fetched(place: str) -> str:
    with urllib.request.urlopen(f"http://{place}/", timeout=5) as answer:
        return str(answer.read().decode().strip())


def fetched_or_none(place: str) -> str | None:
    try:
        return fetched(place)
    except OSError:
        return None


def test_published_ports_change_while_it_runs(corten: Client, docker: Client, net: Callable[..., str]) -> None:
    serve(docker, "web", "--network", net(), "-p", "127.0.0.1::80")
    first = docker.out("port", "web", "80")
    corten("update", "--publish-add", "127.0.0.2::80", "web")
    second = next(line for line in docker.out("port", "web", "80").splitlines() if line != first)
    assert fetched(first) == fetched(second) == "hello from web"
    corten("update", "--publish-rm", f"{first.rpartition(':')[2]}:80", "web")
    assert docker.out("port", "web", "80") == second
    with pytest.raises(OSError):
        fetched(first)
    with socket.create_server((first.partition(":")[0], int(first.rpartition(":")[2]))):
        assert fetched(second) == "hello from web"  # and the other port is anybody's
        refused = corten("update", "--publish-rm", "80", "--publish-add", f"{first}:80", "web", code=1)
    assert "port is already allocated" in refused.err
    assert fetched(second) == "hello from web"  # all or nothing
    docker("restart", "-t", "0", "web")
    third = docker.out("port", "web", "80")
    assert third.startswith("127.0.0.2:")  # kept for the next start
    assert "does not publish port 81/tcp" in corten("update", "--publish-rm", "81", "web", code=1).err
    corten("update", "--publish-rm", "80", "web")
    assert json.loads(docker.out("inspect", "web"))[0]["NetworkSettings"]["Ports"] == {"80/tcp": None}


def test_a_rate_is_kept_to_and_changed_while_it_runs(corten: Client, docker: Client, net: Callable[..., str]) -> None:
    """A limit can be measured without a clock's tolerance in one direction: nothing is ever faster than it."""
    network = net()
    script = "dd if=/dev/zero of=/tmp/big bs=1024 count=512 2>/dev/null; exec httpd -f -p 80 -h /tmp"
    docker("run", "-d", "--name", "web", "--network", network, IMAGE, "sh", "-c", script)
    corten("run", "-d", "--name", "slow", "--network", network, "--net-rate", "ingress=4mbit", IMAGE, "sleep", "1000")

    def seconds() -> float:
        begun = time.monotonic()
        assert inside(docker, "slow", "sh", "-c", "wget -qO- http://web/big | wc -c") == "524288"
        return time.monotonic() - begun

    until(lambda: docker("exec", "web", "wget", "-qO-", "127.0.0.1/big", code=None).code == 0, "web serves")
    assert seconds() > 0.9  # 512 KiB at 4 Mbit/s take 1.05 s, less what may go at once
    corten("update", "--net-rate", "none", "slow")
    assert seconds() < 0.9
    corten("update", "--net-rate", "egress=4mbit", "web")
    assert seconds() > 0.9
    docker("restart", "-t", "0", "web")
    until(lambda: docker("exec", "web", "wget", "-qO-", "127.0.0.1/big", code=None).code == 0, "web serves again")
    assert seconds() > 0.9
    assert "netem" in corten("update", "--net-rate", "delay=5ms", "web", code=1).err


def test_gateway_priority(daemon: Cortend, docker: Client, net: Callable[..., str]) -> None:
    first, second = net(), net()
    docker("run", "-d", "--name", "one", "--network", first, IMAGE, "sleep", "1000")
    body = {"Container": "one", "EndpointConfig": {"GwPriority": 5}}
    assert daemon.ask("POST", f"/networks/{second}/connect", body)[0] == 200
    gateway = json.loads(docker.out("inspect", "one"))[0]["NetworkSettings"]["Networks"][second]["Gateway"]
    assert f"default via {gateway}" in inside(docker, "one", "ip", "route")


# -------------------------------------------------------------------------------------------------- noun and errors


def test_events_and_listing(docker: Client, daemon: Cortend, net: Callable[..., str]) -> None:
    since = time.time()
    network = net("--label", "tier=front")
    idle(docker, "one", "--network", network)
    docker("rm", "-f", "one")
    docker("network", "rm", network)
    seen = [e for e in daemon.events(since, type="network") if e["Actor"]["Attributes"]["name"] == network]
    assert [e["Action"] for e in seen] == ["create", "connect", "disconnect", "destroy"]
    assert network not in docker.out("network", "ls")
    other = net("--label", "tier=front")
    assert docker.out("network", "ls", "--filter", "label=tier=front", "--format", "{{.Name}}") == other
    assert other not in docker.out("network", "ls", "--filter", "type=builtin", "--format", "{{.Name}}").split()
    assert docker.out("network", "ls", "-f", "driver=host", "--format", "{{.Name}} {{.Driver}}") == "host host"


def test_errors_have_dockers_statuses(daemon: Cortend, docker: Client, net: Callable[..., str]) -> None:
    network = net("--subnet", f"{(three := subnet())}.0/24")
    idle(docker, "one", "--network", network)
    idle(docker, "hosted", "--network", "host")
    idle(docker, "alone", "--network", "none")

    def status(method: str, path: str, body: Any = None) -> int:
        code, answer = daemon.ask(method, path, body)
        assert code < 400 or answer["message"], answer
        return code

    def create(**fields: Any) -> int:
        return status("POST", "/networks/create", {"Name": f"x{secrets.token_hex(3)}", **fields})

    def connect(name: str, container: str, **settings: Any) -> int:
        return status("POST", f"/networks/{name}/connect", {"Container": container, "EndpointConfig": settings})

    assert create(Name=network) == 409
    assert create(Name="bridge") == 403
    assert create(Name="") == 400
    assert create(Driver="nope") == 404
    assert create(IPAM={"Config": [{"Subnet": "10.0.0.0/33"}]}) == 400
    assert create(IPAM={"Config": [{"Subnet": f"{three}.0/25"}]}) == 403
    assert create(Options={"com.docker.network.driver.mtu": "12"}) == 400
    assert status("DELETE", f"/networks/{network}") == 403
    assert status("DELETE", "/networks/bridge") == 403
    assert status("DELETE", "/networks/nope") == 404
    assert status("GET", "/networks/nope") == 404
    assert status("GET", "/networks?filters=" + '{"nope":["x"]}') == 400
    assert connect("nope", "one") == 404
    assert connect(network, "nope") == 404
    assert connect(network, "one") == 403
    assert connect("host", "one") == 400
    assert connect(network, "hosted") == 403
    assert connect(network, "alone") == 400
    second = net("--subnet", f"{(other := subnet())}.0/24")
    assert connect(second, "one", IPAMConfig={"IPv4Address": f"{three}.77"}) == 400
    assert connect(second, "one", IPAMConfig={"IPv4Address": "x"}) == 400
    assert connect("bridge", "one", IPAMConfig={"IPv4Address": f"{other}.77"}) == 400
    assert connect(second, "one", Aliases=["a b"]) == 400
    assert status("POST", f"/networks/{second}/disconnect", {"Container": "one"}) == 404
    assert status("POST", f"/networks/{second}/disconnect", {"Container": "one", "Force": True}) == 200
    assert inside(docker, "one", "ip", "-o", "link").count(": eth") == 1  # and every refused one left nothing


def test_prune_takes_what_nobody_uses(docker: Client, net: Callable[..., str]) -> None:
    used, unused, kept = net(), net(), net("--label", "keep")
    idle(docker, "one", "--network", used)
    assert docker.out("network", "prune", "-f", "--filter", "label!=keep").split()[-1] == unused
    left = docker.out("network", "ls", "--format", "{{.Name}}").split()
    assert used in left and kept in left and unused not in left


def test_audit_shows_who_reaches_whom(corten: Client, docker: Client, net: Callable[..., str]) -> None:
    network = net()
    idle(docker, "web", "--network", network, "-p", "127.0.0.1::80")
    rows = [json.loads(line) for line in corten.out("network", "audit", "--format", "json", network).splitlines()]
    place = docker.out("port", "web", "80")
    assert {(row["Port"], row["Via"], row["From"]) for row in rows} == {
        ("*", address(docker, "web", network), f"host, {network}"),
        ("80/tcp", place, "host"),
    }
    assert corten("network", "audit", "nope", code=1).err == "Error response from daemon: network nope not found\n"


def test_docker_py(daemon: Cortend, nothing_left: None) -> None:
    library = pytest.importorskip("docker")
    client = library.DockerClient(base_url=daemon.address)
    try:
        three = subnet()
        pool = library.types.IPAMPool(subnet=f"{three}.0/24", gateway=f"{three}.3")
        config = library.types.IPAMConfig(pool_configs=[pool])
        network = client.networks.create("made", driver="bridge", ipam=config, labels={"a": "b"})
        box = client.containers.run(IMAGE, ["sleep", "1000"], name="box", detach=True)
        network.connect(box, aliases=["shop"], ipv4_address=f"{three}.9")
        network.reload()
        assert network.containers == [box]
        assert [n.name for n in client.networks.list(filters={"label": "a=b"})] == ["made"]
        box.reload()
        assert box.attrs["NetworkSettings"]["Networks"]["made"]["IPAddress"] == f"{three}.9"
        assert box.exec_run(["nslookup", "shop"]).exit_code == 0
        with pytest.raises(library.errors.APIError) as refused:
            network.remove()
        assert refused.value.status_code == 403
        network.disconnect(box)
        network.remove()
        with pytest.raises(library.errors.NotFound):
            client.networks.get("made")
    finally:
        client.close()


COMPOSE = """
version: "3"
services:
  web:
    image: corten/busybox
    command: ["sh", "-c", "echo composed >/tmp/index.html; exec httpd -f -p 80 -h /tmp"]
    networks:
      back:
        aliases: [shop]
  asker:
    image: corten/busybox
    command: ["sh", "-c", "until wget -qO- http://web && wget -qO- http://shop; do sleep 0.05; done"]
    depends_on: [web]
    networks: [back, front]
networks:
  back: {internal: true}
  front: {}
"""


def test_compose(daemon: Cortend, docker: Client, tmp_path: Path) -> None:
    program = shutil.which("docker-compose")
    if program is None:
        pytest.skip("no docker-compose (Debian package docker-compose)")
    (tmp_path / "docker-compose.yml").write_text(COMPOSE)
    project = f"p{secrets.token_hex(3)}"
    compose = [program, "-p", project, "-f", str(tmp_path / "docker-compose.yml")]
    up = execute([*compose, "up", "-t", "0", "--exit-code-from", "asker"], env=docker.env, timeout=60)
    assert up.code == 0 and up.out.count("composed") == 2, up
    listed = docker.out("network", "ls", "--format", "{{.Name}} {{.Internal}}").splitlines()
    assert {f"{project}_back true", f"{project}_front false"} <= set(listed)
    down = execute([*compose, "down", "-t", "0"], env=docker.env, timeout=60)
    assert down.code == 0, down
    assert project not in docker.out("network", "ls")


# ------------------------------------------------------------------------------------------------- another daemon


@pytest.fixture
def fragile(tmp_path: Path) -> Iterator[Fragile]:
    daemon = Fragile(tmp_path)
    daemon.start()
    yield daemon
    daemon.stop()


def test_names_and_ports_outlive_the_daemon(fragile: Fragile) -> None:
    assert fragile.ask("POST", "/networks/create", {"Name": "inner"})[0] == 201
    host = {"NetworkMode": "inner", "PortBindings": {"80/tcp": [{"HostIp": "127.0.0.1"}]}}
    web = fragile.run("sh", "-c", SERVE, "web", name="web", host=host)
    loop = "while true; do timeout 2 wget -qO- http://site/ || echo none; sleep 0.1; done"
    asker = fragile.run("sh", "-c", loop, name="asker", host={"NetworkMode": "inner"})
    assert fragile.ask("POST", "/containers/web/rename?name=site")[0] == 204
    port = fragile.get(f"/containers/{web}/json")["NetworkSettings"]["Ports"]["80/tcp"][0]["HostPort"]

    def served() -> bool:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5) as answer:
            return bool(answer.read() == b"hello from web\n")

    def heard(since: float) -> bool:
        log = fragile.ask("GET", f"/containers/{asker}/logs?stdout=1&since={since:.9f}")[1]
        return "hello from web" in str(log)

    until(lambda: heard(0), "the other container is found")
    assert served()
    fragile.kill()
    assert served()  # the kernel needs no daemon
    since, log = time.time(), fragile.data / "containers" / asker / f"{asker}-json.log"
    until(lambda: _said_since(log, since), "the other container is found without a daemon")
    fragile.start()
    assert served()
    since = time.time()
    until(lambda: heard(since), "the other container is found again")
    again = fragile.get(f"/containers/{web}/json")
    assert again["NetworkSettings"]["Ports"]["80/tcp"][0]["HostPort"] == port
    assert "site" in str(fragile.get("/networks/inner")["Containers"])


def _said_since(log: Path, since: float) -> bool:
    """The last record is of what the server says, and younger."""
    record = json.loads(log.read_text().splitlines()[-1])
    when = datetime.datetime.fromisoformat(record["time"][:26] + "+00:00").timestamp()
    return when > since and record["log"] == "hello from web\n"


@pytest.fixture
def secluded(tmp_path: Path) -> Iterator[Fragile]:
    """A daemon whose host is a network namespace of its own: there its firewall may be taken away."""
    script = 'ip link set lo up; exec "$0" "$@"'
    daemon = Fragile(tmp_path, program=["unshare", "-n", "sh", "-c", script, str(CORTEND)])
    daemon.start()
    yield daemon
    daemon.stop()


def test_a_flushed_firewall_is_repaired(secluded: Fragile) -> None:
    host = ["nsenter", "-t", str(secluded.pid), "-n"]
    secluded.run("sh", "-c", SERVE, "web", name="web", host={"PortBindings": {"80/tcp": [{"HostPort": "8080"}]}})
    fetch = [*host, "curl", "-s", "-m", "2", "http://127.0.0.1:8080/"]
    until(lambda: execute(fetch).out == "hello from web\n", "the port answers")
    before = execute([*host, "nft", "list", "ruleset"]).out
    assert "corten" in before
    assert execute([*host, "nft", "flush", "ruleset"]).code == 0
    until(lambda: execute([*host, "nft", "list", "ruleset"]).out == before, "every rule is back")
    assert execute(fetch).out == "hello from web\n"


def test_flags_about_the_default_network(tmp_path: Path) -> None:
    """The pool, the address of published ports, no talk between containers, a name server and a search list."""
    three = subnet()
    flags = ["--default-address-pool", f"base={three}.0/24,size=28", "--icc=false", "--ip", "127.0.0.3"]
    daemon = Fragile(tmp_path, *flags, "--dns", "192.0.2.53", "--dns-search", "corp.example")
    daemon.start()
    try:
        ports = {"PortBindings": {"80/tcp": [{}]}}
        web = daemon.run("sh", "-c", SERVE, "web", name="web", host=ports)
        shown = daemon.get(f"/containers/{web}/json")["NetworkSettings"]
        assert shown["IPAddress"].startswith(f"{three}.") and shown["IPPrefixLen"] == 28
        place = shown["Ports"]["80/tcp"][0]
        assert place["HostIp"] == "127.0.0.3"
        until(lambda: fetched_or_none(f"127.0.0.3:{place['HostPort']}") == "hello from web", "the port answers")
        script = f"cat /etc/resolv.conf; timeout 2 wget -qO- http://{shown['IPAddress']}/ || echo walled"
        asker = daemon.run("sh", "-c", script)
        daemon.ask("POST", f"/containers/{asker}/wait")
        said = str(daemon.ask("GET", f"/containers/{asker}/logs?stdout=1")[1])
        assert "nameserver 192.0.2.53" in said and "search corp.example" in said and "walled" in said
    finally:
        daemon.stop()


def test_kills_in_the_middle_of_changes(fragile: Fragile) -> None:
    """kill -9 while containers are connected and disconnected: what inspect says is what there is, and no more."""
    names = ["one", "two", "three"]
    for name in names:
        assert fragile.ask("POST", "/networks/create", {"Name": name})[0] == 201
    id = fragile.run("sleep", "1000", name="box")
    stop = threading.Event()

    def change() -> None:
        chance = random.Random(7)
        while not stop.is_set():
            verb, network = chance.choice(("connect", "disconnect")), chance.choice(names)
            with contextlib.suppress(OSError, http.client.HTTPException):
                status, answer = fragile.ask("POST", f"/networks/{network}/{verb}", {"Container": id})
                assert status in (200, 403, 404), answer

    changing = threading.Thread(target=change)
    changing.start()
    chance = random.Random(11)
    for _ in range(8):
        time.sleep(chance.uniform(0.02, 0.2))
        fragile.kill()
        fragile.start()
    stop.set()
    changing.join(30)
    shown = fragile.get(f"/containers/{id}/json")
    wanted = {e["IPAddress"] for e in shown["NetworkSettings"]["Networks"].values()}
    pid = str(shown["State"]["Pid"])
    inside = execute(["nsenter", "-t", pid, "-n", "ip", "-4", "-o", "addr", "show", "scope", "global"]).out
    assert {line.split()[3].partition("/")[0] for line in inside.splitlines()} == wanted
    prefix = "v" + hashlib.sha256(fragile.bridge.encode()).hexdigest()[:5]
    assert len(list(Path("/sys/class/net").glob(f"{prefix}*"))) == len(wanted)
    for name in names:
        held = fragile.get(f"/networks/{name}")["Containers"]
        assert (id in held) == (name in shown["NetworkSettings"]["Networks"])


@pytest.fixture
def remapped(tmp_path: Path) -> Iterator[Fragile]:
    """A daemon with user namespaces, and its own view of the two files that they take."""
    if not (Path("/etc/subuid").exists() and Path("/etc/subgid").exists()):
        pytest.skip("no /etc/subuid and /etc/subgid (Debian package passwd)")
    root = Path(tempfile.mkdtemp(prefix="ce-"))  # where the mapped root may look
    root.chmod(0o755)
    (root / "ids").write_text("root:100000:65536\n")
    script = f'for name in subuid subgid; do mount --bind {root}/ids /etc/$name || exit 1; done; exec "$@"'
    program = ["unshare", "-m", "sh", "-c", script, "sh", str(CORTEND)]
    daemon = Fragile(root, "--userns-remap", "root", program=program)
    daemon.start()
    yield daemon
    daemon.stop()
    shutil.rmtree(root, ignore_errors=True)


def test_names_in_user_namespaces(remapped: Fragile) -> None:
    assert remapped.ask("POST", "/networks/create", {"Name": "inner"})[0] == 201
    remapped.run("sh", "-c", SERVE, "web", name="web", host={"NetworkMode": "inner"})
    script = "until wget -qO- http://web; do sleep 0.02; done"

    def found() -> bool:
        id = remapped.run("timeout", "5", "sh", "-c", script, host={"NetworkMode": "inner"})
        return bool(remapped.ask("POST", f"/containers/{id}/wait")[1]["StatusCode"] == 0)

    assert found()
    remapped.kill()
    remapped.start()
    assert found()
