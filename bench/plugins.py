"""Debian's CNI plugins, as containerd's documentation configures them, and what one takes by itself."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench import peers
from bench.measure import Failed

BINARIES = Path("/usr/lib/cni")


def configuration(number: int) -> dict[str, Any]:
    """A bridge with masquerading; `number` makes its bridge and its range differ from those of others."""
    ranges, routes = [[{"subnet": f"172.30.{number * 4}.0/22"}]], [{"dst": "0.0.0.0/0"}]
    return {
        "cniVersion": "1.0.0", "name": f"bench{number}", "type": "bridge", "bridge": f"cnibench{number}",
        "isGateway": True, "ipMasq": True, "ipam": {"type": "host-local", "ranges": ranges, "routes": routes},
    }  # fmt: skip


def write_configuration(directory: Path, number: int) -> None:
    directory.mkdir()
    plugin = configuration(number)
    text = {"cniVersion": plugin.pop("cniVersion"), "name": plugin.pop("name"), "plugins": [plugin]}
    (directory / "10-bench.conflist").write_text(json.dumps(text))


class Alone:
    """The same calls of the same plugin, in a network namespace of its own; containerd's loopback one is left out."""

    def __init__(self, number: int) -> None:
        if not (BINARIES / "bridge").exists():
            raise Failed("no CNI plugins here: apt-get install containernetworking-plugins")
        self._text = json.dumps(configuration(number))
        self._holder = subprocess.Popen(
            ["unshare", "--net", "sh", "-c", "echo; exec sleep 1000000"], stdout=subprocess.PIPE
        )
        assert self._holder.stdout is not None
        self._holder.stdout.readline()

    def add(self) -> None:
        self._call("ADD")

    def delete(self) -> None:
        self._call("DEL")

    def _call(self, command: str) -> None:
        environ = {
            "CNI_COMMAND": command, "CNI_CONTAINERID": "benchalone", "CNI_NETNS": f"/proc/{self._holder.pid}/ns/net",
            "CNI_IFNAME": "eth0", "CNI_PATH": str(BINARIES), "PATH": os.environ["PATH"],
        }  # fmt: skip
        done = subprocess.run([BINARIES / "bridge"], input=self._text, capture_output=True, text=True, env=environ)
        if done.returncode:
            raise Failed(f"bridge {command}: {done.stdout.strip() or done.stderr.strip()}")

    def close(self) -> None:
        self._holder.kill()
        self._holder.wait()
        assert self._holder.stdout is not None
        self._holder.stdout.close()


@contextlib.contextmanager
def alone(number: int) -> Iterator[Alone]:
    peers.need("unshare")
    made = Alone(number)
    try:
        yield made
    finally:
        made.close()
