"""Networks over the death of their daemon, and its flags about them."""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import http.client
import json
import random
import shutil
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from e2e_parts.clients import execute
from e2e_parts.cortend import CORTEND
from e2e_parts.patience import PATIENCE
from e2e_parts.webs import SERVE, fetched_or_none, subnet
from fault_parts.fragile import Fragile, until
from free_ports import free_port


@pytest.fixture
def fragile(tmp_path: Path) -> Iterator[Fragile]:
    daemon = Fragile(tmp_path)
    daemon.start()
    yield daemon
    daemon.stop()


def test_names_and_ports_outlive_the_daemon(fragile: Fragile) -> None:
    assert fragile.ask("POST", "/networks/create", {"Name": "inner"})[0] == 201
    host = {"NetworkMode": "inner", "PortBindings": {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": str(free_port())}]}}
    web = fragile.run("sh", "-c", SERVE, "web", name="web", host=host)
    loop = "while true; do timeout 2 wget -qO- http://site/ || echo none; sleep 0.1; done"
    client = fragile.run("sh", "-c", loop, name="client", host={"NetworkMode": "inner"})
    assert fragile.ask("POST", "/containers/web/rename?name=site")[0] == 204
    port = fragile.get(f"/containers/{web}/json")["NetworkSettings"]["Ports"]["80/tcp"][0]["HostPort"]

    def served() -> bool:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=30) as answer:
            return bool(answer.read() == b"hello from web\n")

    def heard(since: float) -> bool:
        log = fragile.ask("GET", f"/containers/{client}/logs?stdout=1&since={since:.9f}")[1]
        return "hello from web" in str(log)

    until(lambda: heard(0), "the other container is found")
    assert served()
    fragile.kill()
    assert served()  # the kernel needs no daemon
    since, log = time.time(), fragile.data / "containers" / client / f"{client}-json.log"
    until(lambda: _said_since(log, since), "the other container is found without a daemon")
    fragile.start()
    assert served()
    since = time.time()
    until(lambda: heard(since), "the other container is found again")
    again = fragile.get(f"/containers/{web}/json")
    assert again["NetworkSettings"]["Ports"]["80/tcp"][0]["HostPort"] == port
    assert "site" in str(fragile.get("/networks/inner")["Containers"])


def _said_since(log: Path, since: float) -> bool:
    """The last record that is whole is of what the server says, and younger."""
    record = json.loads(log.read_text().rpartition("\n")[0].splitlines()[-1])
    when = datetime.datetime.fromisoformat(record["time"][:26] + "+00:00").timestamp()
    return when > since and record["log"] == "hello from web\n"


def test_flags_about_the_default_network(tmp_path: Path) -> None:
    """The pool, the address of published ports, no talk between containers, a name server and a search list."""
    three = subnet()
    flags = ["--default-address-pool", f"base={three}.0/24,size=28", "--icc=false", "--ip", "127.0.0.3"]
    daemon = Fragile(tmp_path, *flags, "--dns", "192.0.2.53", "--dns-search", "corp.example")
    daemon.start()
    try:
        ports: dict[str, Any] = {"PortBindings": {"80/tcp": [{}]}}
        web = daemon.run("sh", "-c", SERVE, "web", name="web", host=ports)
        shown = daemon.get(f"/containers/{web}/json")["NetworkSettings"]
        assert shown["IPAddress"].startswith(f"{three}.") and shown["IPPrefixLen"] == 28
        place = shown["Ports"]["80/tcp"][0]
        assert place["HostIp"] == "127.0.0.3"
        until(lambda: fetched_or_none(f"127.0.0.3:{place['HostPort']}") == "hello from web", "the port answers")
        script = f"cat /etc/resolv.conf; timeout 2 wget -qO- http://{shown['IPAddress']}/ || echo walled"
        client = daemon.run("sh", "-c", script)
        daemon.ask("POST", f"/containers/{client}/wait")
        said = str(daemon.ask("GET", f"/containers/{client}/logs?stdout=1")[1])
        assert "nameserver 192.0.2.53" in said and "search corp.example" in said and "walled" in said
    finally:
        daemon.stop()


def test_without_the_userland_proxy(tmp_path: Path) -> None:
    daemon = Fragile(tmp_path, "--userland-proxy=false")
    daemon.start()
    try:
        published = [
            daemon.inspect(daemon.run("sleep", "100", host={"PortBindings": {"80/tcp": [{"HostIp": ip}]}}))
            for ip in ("", "0.0.0.0")
        ]
        assert [[row["HostIp"] for row in shown["NetworkSettings"]["Ports"]["80/tcp"]] for shown in published] == [
            ["0.0.0.0"]
        ] * 2
        id = daemon.create("true", host={"PortBindings": {"80/tcp": [{"HostIp": "::1"}]}})
        status, answer = daemon.ask("POST", f"/containers/{id}/start")
        assert status == 400 and "no IPv6 address" in answer["message"]
        assert not (daemon.exec / "forwarder.sock").exists()
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
    changing.join(PATIENCE)
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
        id = remapped.run("timeout", "60", "sh", "-c", script, host={"NetworkMode": "inner"})
        return bool(remapped.ask("POST", f"/containers/{id}/wait")[1]["StatusCode"] == 0)

    assert found()
    remapped.kill()
    remapped.start()
    assert found()
