"""Containers with web servers and others that ask them, by a command line."""

from __future__ import annotations

import json
import secrets
import urllib.request

from e2e_parts.clients import Client
from e2e_parts.cortend import IMAGE
from fault_parts.fragile import until

SERVE = "echo hello from $0 >/tmp/index.html; exec httpd -f -p 80 -h /tmp"


def subnet() -> str:
    """Three numbers of a /24 that no other test uses."""
    return f"10.{secrets.randbelow(100) + 100}.{secrets.randbelow(256)}"


def serve(client: Client, name: str, *flags: str) -> None:
    """A container with a web server on port 80."""
    client("run", "-d", "--name", name, *flags, IMAGE, "sh", "-c", SERVE, name)
    until(lambda: client("exec", name, "wget", "-qO-", "127.0.0.1", code=None).code == 0, f"{name} serves")


def ask(client: Client, name: str, host: str, code: int | None = 0) -> str:
    """What the web server `host` says to the container `name`. With `code` None there may be no answer: it is waited
    for three seconds."""
    seconds = "3" if code is None else "60"
    return client("exec", name, "timeout", seconds, "wget", "-qO-", f"http://{host}/", code=code).out.strip()


def idle(client: Client, name: str, *flags: str) -> None:
    client("run", "-d", "--name", name, *flags, IMAGE, "sleep", "1000")


def inside(client: Client, name: str, *command: str) -> str:
    return client.out("exec", name, *command)


def address(client: Client, name: str, network: str) -> str:
    networks = json.loads(client.out("inspect", "--format", "{{json .NetworkSettings.Networks}}", name))
    return str(networks[network]["IPAddress"])


def resolves(client: Client, container: str, name: str) -> bool:
    return client("exec", container, "nslookup", name, code=None).code == 0


def fetched(place: str) -> str:
    with urllib.request.urlopen(f"http://{place}/", timeout=30) as answer:
        return str(answer.read().decode().strip())


def fetched_or_none(place: str) -> str | None:
    try:
        return fetched(place)
    except OSError:
        return None
