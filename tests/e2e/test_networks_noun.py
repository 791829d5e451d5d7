"""Listing, errors, prune, audit; docker-py and Compose."""

from __future__ import annotations

import json
import secrets
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from e2e_parts.clients import Client, execute
from e2e_parts.cortend import IMAGE, Cortend
from e2e_parts.webs import address, idle, inside, subnet


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
    assert status("POST", f"/networks/{second}/disconnect", {"Container": "one", "Force": True}) == 404
    assert inside(docker, "one", "ip", "-o", "link").count(": eth") == 1  # and every refused one left nothing


def test_prune_removes_unused_networks(docker: Client, net: Callable[..., str]) -> None:
    used, unused, kept = net(), net(), net("--label", "keep")
    idle(docker, "one", "--network", used)
    assert docker.out("network", "prune", "-f", "--filter", "label!=keep").split()[-1] == unused
    left = docker.out("network", "ls", "--format", "{{.Name}}").split()
    assert used in left and kept in left and unused not in left


def test_audit_shows_which_addresses_are_reached(corten: Client, docker: Client, net: Callable[..., str]) -> None:
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
  client:
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
    up = execute([*compose, "up", "-t", "0", "--exit-code-from", "client"], env=docker.env, timeout=60)
    assert up.code == 0 and up.out.count("composed") == 2, up
    listed = docker.out("network", "ls", "--format", "{{.Name}} {{.Internal}}").splitlines()
    assert {f"{project}_back true", f"{project}_front false"} <= set(listed)
    down = execute([*compose, "down", "-t", "0"], env=docker.env, timeout=60)
    assert down.code == 0, down
    assert project not in docker.out("network", "ls")
