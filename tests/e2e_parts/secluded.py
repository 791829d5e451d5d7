"""A daemon whose host is a network namespace of the test's: there, devices and rules may be taken away."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import netns
from e2e_parts.cortend import CORTEND
from e2e_parts.patience import PATIENCE
from fault_parts.fragile import Fragile, until
from netns import Net

SERVE = "echo hello from $0 >/tmp/index.html; exec httpd -f -p 80 -h /tmp"


class Host:
    """The namespace, its daemon, and other machines that are wired to it: 192.0.2.1 here, 192.0.2.9 there."""

    def __init__(self, root: Path, *flags: str) -> None:
        self.net = Net()
        path = f"/proc/{os.getpid()}/fd/{self.net.fd}"
        self.daemon = Fragile(root, *flags, program=["nsenter", f"--net={path}", str(CORTEND)])
        self.others: list[Net] = []

    def close(self) -> None:
        self.daemon.stop()
        for net in (*self.others, self.net):
            net.close()

    def neighbour(self) -> Net:
        """Another machine, whose default route leads here."""
        net, number = Net(), len(self.others)
        netns.wire(self.net, net, f"192.0.{2 + number}.1/24", f"192.0.{2 + number}.9/24", (f"up{number}", "up0"))
        net.run("ip", "route", "add", "default", "via", f"192.0.{2 + number}.1")
        self.others.append(net)
        return net

    def network(self, name: str, **request: Any) -> str:
        """Make it; the name of its bridge."""
        status, answer = self.daemon.ask("POST", "/networks/create", {"Name": name, **request})
        assert status == 201, answer
        return f"br-{answer['Id'][:12]}"

    def serve(self, name: str, network: str = "bridge", ports: Any = None, **host: Any) -> str:
        """A container with a web server on port 80 that says its name; its id."""
        host = {"NetworkMode": network, "PortBindings": ports or {}, **host}
        id = self.daemon.run("sh", "-c", SERVE, name, name=name, host=host)
        until(lambda: self.daemon.inside(id, "wget", "-qO-", "127.0.0.1")[0] == 0, f"{name} serves")
        return id

    def idle(self, name: str, network: str = "bridge", **host: Any) -> str:
        return self.daemon.run("sleep", "1000", name=name, host={"NetworkMode": network, **host})

    def endpoint(self, id: str, network: str) -> dict[str, Any]:
        found: dict[str, Any] = self.daemon.inspect(id)["NetworkSettings"]["Networks"][network]
        return found

    def device(self, id: str, network: str) -> str:
        """The host's end of a container's pair."""
        mac = self.endpoint(id, network)["MacAddress"]
        inner = self.links(["nsenter", "-t", str(self.daemon.state(id)["Pid"]), "-n"])
        index = next(link["link_index"] for link in inner if link["address"] == mac)
        return str(next(link["ifname"] for link in self.links() if link["ifindex"] == index))

    def links(self, enter: Sequence[str] = ()) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self.net.run(*enter, "ip", "-j", "link"))
        return found


def fetch(net: Net, url: str, seconds: float = PATIENCE) -> str:
    """What the server says to curl in this namespace; empty when it does not answer in that time."""
    return net.run("sh", "-c", f"curl -g -s -m {seconds} '{url}' || true").strip()


def ask(daemon: Fragile, id: str, url: str, seconds: float = PATIENCE) -> str:
    """The same from inside a container."""
    code, said = daemon.inside(id, "timeout", f"{seconds:.0f}", "wget", "-qO-", url)
    return said.strip() if code == 0 else ""
