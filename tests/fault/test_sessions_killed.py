"""kill -9 of either side while a context comes over a session: the next transfer brings what is missing."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from e2e_parts.clients import OLD_DOCKER
from e2e_parts.cortend import IMAGE
from fault_parts.fragile import Fragile, until

LARGE = 300 << 20


@pytest.fixture
def context(tmp_path: Path) -> Path:
    if not shutil.which(OLD_DOCKER):
        pytest.skip(f"needs {OLD_DOCKER}")
    (tmp_path / "a").write_text("whole")
    with (tmp_path / "large").open("wb") as file:
        file.truncate(LARGE)
    (tmp_path / "Dockerfile").write_text(f"FROM {IMAGE}\nRUN --mount=type=bind,target=/c sha256sum /c/a /c/large\n")
    return tmp_path


def build(daemon: Fragile, context: Path) -> subprocess.Popen[str]:
    env = {**os.environ, "DOCKER_HOST": daemon.address, "DOCKER_BUILDKIT": "1"}
    command = [OLD_DOCKER, "build", "--progress", "plain", str(context)]
    return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def trees(daemon: Fragile) -> set[Path]:
    return {path for path in (daemon.data / "build/trees").glob("*/*") if path.name != "size"}


def finished(process: subprocess.Popen[str]) -> str:
    out = process.communicate(timeout=60)[0]
    assert process.returncode == 0, out
    return out


@pytest.mark.parametrize("side", ["daemon", "client"])
def test_killed_while_the_context_comes(daemon: Fragile, context: Path, side: str) -> None:
    before = trees(daemon)
    first = build(daemon, context)
    until(lambda: any((path / "large").exists() for path in trees(daemon) - before), "the large file comes", 30)
    first.send_signal(signal.SIGSTOP)  # in the middle: what is under way is a few MiB
    if side == "daemon":
        daemon.kill()
        daemon.start()
    first.kill()
    first.communicate(timeout=30)
    said = finished(build(daemon, context))
    expected = hashlib.sha256(bytes(LARGE)).hexdigest()
    assert f"{hashlib.sha256(b'whole').hexdigest()}  /c/a" in said and f"{expected}  /c/large" in said
    until(lambda: len(trees(daemon) - before) == 1, "one tree is kept")
    for image in daemon.get("/images/json"):
        if not image["RepoTags"]:
            daemon.ask("DELETE", f"/images/{image['Id']}?force=1")
    assert daemon.ask("POST", "/build/prune?all=1")[0] == 200
