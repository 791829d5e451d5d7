"""A real cortend whose processes a test kills."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import struct
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

from e2e_parts import census
from e2e_parts.cortend import IMAGE, Cortend
from e2e_parts.http import hijack

T = TypeVar("T")
_SERVERS = ("corten:forward", "corten:names")  # without a daemon and work they end, and come again when one is needed
_SUBNET = re.compile(r"\d+\.\d+\.\d+\.\d+/\d+")
_VOLATILE = ("daemon's files", "launcher's files", "network namespaces", "processes")  # another daemon, other numbers


def until(check: Callable[[], T | Literal[False]], what: str, seconds: float = 60) -> T:
    """The first true answer of `check`; fails when there is none in time."""
    deadline = time.monotonic() + seconds
    while not (answer := check()):
        assert time.monotonic() < deadline, f"not in {seconds} s: {what}"
        time.sleep(0.01)
    return answer


class Fragile(Cortend):
    """`kill` and `start` as often as one likes; everything of the daemon's stays in `root`."""

    def kill(self) -> None:
        """SIGKILL for the daemon alone."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(60)

    @property
    def launcher(self) -> int:
        def found() -> list[int]:
            return [pid for pid in census._children(self.pid) if name(pid) == "corten:launcher"]

        return until(found, "a launcher")[0]

    def create(self, *command: str, name: str = "", host: dict[str, Any] | None = None, **config: Any) -> str:
        body = {"Image": IMAGE, "Cmd": list(command), "HostConfig": host or {}, **config}
        status, answer = self.ask("POST", f"/containers/create?name={name}", body)
        assert status == 201, answer
        return str(answer["Id"])

    def run(self, *command: str, **options: Any) -> str:
        """A container that has been started; its id."""
        id = self.create(*command, **options)
        status, answer = self.ask("POST", f"/containers/{id}/start")
        assert status == 204, answer
        return id

    def inspect(self, id: str) -> dict[str, Any]:
        found: dict[str, Any] = self.get(f"/containers/{id}/json")
        return found

    def state(self, id: str) -> dict[str, Any]:
        state: dict[str, Any] = self.inspect(id)["State"]
        return state

    def wait(self, id: str, seconds: float = 60) -> dict[str, Any]:
        """Its state, once it has ended."""
        return until(lambda: (s := self.state(id))["Status"] == "exited" and s, f"the end of {id[:12]}", seconds)

    def wait_running(self, id: str) -> int:
        """Its first process, once it runs."""
        return until(lambda: (s := self.state(id))["Running"] is True and int(s["Pid"]), f"the start of {id[:12]}")

    def supervisor(self, id: str) -> int:
        return parent(self.state(id)["Pid"])

    def inside(self, id: str, *command: str, **config: Any) -> tuple[int, str]:
        """Exit code, and what it said on both streams."""
        body = {"Cmd": list(command), "AttachStdout": True, "AttachStderr": True, **config}
        status, made = self.ask("POST", f"/containers/{id}/exec", body)
        assert status == 201, made
        with self.connection() as http:
            http.request("POST", f"/exec/{made['Id']}/start", b"{}", {"Content-Type": "application/json"})
            said = "".join(text for _, text in frames(http.getresponse().read()))
        shown = until(lambda: not (s := self.get(f"/exec/{made['Id']}/json"))["Running"] and s, "the end of an exec")
        return shown["ExitCode"], said

    def output(self, id: str) -> str:
        """The whole log, both streams."""
        with self.connection() as http:
            http.request("GET", f"/containers/{id}/logs?stdout=1&stderr=1")
            return "".join(text for _, text in frames(http.getresponse().read()))

    def outcome(self, *command: str, **options: Any) -> tuple[int, str]:
        """Run to the end: exit code and log. The container is removed."""
        id = self.run(*command, **options)
        code = self.wait(id)["ExitCode"]
        said = self.output(id)
        assert self.ask("DELETE", f"/containers/{id}?v=1")[0] == 204
        return code, said

    def attach(self, id: str, query: str = "stream=1&stdin=1&stdout=1&stderr=1") -> socket.socket:
        return hijack(self.socket, f"/containers/{id}/attach?{query}")


def name(pid: int) -> str:
    """What ps calls it; empty for one that is gone."""
    return census._text(Path(f"/proc/{pid}/comm")).strip()


def parent(pid: int) -> int:
    return int(census._text(Path(f"/proc/{pid}/stat")).rpartition(")")[2].split()[1])


def alive(pid: int) -> bool:
    """A process that exists and is no zombie."""
    stat = census._text(Path(f"/proc/{pid}/stat"))
    return bool(stat) and stat.rpartition(")")[2].split()[0] not in "ZX"


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    until(lambda: not alive(pid), f"the end of process {pid}")


def frames(data: bytes) -> list[tuple[int, str]]:
    """Docker's multiplexed streams taken apart."""
    found = []
    while len(data) >= 8:
        stream, length = struct.unpack(">BxxxI", data[:8])
        found.append((stream, data[8 : 8 + length].decode(errors="replace")))
        data = data[8 + length :]
    return found


def leftovers(before: census.Census, daemon: Cortend) -> dict[str, Any]:
    """`census.difference`, for a daemon that may be another process by now."""
    deadline = time.monotonic() + census.SETTLE
    while True:
        now = comparable(census.take(daemon))
        changed = {}
        for kind in before:
            come, gone = Counter(now[kind]) - Counter(before[kind]), Counter(before[kind]) - Counter(now[kind])
            if kind == "processes":
                gone = Counter({name: count for name, count in gone.items() if name not in _SERVERS})
                come = Counter({name: count for name, count in come.items() if not _one_server(name, now[kind])})
            if come or gone:
                changed[kind] = (sorted(come.elements()), sorted(gone.elements()))
        if not changed or time.monotonic() > deadline:
            return changed
        time.sleep(0.05)


def _one_server(name: str, processes: Sequence[str]) -> bool:
    """One that a test needed, where the test before had left none: its daemon had begun late."""
    return name in _SERVERS and processes.count(name) == 1


def comparable(found: census.Census) -> census.Census:
    """Processes by name only, mounts without the process that sees them, no descriptors.

    And no subnets: a daemon that has ended without containers gives its own back, and another one may have it by now.
    """
    kept = {kind: lines for kind, lines in found.items() if kind not in _VOLATILE}
    kept["mounts"] = sorted({line.partition(": ")[2] for line in found["mounts"]})
    kept["processes"] = sorted(line.partition(" ")[2] for line in found["processes"])
    kept["firewall"] = sorted(_SUBNET.sub("SUBNET", line) for line in found["firewall"])
    return kept


def records_of(log: bytes) -> list[str]:
    """Texts of a json-file log."""
    return [json.loads(line)["log"] for line in log.splitlines()]
