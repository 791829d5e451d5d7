"""Docker's contexts: which one counts, and what is said of one that cannot be used."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from corten.cli import contexts
from corten.cli.session import Session
from unit.cli.scripted import Daemon, reply

Corten = Callable[..., tuple[int, str, str]]


@pytest.fixture
def home(daemon: Daemon, corten: Corten, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The client's configuration; no host in the environment."""
    for name in ("CORTEN_HOST", "DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_TLS_VERIFY"):
        monkeypatch.delenv(name, raising=False)
    daemon.on("GET /containers/json", reply(200, []))
    return daemon.path.parent / ".docker"


def make(home: Path, name: str, meta: Any) -> Path:
    path = home / "contexts" / "meta" / hashlib.sha256(name.encode()).hexdigest() / "meta.json"
    path.parent.mkdir(parents=True)
    path.write_text(meta if isinstance(meta, str) else json.dumps(meta))
    return path


def at(url: str) -> dict[str, Any]:
    return {"Name": "x", "Metadata": {}, "Endpoints": {"docker": {"Host": url, "SkipTLSVerify": False}}}


def use(home: Path, name: Any) -> None:
    home.mkdir(exist_ok=True)
    (home / "config.json").write_text(json.dumps({"currentContext": name}))


def test_the_host_of_a_context(daemon: Daemon, corten: Corten, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(home, "good", at(daemon.url))
    make(home, "bad", at("unix:///nosuch.sock"))
    assert corten("--context", "good", "ps", "-q") == (0, "", "")
    assert corten("-c", "bad", "ps", "-q")[0] == 1
    use(home, "good")
    assert corten("ps", "-q")[0] == 0
    assert "unix:///nosuch.sock" in corten("--context", "bad", "ps")[2]
    monkeypatch.setenv("DOCKER_CONTEXT", "bad")
    assert "unix:///nosuch.sock" in corten("ps")[2]
    assert corten("-H", daemon.url, "ps", "-q")[0] == 0
    monkeypatch.setenv("DOCKER_HOST", daemon.url)
    assert corten("ps", "-q")[0] == 0  # as docker's: a host counts more than DOCKER_CONTEXT
    assert "unix:///nosuch.sock" in corten("--context", "bad", "ps")[2]


@pytest.mark.parametrize("name", ["default", "", None])
def test_no_context(daemon: Daemon, home: Path, name: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    use(home, name)
    assert Session("ps").context is None
    monkeypatch.setenv("DOCKER_CONTEXT", "default")
    use(home, "nosuch")
    assert Session("ps").context is None


def test_names_that_are_not_there(corten: Corten, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code, out, err = corten("--context", "../../x", "ps")
    missing = home / "contexts" / "meta" / hashlib.sha256(b"../../x").hexdigest() / "meta.json"
    assert (code, out, err) == (1, "", f'context "../../x" (--context) is not there: {missing} is missing\n')
    monkeypatch.setenv("DOCKER_CONTEXT", "nosuch")
    assert corten("ps")[2].startswith('context "nosuch" (DOCKER_CONTEXT) is not there: ')
    monkeypatch.delenv("DOCKER_CONTEXT")
    use(home, "gone")
    assert corten("ps")[2].startswith('context "gone" (currentContext of config.json) is not there: ')
    assert corten("--version")[0] == 0


def test_both_ways_at_once(corten: Corten, home: Path) -> None:
    expected = "conflicting options: cannot specify both --host and --context\n"
    assert corten("-H", "unix:///x", "--context", "y", "ps") == (1, "", expected)


@pytest.mark.parametrize("meta", ["{", "[]", "{}", {"Endpoints": {"docker": {"Host": 1}}}, {"Endpoints": {"kube": {}}}])
def test_a_file_that_cannot_be_used(corten: Corten, home: Path, meta: Any) -> None:
    path = make(home, "bad", meta)
    code, out, err = corten("-c", "bad", "ps")
    assert (code, out) == (1, "") and str(path) in err and err.count("\n") == 1


def test_certificates(home: Path) -> None:
    make(home, "tls", at("tcp://127.0.0.1"))
    make(home, "plain", at("tcp://127.0.0.1"))
    make(home, "skip", {"Endpoints": {"docker": {"Host": "tcp://127.0.0.1", "SkipTLSVerify": True}}})
    directory = home / "contexts" / "tls" / hashlib.sha256(b"tls").hexdigest() / "docker"
    directory.mkdir(parents=True)
    (directory / "ca.pem").write_text("")
    found = contexts.load("tls", "", str(home)).address()
    assert found.port == 2376 and found.tls is not None and found.tls.verify
    assert (found.tls.ca, found.tls.cert) == (str(directory / "ca.pem"), "")
    plain = contexts.load("plain", "", str(home)).address()
    assert plain.port == 2375 and plain.tls is None
    skip = contexts.load("skip", "", str(home)).address()
    assert skip.tls is not None and not skip.tls.verify
