"""A container in the network of another one keeps a working network when that one runs again."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from collections.abc import Callable
from typing import Any

import pytest

from e2e_parts.clients import Client
from e2e_parts.cortend import IMAGE, Cortend


def until(done: Callable[[], Any], seconds: float = 20) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := done()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return found


def addresses(corten: Client, name: str) -> list[str]:
    """What the interfaces inside have, but for loopback."""
    shown = corten("exec", name, "ip", "-o", "-4", "addr").out.splitlines()
    return [line.split()[3] for line in shown if " lo " not in line]


def links(corten: Client, name: str) -> set[str]:
    return {line.split(": ")[1].split("@")[0] for line in corten("exec", name, "ip", "-o", "link").out.splitlines()}


def namespace(corten: Client, name: str) -> str:
    return corten("exec", name, "readlink", "/proc/self/ns/net").out


def state(corten: Client, name: str) -> Any:
    return json.loads(corten("inspect", name).out)[0]["State"]


def answer(port: int) -> bytes:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2) as connection:
            return connection.recv(100)
    except OSError:
        return b""


SERVE = "while :; do echo hello | nc -l -p 80; done"


@pytest.fixture
def pair(corten: Client, daemon: Cortend) -> int:
    """Three containers: first in network net, second in first's network, other. The port that leads to second's 80."""
    corten("network", "create", "net")
    corten("run", "-d", "--name", "other", "--network", "net", IMAGE, "sleep", "1000")
    corten("run", "-d", "--name", "first", "--network", "net", "-p", "127.0.0.1::80", IMAGE, "sleep", "1000")
    corten("run", "-d", "--name", "second", "--network", "container:first", IMAGE, "sh", "-c", SERVE)
    return published(corten)


def published(corten: Client) -> int:
    return int(corten("port", "first", "80").out.rpartition(":")[2])


def works(corten: Client) -> None:
    """The second has an address, names and its hosts file, and is reached from outside, in the first one's network."""
    assert addresses(corten, "second") == addresses(corten, "first") and len(addresses(corten, "second")) == 1
    assert links(corten, "second") == {"lo", "eth0"}
    assert namespace(corten, "second") == namespace(corten, "first")
    corten("exec", "second", "ping", "-c", "1", "-W", "5", "other")
    assert addresses(corten, "second")[0].partition("/")[0] in corten("exec", "second", "cat", "/etc/hosts").out
    assert until(lambda: answer(published(corten))) == b"hello\n"


def test_over_a_restart(corten: Client, pair: int) -> None:
    works(corten)
    before, pid = namespace(corten, "second"), state(corten, "second")["Pid"]
    for _ in range(3):
        corten("restart", "-t", "0", "first")
        works(corten)
    assert namespace(corten, "second") == before and state(corten, "second")["Pid"] == pid


def test_over_the_restart_policy(corten: Client, pair: int) -> None:
    corten("update", "--restart", "always", "first")
    before = state(corten, "first")
    os.kill(before["Pid"], signal.SIGKILL)
    until(lambda: (now := state(corten, "first"))["Status"] == "running" and now["Pid"] != before["Pid"])
    works(corten)


def test_over_a_stop_and_a_start(corten: Client, pair: int) -> None:
    corten("stop", "-t", "0", "first")
    assert links(corten, "second") == {"lo"}
    corten("start", "first")
    works(corten)


def test_two_networks_and_a_third_member(corten: Client, pair: int) -> None:
    corten("network", "create", "more")
    corten("network", "connect", "more", "first")
    corten("run", "-d", "--name", "third", "--network", "container:second", IMAGE, "sleep", "1000")
    assert links(corten, "third") == {"lo", "eth0", "eth1"}
    corten("rm", "-f", "second")
    corten("restart", "-t", "0", "first")
    assert links(corten, "third") == {"lo", "eth0", "eth1"} and addresses(corten, "third") == addresses(corten, "first")
    corten("rm", "-f", "third")
    before = namespace(corten, "first")
    corten("restart", "-t", "0", "first")
    assert namespace(corten, "first") != before, "without a member there is nothing that keeps the old one"
    corten("network", "disconnect", "more", "first")
    corten("network", "rm", "more")


def test_a_container_of_the_same_name_is_another(corten: Client, pair: int) -> None:
    corten("rm", "-f", "first")
    corten("run", "-d", "--name", "first", "--network", "net", IMAGE, "sleep", "1000")
    assert namespace(corten, "second") != namespace(corten, "first") and links(corten, "second") == {"lo"}
