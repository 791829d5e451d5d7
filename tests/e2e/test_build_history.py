"""The history of builds, by buildx and by our own command line."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from e2e_parts.builders import Builder, builder, corten, history, remove_builds
from e2e_parts.cortend import IMAGE, Cortend, short_root

FILES = f"""FROM {IMAGE}
ARG TOKEN
RUN echo said by a step
"""


@pytest.fixture
def files(daemon: Cortend, tmp_path: Path) -> Path:
    root = tmp_path / "context"
    root.mkdir()
    (root / "Dockerfile").write_text(FILES)
    return root


@pytest.fixture(autouse=True)
def no_builds_left(daemon: Cortend, nothing_left: None) -> Iterator[None]:
    for one in daemon.get("/build/history"):
        assert daemon.ask("DELETE", f"/build/history/{one['Ref']}")[0] == 204
    yield
    remove_builds(daemon)


def test_our_own(daemon: Cortend, files: Path) -> None:
    corten(daemon, "build", "-q", "-t", "made", "--build-arg", "TOKEN=http://u:s3cret@h", str(files))
    (files / "Dockerfile").write_text(f"FROM {IMAGE}\nRUN exit 4\n")
    corten(daemon, "build", "-q", str(files), code=1)
    listed = corten(daemon, "builder", "history", "ls").out.splitlines()
    assert [line.split()[2] for line in listed] == ["STATUS", "error", "completed"]
    failed, done = corten(daemon, "builder", "history", "ls", "-q").out.split()
    assert "exit code: 4" in json.loads(corten(daemon, "builder", "history", "inspect", failed).out)[0]["Error"]
    assert "s3cret" not in corten(daemon, "builder", "history", "inspect", done).out
    assert "said by a step" in corten(daemon, "builder", "history", "logs", done[:12]).out
    corten(daemon, "builder", "history", "rm", failed)
    corten(daemon, "builder", "history", "rm", failed, code=1)
    assert corten(daemon, "builder", "history", "ls", "-q").out.split() == [done]
    corten(daemon, "builder", "history", "rm", "--all")
    assert daemon.get("/build/history") == []


@pytest.fixture
def own() -> Iterator[Cortend]:
    """A daemon that may be stopped."""
    with short_root() as root, Cortend(root) as running:
        running.start()
        yield running


def test_it_outlives_the_daemon(own: Cortend, files: Path) -> None:
    corten(own, "build", "-q", str(files))
    before = own.get("/build/history")
    own.stop()
    own.start()
    assert own.get("/build/history") == before
    assert "said by a step" in corten(own, "builder", "history", "logs", before[0]["Ref"]).out
    assert "nothing is wrong" in corten(own, "system", "check").out


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture
def buildx(daemon: Cortend, tmp_path: Path) -> Builder:
    return builder("buildx", daemon, tmp_path)


def test_buildx(buildx: Builder, daemon: Cortend, files: Path) -> None:
    buildx("-t", "made", "--build-arg", "TOKEN=shown", str(files))
    (files / "Dockerfile").write_text(f"FROM {IMAGE}\nRUN exit 4\n")
    buildx(str(files), code=1)
    rows = [json.loads(line) for line in history(buildx, "ls", "--format", "json").out.splitlines()]
    assert {row["status"] for row in rows} == {"Completed", "Error"}
    done = next(row for row in rows if row["status"] == "Completed")
    ref = done["ref"].rpartition("/")[2]
    shown = history(buildx, "inspect", ref).out
    assert "shown" in shown and "Build Steps:" in shown
    assert "said by a step" in history(buildx, "logs", ref).err
    failed = json.loads(history(buildx, "inspect", "--format", "json").out)
    assert failed["Status"] == "failed" and "exit code: 4" in failed["Error"]["Message"]
    assert ">>> RUN exit 4" in history(buildx, "inspect").out  # the lines of the Dockerfile
    history(buildx, "rm", ref)
    assert len(history(buildx, "ls", "--format", "json").out.splitlines()) == 1
    history(buildx, "rm", "--all")
    assert daemon.get("/build/history") == []
    history(buildx, "inspect", ref, code=1)


def test_a_build_under_way(buildx: Builder, daemon: Cortend, files: Path) -> None:
    """It is seen; when its client has gone it is canceled."""
    (files / "Dockerfile").write_text(f"FROM {IMAGE}\nRUN echo begun; exec sleep 1000\n")
    process = subprocess.Popen([*buildx.command, str(files)], env=buildx.env, stderr=subprocess.PIPE)
    try:
        assert process.stderr is not None
        while b"begun" not in (line := process.stderr.readline()) or b"RUN" in line:
            assert line
        (found,) = daemon.get("/build/history")
        assert found["State"] == "running" and "(running)" in history(buildx, "inspect").out
        assert daemon.ask("DELETE", f"/build/history/{found['Ref']}")[0] == 409
    finally:
        process.terminate()
        process.communicate(timeout=30)
    wait_for(lambda: daemon.get("/build/history")[0]["State"] == "canceled")
    assert json.loads(history(buildx, "inspect", "--format", "json").out)["Status"] == "canceled"
