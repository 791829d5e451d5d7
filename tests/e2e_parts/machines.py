"""Whole machines in tests of the command line, with the smallest guest there is (`vm.tiny`): a kernel and busybox."""

from __future__ import annotations

import itertools
import json
import socket
import subprocess
import sys
import time
import urllib.parse
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from e2e_parts.cortend import Cortend
from vm import tiny

MARKS = [
    pytest.mark.skipif(bool(tiny.missing()), reason=tiny.missing() or "there is a guest"),
    pytest.mark.timeout(300),  # a guest is emulated where others want the processor as well
]
LIMIT = 100  # seconds for anything that a busy machine emulates


class Vm:
    """The command line, on one daemon."""

    def __init__(self, daemon: Cortend, initrd: Path) -> None:
        self.daemon = daemon
        self.files = ["--kernel", str(tiny.kernel()), "--initrd", str(initrd)]
        self.query = urllib.parse.urlencode({"kernel": self.files[1], "initrd": self.files[3]})
        self._boot = [*self.files, "--append", tiny.ARGUMENTS, "-m", "192m"]

    def run(self, *words: str, code: int = 0, **options: object) -> str:
        command = [str(Path(sys.executable).parent / "corten"), "-H", self.daemon.address, *words]
        done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT)
        assert done.returncode == code, (words, done.stdout, done.stderr)
        return done.stdout if code == 0 else done.stderr

    def create(self, name: str, *more: str) -> str:
        return self.run("vm", "create", name, *self._boot, *more).strip()

    def inspect(self, name: str) -> dict[str, object]:
        found: list[dict[str, object]] = json.loads(self.run("vm", "inspect", name))
        return found[0]

    def until(self, what: Callable[[], bool]) -> None:
        deadline = time.monotonic() + LIMIT
        while not what():
            assert time.monotonic() < deadline
            time.sleep(0.1)

    def ready(self, name: str, times: int = 1) -> None:
        """Its console has said so, in its first or a later run; followed, not asked again and again: the guest needs
        the processor."""
        command = [str(Path(sys.executable).parent / "corten"), "-H", self.daemon.address, "vm", "logs", "-f", name]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as following:
            assert following.stdout is not None
            try:
                said = (line for line in following.stdout if tiny.READY.encode() in line)
                assert sum(1 for _ in itertools.islice(said, times)) == times
            finally:
                following.kill()


def serving(root: Path) -> Iterator[Vm]:
    """A daemon of its own, on which nothing is left."""
    daemon = Cortend(root)
    daemon.start()
    found = Vm(daemon, tiny.initrd(root / "initrd"))
    try:
        yield found
        assert found.run("vm", "ls", "-a", "-q") == ""
        assert found.run("volume", "ls", "-q") == ""
    finally:
        for name in found.run("vm", "ls", "-a", "-q").split():
            found.run("vm", "rm", "-f", name)
        daemon.stop()


def console(vm: Vm, name: str, line: str, expected: str) -> str:
    """What the serial console says to a line that is typed there, up to what is expected."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(LIMIT)
        connection.connect(str(vm.daemon.socket))
        ask = f"POST /vms/{name}/attach HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
        connection.sendall(ask.encode())
        head = b""
        while b"\r\n\r\n" not in head:
            head += connection.recv(1)
        assert head.startswith(b"HTTP/1.1 101"), head
        connection.sendall(line.encode() + b"\r")
        said = b""
        while expected.encode() not in said:
            piece = connection.recv(4096)
            assert piece, said
            said += piece
        return said.decode(errors="replace")


def place(vm: Vm, name: str) -> Path:
    return vm.daemon.data / "machines" / str(vm.inspect(name)["Id"])
