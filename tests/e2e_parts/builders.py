"""Clients that speak BuildKit's protocols: docker 20.10's own, and buildx by its drivers `docker` and `remote`."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from e2e_parts.clients import CORTEN, DOCKER, OLD_DOCKER, Done, execute
from e2e_parts.cortend import IMAGE, Cortend
from e2e_parts.patience import until

BUILDX = shutil.which("docker-buildx")


@dataclass(frozen=True)
class Builder:
    """A client; `env` makes it use BuildKit's protocol."""

    name: str
    command: tuple[str, ...]
    env: dict[str, str]

    def __call__(self, *arguments: str, input: bytes | None = None, code: int = 0, timeout: float = 100) -> Done:
        done = execute([*self.command, *arguments], input, timeout, self.env)
        assert done.code == code, (done.out[-500:], done.err[-1500:])
        return done


def builder(name: str, daemon: Cortend, home: Path) -> Builder:
    """Skips when there is none."""
    env = {**os.environ, "DOCKER_HOST": daemon.address, "DOCKER_CONFIG": str(home), "HOME": str(home)}
    if name == "corten":
        return Builder(name, (*CORTEN, "build", "--progress", "plain"), env)
    if name.startswith("buildx"):
        if BUILDX is None:
            pytest.skip("needs docker-buildx in PATH")
        if name == "buildx remote":
            create = [BUILDX, "create", "--name", "over", "--driver", "remote", "--driver-opt", "default-load=true"]
            assert execute([*create, daemon.address], env=env).code == 0
            return Builder(name, (BUILDX, "build", "--builder", "over", "--progress", "plain"), env)
        return Builder(name, (BUILDX, "build", "--progress", "plain"), env)
    path = OLD_DOCKER if shutil.which(OLD_DOCKER) else DOCKER
    version = execute([path, "--version"]).out if shutil.which(path) else ""
    if not version.startswith("Docker version 20.10"):
        pytest.skip("needs docker 20.10, whose client speaks to a builder itself")
    return Builder(name, (path, "build", "--progress", "plain"), {**env, "DOCKER_BUILDKIT": "1"})


def all_ended(daemon: Cortend) -> None:
    """Waits for that: a client that has gone does not wait for its build, and what is in use by one is not pruned."""
    until(lambda: all(row["CompletedAt"] for row in daemon.get("/build/history")))


def remove_builds(*daemons: Cortend) -> None:
    """What builds have made, and what they left to be used again, once they have ended."""
    for daemon in daemons:
        all_ended(daemon)
        daemon.remove_everything()
        for image in daemon.get("/images/json?all=1"):
            if not any(name.startswith(IMAGE) for name in image["RepoTags"] or ()):
                daemon.ask("DELETE", f"/images/{image['Id']}?force=1")
        assert daemon.ask("POST", "/build/prune?all=1")[0] == 200


def run(daemon: Cortend, image: str) -> str:
    client = shutil.which(DOCKER) or shutil.which(OLD_DOCKER)
    assert client
    return execute(
        [client, "run", "--rm", "--network", "none", image], env={**os.environ, "DOCKER_HOST": daemon.address}
    ).out


def corten(daemon: Cortend, *arguments: str, code: int = 0) -> Done:
    """Our own command line."""
    done = execute([*CORTEN, "-H", daemon.address, *arguments], timeout=60)
    assert done.code == code, done
    return done


def history(buildx: Builder, *arguments: str, code: int = 0) -> Done:
    """`buildx history`."""
    return Builder("history", (buildx.command[0], "history"), buildx.env)(*arguments, code=code)
