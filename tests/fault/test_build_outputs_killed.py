"""kill -9 of the daemon while an output is under way: nothing is left of it, and the next one is whole."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e_parts.builders import Builder, builder
from e2e_parts.cortend import IMAGE
from fault_parts.fragile import Fragile, until

LARGE = f"""FROM {IMAGE} AS made
RUN dd if=/dev/urandom of=/big bs=1M count=60 2>/dev/null
FROM scratch
COPY --from=made /big /
"""


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "files").mkdir()
    (tmp_path / "files/Dockerfile").write_text(LARGE)
    return tmp_path / "files"


@pytest.fixture
def client(daemon: Fragile, files: Path, tmp_path: Path) -> Iterator[Builder]:
    """Whose steps are in the cache."""
    found = builder("docker 20.10", daemon, tmp_path)
    found("-t", "large", str(files))
    yield found
    daemon.ask("DELETE", "/images/large?force=1")
    assert daemon.ask("POST", "/build/prune?all=1")[0] == 200


def begun(client: Builder, output: str, files: Path) -> subprocess.Popen[bytes]:
    command = [*client.command, "-o", output, str(files)]
    return subprocess.Popen(command, env=client.env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)


def looked_at(daemon: Fragile) -> tuple[list[str], list[tuple[str, int, int]]]:
    """What `system check` finds wrong, and what there is of each kind."""
    status, report = daemon.ask("POST", "/system/check")
    assert status == 200
    found = json.loads(str(report).splitlines()[-1])["aux"]
    usage = [(each["Kind"], each["Inodes"], each["Count"]) for each in found["Usage"] if each["Kind"] != "database"]
    return found["Problems"], usage


def parts(daemon: Fragile) -> list[str]:
    return os.listdir(daemon.data / "content/ingest")


def killed(daemon: Fragile, process: subprocess.Popen[bytes]) -> None:
    daemon.kill()
    process.kill()
    process.communicate()
    daemon.start()


def test_killed_while_a_tar_goes_out(daemon: Fragile, client: Builder, files: Path) -> None:
    before = looked_at(daemon)
    process = begun(client, "type=tar,dest=-", files)
    assert process.stdout is not None
    process.stdout.read(1 << 20)  # and no more: the rest waits
    killed(daemon, process)
    assert looked_at(daemon) == before == ([], before[1]) and parts(daemon) == []
    assert len(begun(client, "type=tar,dest=-", files).communicate(timeout=60)[0]) > 60 << 20


def test_killed_while_a_directory_goes_out(daemon: Fragile, client: Builder, files: Path, tmp_path: Path) -> None:
    before = looked_at(daemon)
    process = begun(client, f"type=local,dest={tmp_path / 'out'}", files)
    until(lambda: (tmp_path / "out/big").exists(), "the file comes")
    process.send_signal(signal.SIGSTOP)
    killed(daemon, process)
    assert looked_at(daemon) == before == ([], before[1])
    begun(client, f"type=local,dest={tmp_path / 'out'}", files).communicate(timeout=60)
    assert (tmp_path / "out/big").stat().st_size == 60 << 20


def test_killed_while_layers_are_made_anew(daemon: Fragile, client: Builder, files: Path) -> None:
    before = looked_at(daemon)
    output = "type=image,name=other,compression=zstd,compression-level=22,force-compression=true"
    process = begun(client, output, files)
    until(lambda: parts(daemon), "a layer is compressed")
    killed(daemon, process)
    assert looked_at(daemon) == before == ([], before[1]) and parts(daemon) == []
