"""The docker and corten clients, unmodified, against one daemon. A client that hangs is killed, never waited for."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from e2e_parts.cortend import PROJECT
from e2e_parts.patience import PATIENCE

DOCKER, OLD_DOCKER = "/usr/local/bin/docker", "/usr/bin/docker"
CORTEN = (sys.executable, "-I", "-S", str(PROJECT / "scripts" / "corten.py"))
TIMEOUT = PATIENCE


def available() -> dict[str, Sequence[str]]:
    """Name to command of each client that this machine has; /usr/bin/docker only when it is another one."""
    found: dict[str, Sequence[str]] = {"corten": CORTEN}
    for name, path in (("docker", DOCKER), ("docker-old", OLD_DOCKER)):
        if shutil.which(path):
            found[name] = (path,)
    if "docker" not in found and "docker-old" in found:
        found["docker"] = found.pop("docker-old")
    return found


@dataclass(frozen=True, slots=True)
class Done:
    code: int
    out: str
    err: str


def finish(process: subprocess.Popen[bytes], input: bytes | None = None, timeout: float = TIMEOUT) -> Done:
    """The end of a process of its own group. The whole group is killed when it takes longer."""
    try:
        out, err = process.communicate(input, timeout)
    except subprocess.TimeoutExpired:
        kill(process)
        raise
    return Done(process.returncode, out.decode(errors="replace"), (err or b"").decode(errors="replace"))


def kill(process: subprocess.Popen[bytes]) -> None:
    """SIGKILL for its group: docker's client ignores SIGTERM while it passes signals on."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    finally:
        process.wait(60)
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()


def execute(
    command: Sequence[str],
    input: str | bytes | None = None,
    timeout: float = TIMEOUT,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> Done:
    """Any program, with a limit that kills it and its children."""
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL if input is None else subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=env,
        cwd=cwd,
        start_new_session=True,
    )
    return finish(process, input.encode() if isinstance(input, str) else input, timeout)


@dataclass
class Client:
    """One command line. A call runs it to its end and checks the exit code (None takes any)."""

    name: str
    command: Sequence[str]
    address: str
    config: Path
    started: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def env(self) -> dict[str, str]:
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("DOCKER_", "CORTEN_"))}
        return {**kept, "DOCKER_HOST": self.address, "DOCKER_CONFIG": str(self.config), "TERM": "xterm"}

    def __call__(
        self, *arguments: str, input: str | bytes | None = None, code: int | None = 0, timeout: float = TIMEOUT
    ) -> Done:
        done = execute([*self.command, *arguments], input, timeout, self.env)
        assert code is None or done.code == code, (arguments, done)
        return done

    def out(self, *arguments: str, input: str | bytes | None = None) -> str:
        """Standard output without the last line's end."""
        return self(*arguments, input=input).out.rstrip("\n")

    def popen(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Started and left to itself; killed at the end of the test."""
        process = subprocess.Popen(
            [*self.command, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=self.env,
            start_new_session=True,
        )
        self.started.append(process)
        return process

    def close(self) -> None:
        for process in self.started:
            kill(process)
            for pipe in (process.stdin, process.stdout, process.stderr):
                if pipe is not None:
                    pipe.close()
