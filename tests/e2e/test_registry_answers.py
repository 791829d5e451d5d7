"""Registries whose answers are unusual, by the docker client and ours: what is said of them, and what works."""

from __future__ import annotations

import gzip
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e_parts.clients import Client
from e2e_parts.cortend import IMAGE, Cortend
from image_parts import tars
from image_parts.held import Held, held
from image_parts.stores import Made
from registry_parts.own import own_process

APP = Made([tars.archive(tars.directory("etc"), tars.file("etc/app", b"app"))])


@pytest.fixture
def registry() -> Iterator[Held]:
    with held() as running:
        running.add("1", APP)
        running.challenge = f'Bearer realm="http://{running.host}/token",service="s"'
        yield running


def test_a_token_server_that_compresses(cli: Client, registry: Held) -> None:
    registry.token, registry.coding = gzip.compress(registry.token), "gzip"
    name = f"{registry.host}/team/app:1"
    cli("pull", name)
    cli("login", "-u", "ann", "--password-stdin", registry.host, input="secret")
    cli("logout", registry.host)
    cli("rmi", name)


@pytest.mark.parametrize(
    ("realm", "token", "said"),
    [
        ("/token", b"", "sends to an authentication server that cannot be trusted: '/token'"),
        ("http://HOST/token", b"<html>", "authentication server http://HOST/token answers with no token"),
        (
            "https://127.0.0.1:1/token",
            b"",
            'Get "https://127.0.0.1:1/token": dial tcp 127.0.0.1:1: connect: connection ref',
        ),
    ],
    ids=["relative", "no-token", "down"],
)
def test_what_no_password_changes_asks_for_none(
    cli: Client, daemon: Cortend, registry: Held, realm: str, token: bytes, said: str
) -> None:
    registry.challenge = f'Bearer realm="{realm.replace("HOST", registry.host)}"'
    registry.token = token
    name, said = f"{registry.host}/team/app:1", said.replace("HOST", registry.host)
    cli("tag", IMAGE, name)
    for command in (("pull", name), ("push", name), ("login", "-u", "a", "-p", "b", registry.host)):
        done = cli(*command, code=1)
        assert said in done.err + done.out and "Username" not in done.out, command
    for path in (f"/images/create?fromImage={name}", f"/distribution/{name}/json"):
        status, answer = daemon.ask("POST" if "create" in path else "GET", path)
        assert (status, said in answer["message"]) == (500, True), answer
    cli("rmi", name)


def test_tls_on_this_machine(cli: Client, tmp_path: Path) -> None:
    """A certificate that no authority has signed will do on the loopback, as with dockerd."""
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=x".split()
    files = (tmp_path / "key", tmp_path / "crt")
    subprocess.run([*command, "-keyout", str(files[0]), "-out", str(files[1])], check=True, capture_output=True)
    with own_process("--root", str(tmp_path / "r"), "--tls-cert", str(files[1]), "--tls-key", str(files[0])) as (
        host,
        _,
    ):
        name = f"{host}/team/app:1"
        cli("tag", IMAGE, name)
        cli("push", name)
        cli("rmi", name)
        cli("pull", name)
        cli("rmi", name)
