"""A daemon that is killed while a step runs: the next one ends what runs, and keeps nothing of it."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from build_world import BuildWorld
from corten.build.contract import CacheMount

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="the runtime needs root")

_DAEMON = """
import sys
from pathlib import Path
from build_world import BuildWorld, NoClient
from corten.build.contract import Bind, CacheMount, RunStep, SourceTree
from corten.spec.dockerfile.mounts import SecretMount
world = BuildWorld(Path(sys.argv[1]), name=sys.argv[2])
(world.root / "context").mkdir()
mounts = (Bind("/m", SourceTree("x", world.root / "context"), writable=True), CacheMount("/c", "kept"),
          SecretMount("s", "/run/secrets/s"))
step = RunStep(("/bin/sh", "-c", "echo x > /f; echo x > /m/f; echo x > /c/f; echo began; sleep 3600"), mounts=mounts)
client = NoClient({"s": b"secret"})
world.do(world.worker.run(world.base, step, client, lambda _, data: print(data.decode(), flush=True)))
"""


def test_a_daemon_killed_in_a_run(tmp_path: Path) -> None:
    name = f"cb{secrets.token_hex(3)}"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen(
        [sys.executable, "-c", _DAEMON, tmp_path, name], stdout=subprocess.PIPE, text=True, env=environment
    )
    assert process.stdout is not None
    while "began" not in (line := process.stdout.readline()):
        assert line, "the step did not begin"
    (run,) = (tmp_path / "r/containers").iterdir()
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    world = BuildWorld(tmp_path, name=name)
    try:
        assert world.left() == []
        assert [cache.id for cache in world.do(world.work.caches.every())] == ["kept"]
        mount = CacheMount("/c", "kept")
        assert world.run("cat /c/f", mounts=(mount,))[1] == "x\n"
    finally:
        world.close()
    deadline = time.monotonic() + 60
    while subprocess.run(["pgrep", "-f", f"supervisor for {run.name}"], capture_output=True).returncode == 0:
        assert time.monotonic() < deadline
        time.sleep(0.05)
