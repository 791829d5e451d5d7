"""SIGHUP: daemon.json is read again. Mirrors of a registry that is not there, made known while the daemon runs."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from e2e_parts.clients import Client, available, finish
from e2e_parts.cortend import IMAGE, Cortend, short_root
from e2e_parts.others import registry
from image_parts import tars
from image_parts.held import held
from image_parts.proxies import proxy
from image_parts.stores import Made, digest
from registry_parts.own import own_process


@pytest.fixture(scope="module")
def own() -> Iterator[Cortend]:
    """A daemon with a configuration file."""
    with short_root() as root, Cortend(root, "--config-file", str(root / "daemon.json")) as running:
        (root / "daemon.json").write_text("{}")
        running.start()
        yield running


@pytest.fixture
def reload(own: Cortend) -> Callable[[object], str]:
    """Writes the file, sends the signal, and answers what the daemon logged about it."""

    def reload_(content: object) -> str:
        (own.root / "daemon.json").write_text(content if isinstance(content, str) else json.dumps(content))
        before = own.log.stat().st_size
        os.kill(own.pid, signal.SIGHUP)
        deadline = time.monotonic() + 20
        while "reload:" not in (said := own.log.read_text()[before:]) or not said.endswith("\n"):
            assert time.monotonic() < deadline, said
            time.sleep(0.02)
        return said

    return reload_


def test_what_changes(own: Cortend, reload: Any) -> None:
    began = time.time()
    said = reload({"debug": True, "labels": ["a=b"], "insecure-registries": ["10.0.0.0/8", "x.example:5000"],
                   "registry-mirrors": ["https://m.example"], "proxies": {"http-proxy": "http://u:secret@p.example:1"},
                   "runtimes": {"other": {"path": "/usr/sbin/runc"}}, "default-runtime": "other"})  # fmt: skip
    assert "debug=true" in said and said.count("\n") == 1
    info = own.get("/info")
    assert (info["Debug"], info["Labels"], info["DefaultRuntime"]) == (True, ["a=b"], "other")
    assert info["RegistryConfig"]["Mirrors"] == ["https://m.example"]
    assert info["RegistryConfig"]["IndexConfigs"]["x.example:5000"]["Secure"] is False
    assert "10.0.0.0/8" in info["RegistryConfig"]["InsecureRegistryCIDRs"]
    assert info["HttpProxy"] == "http://xxxxx:xxxxx@p.example:1"
    assert "secret" not in own.log.read_text()
    (event,) = own.events(began, type="daemon")
    assert event["Action"] == "reload" and event["Actor"]["Attributes"]["labels"] == '["a=b"]'
    reload({})
    assert own.get("/info")["DefaultRuntime"] == "corten"


@pytest.mark.parametrize("bad", ["{", '{"debug": 5}', '{"no-such": 1}', '{"registries": {"x": []}}', "[]"])
def test_a_bad_file_changes_nothing(own: Cortend, reload: Any, bad: str) -> None:
    reload({"labels": ["kept=1"]})
    began = time.time()
    said = reload(bad)
    assert said.count("\n") == 1 and "ERROR" in said and "the old configuration stays" in said
    assert own.get("/info")["Labels"] == ["kept=1"]
    assert own.events(began, type="daemon") == []


def test_mirrors_of_any_registry(own: Cortend, reload: Any, tmp_path: Path) -> None:
    client = Client("corten", available()["corten"], own.address, own.root)
    with registry(tmp_path / "store") as host:
        client("pull", IMAGE)
        client("tag", IMAGE, f"{host}/cache/team/app:1")
        pushed = client.out("push", f"{host}/cache/team/app:1").splitlines()[-1].split()[2]
        client("rmi", f"{host}/cache/team/app:1")
        assert client("pull", "registry.invalid/team/app:1", code=1).err
        reload({"registries": {"registry.invalid": {"mirrors": ["http://127.0.0.1:1", f"http://{host}/cache"]}}})
        client("pull", "registry.invalid/team/app:1")
        shown = own.get("/images/registry.invalid/team/app:1/json")
        assert f"registry.invalid/team/app@{pushed}" in shown["RepoDigests"]
        client("rmi", "registry.invalid/team/app:1")
        reload({"registries": {"registry.invalid/team": {"location": f"{host}/cache/team"}}})
        client("pull", f"registry.invalid/team/app@{pushed}")
        client("rmi", f"registry.invalid/team/app@{pushed}")
        reload({})
        assert client("pull", "registry.invalid/team/app:1", code=1).err


def test_proxies(own: Cortend, reload: Any, tmp_path: Path) -> None:
    """A registry whose name only the proxy resolves."""
    client = Client("corten", available()["corten"], own.address, own.root)
    with registry(tmp_path / "store") as host, proxy({"registry.invalid:80": host}) as between:
        known = {"insecure-registries": ["registry.invalid"]}
        reload({**known, "proxies": {"http-proxy": f"http://u:secret@{between.address}"}})
        client("pull", IMAGE)
        client("tag", IMAGE, "registry.invalid/team/app:1")
        client("push", "registry.invalid/team/app:1")
        client("rmi", "registry.invalid/team/app:1")
        client("pull", "registry.invalid/team/app:1")
        client("rmi", "registry.invalid/team/app:1")
        assert {head.split(" ")[0] for head in between.heads} >= {"GET", "HEAD", "POST", "PATCH", "PUT"}
        assert all("Proxy-Authorization: Basic dTpzZWNyZXQ=" in head for head in between.heads)
        seen = len(between.heads)
        reload({**known, "proxies": {"http-proxy": f"http://{between.address}", "no-proxy": "registry.invalid"}})
        assert "no such host" in client("pull", "registry.invalid/team/app:1", code=1).err
        assert len(between.heads) == seen
        assert "secret" not in own.log.read_text()


def test_many_reloads_during_a_pull(own: Cortend, reload: Any) -> None:
    image = Made([tars.archive(tars.file("big", os.urandom(3 << 20)))])
    client = Client("corten", available()["corten"], own.address, own.root)
    with held() as behind:
        behind.add("1", image)
        behind.hold = 1 << 20
        name = f"{behind.host}/a/b:1"
        pulling = client.popen("pull", name)
        deadline = time.monotonic() + 20
        while not behind.ranges(digest(image.layers[0])):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        for number in range(20):
            reload({"labels": [f"number={number}"], "max-concurrent-downloads": 1 + number % 3})
        behind.go.set()
        done = finish(pulling)
        assert done.code == 0, done
        client("rmi", name)


def test_secrets_are_nowhere(own: Cortend, reload: Any, tmp_path: Path) -> None:
    """REG-06: neither in the log, at the most talkative, nor in events, nor in what other processes can see."""
    reload({"debug": True})
    began, password = time.time(), "hunter2-very-secret"
    hashed = base64.b64encode(hashlib.sha1(password.encode()).digest()).decode()
    (tmp_path / "htpasswd").write_text(f"ann:{{SHA}}{hashed}\n")
    client = Client("corten", available()["corten"], own.address, tmp_path)
    with own_process("--root", str(tmp_path / "store"), "--htpasswd", str(tmp_path / "htpasswd")) as (host, _):
        client("login", "-u", "ann", "--password-stdin", host, input=password)
        client("pull", IMAGE)
        client("tag", IMAGE, f"{host}/a/b:1")
        client("push", f"{host}/a/b:1")
        client("rmi", f"{host}/a/b:1")
        client("pull", f"{host}/a/b:1")
        seen = [own.log.read_text(), json.dumps(own.events(began)), Path(f"/proc/{own.pid}/cmdline").read_text()]
        seen += [client.out("history", "--no-trunc", f"{host}/a/b:1"), client.out("inspect", f"{host}/a/b:1")]
        client("rmi", f"{host}/a/b:1")
    token = json.loads((tmp_path / "config.json").read_text())["auths"][host].get("identitytoken", password)
    basic = base64.b64encode(f"ann:{password}".encode()).decode()
    for secret in (password, token, basic):
        assert not [text for text in seen if secret in text], secret[:12]
    reload({})
