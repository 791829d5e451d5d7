"""Unmodified clients build: docker-py, the docker client in each version that this machine has, and ours."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import docker
import docker.errors
import pytest

from fakes.daemon import Daemon

DOCKERS = [path for path in ("/usr/bin/docker", "/usr/local/bin/docker") if shutil.which(path)]
CORTEN = str(Path(sys.executable).parent / "corten")
DOCKERFILE = 'FROM test\nARG WHO=none\nCOPY . /files/\nRUN echo hello $WHO > said; cat said\nCMD ["x"]\n'
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def files(tmp_path: Path) -> Path:
    root = tmp_path / "context"
    (root / "sub").mkdir(parents=True)
    (root / "Dockerfile").write_text(DOCKERFILE)
    (root / ".dockerignore").write_text("*.log\nsub/*\n!sub/kept\n")
    for name in ("a", "x.log", "sub/gone", "sub/kept"):
        (root / name).write_text(name)
    return root


def client(program: str, daemon: Daemon) -> Run:
    def run(*arguments: str, code: int = 0, **options: str) -> subprocess.CompletedProcess[str]:
        own = {"DOCKER_HOST": daemon.address, "DOCKER_CONFIG": str(daemon.root), "DOCKER_BUILDKIT": "0"}
        done = subprocess.run(
            [program, *arguments], capture_output=True, text=True, timeout=60, env={**os.environ, **own}, **options
        )  # type: ignore[call-overload]  # options of run()
        assert done.returncode == code, (arguments, done)
        return done  # type: ignore[no-any-return]

    return run


@pytest.fixture(params=DOCKERS)
def old(request: pytest.FixtureRequest, daemon: Daemon) -> Run:
    return client(request.param, daemon)


@pytest.fixture
def corten(daemon: Daemon) -> Run:
    return client(CORTEN, daemon)


def copied(daemon: Daemon, image: str) -> list[str]:
    tree_store = daemon.engine.store.trees.tree_store
    found: set[str] = set()
    for tree in tree_store.lineage(daemon.engine.images.resolve(image).chain_id or ""):
        root = tree_store.files(tree)
        found |= {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}
    return sorted(found)


WANTED = ["files/.dockerignore", "files/Dockerfile", "files/a", "files/sub/kept", "said"]


@pytest.mark.skipif(not DOCKERS, reason="no docker client (Debian package docker.io)")
def test_docker(old: Run, daemon: Daemon, files: Path) -> None:
    first = old("build", "-t", "made", "--build-arg", "WHO=me", "--label", "l=1", str(files)).stdout
    assert "hello me\n" in first and "Successfully tagged made:latest" in first
    assert copied(daemon, "made") == WANTED
    assert old("image", "inspect", "-f", "{{.Config.Labels.l}}", "made").stdout == "1\n"
    again = old("build", "-t", "made", "--build-arg", "WHO=me", "--label", "l=1", str(files)).stdout
    assert again.count("Using cache") == 5
    assert old("build", "-q", str(files)).stdout.startswith("sha256:")
    (files / "Dockerfile").write_text("FROM test\nRUN exit 7\n")
    failed = old("build", str(files), code=7)
    assert failed.stderr.splitlines()[-1] == "The command '/bin/sh -c exit 7' returned a non-zero code: 7"
    with open(files / "Dockerfile") as file:
        old("build", "-", code=7, stdin=file)


def test_docker_py(daemon: Daemon, files: Path) -> None:
    api = docker.DockerClient(base_url=daemon.address, timeout=60)
    image, log = api.images.build(path=str(files), tag="made", buildargs={"WHO": "py"}, labels={"l": "1"}, rm=True)
    assert image.tags == ["made:latest"] and image.labels["l"] == "1"
    assert "hello py\n" in "".join(line.get("stream", "") for line in log)
    assert copied(daemon, "made") == WANTED
    from_text, _ = api.images.build(fileobj=io.BytesIO(b"FROM test\nENV A=1\n"))
    assert "A=1" in from_text.attrs["Config"]["Env"]
    with pytest.raises(docker.errors.BuildError, match="returned a non-zero code: 3") as failed:
        api.images.build(fileobj=io.BytesIO(b"FROM test\nRUN echo why; exit 3\n"))
    assert {"stream": "why\n"} in list(failed.value.build_log)
    assert api.api.prune_builds()["SpaceReclaimed"] == 0
    api.close()


def test_corten(corten: Run, daemon: Daemon, files: Path) -> None:
    id = files.parent / "id"
    done = corten("build", "-t", "made", "--build-arg", "WHO=we", "--iidfile", str(id), str(files))
    assert "[3/3] RUN echo hello we > said; cat said\n" in done.stderr and " hello we\n" in done.stderr
    assert copied(daemon, "made") == WANTED
    assert id.read_text() == daemon.engine.images.resolve("made").id
    again = corten("image", "build", "--build-arg", "WHO=we", str(files))
    assert again.stderr.count("CACHED") == 3
    assert corten("build", "-q", "--build-arg", "WHO=we", str(files)).stdout == id.read_text() + "\n"
    raw = corten("build", "--progress", "rawjson", str(files)).stdout
    assert raw.startswith('{"vertexes":')
    assert "RUN echo hello" in corten("builder", "du", "--verbose").stdout
    corten("rmi", "made")
    assert "Total reclaimed space" in corten("builder", "prune", "-af").stdout
    assert corten("builder", "du").stdout.splitlines()[0].split() == ["ID", "RECLAIMABLE", "SIZE", "USED"]


def test_corten_shows_where_it_failed(corten: Run, files: Path) -> None:
    (files / "Dockerfile").write_text("FROM test AS one\nRUN true\nRUN echo why; \\\n    exit 7\nCMD x\n")
    failed = corten("build", str(files), code=1).stderr
    assert failed.endswith(
        """Dockerfile:3
--------------------
   1 |     FROM test AS one
   2 |     RUN true
   3 | >>> RUN echo why; \\
   4 | >>>     exit 7
   5 |     CMD x
--------------------
To look around in the state before this step: corten build --debug-shell
ERROR: failed to build: failed to solve: process "/bin/sh -c echo why;     exit 7" did not complete successfully: """
        "exit code: 7\n"
    )
    assert " > [one 3/3] RUN echo why;     exit 7:\n" in failed


def test_corten_takes_the_dockerfile_from_elsewhere(corten: Run, daemon: Daemon, files: Path) -> None:
    """From a file outside, with its own ignore file; from standard input; and without any context."""
    other = files.parent / "Other"
    other.write_text("FROM test\nCOPY . /c/\n")
    (files.parent / "Other.dockerignore").write_text("sub\n")
    corten("build", "-t", "made", "-f", str(other), str(files))
    assert copied(daemon, "made") == ["c/.dockerignore", "c/Dockerfile", "c/a", "c/x.log"]
    with other.open() as file:
        corten("build", "-t", "second", "-f", "-", str(files), stdin=file)
    assert copied(daemon, "second") == ["c/.dockerignore", "c/Dockerfile", "c/a", "c/sub/kept"]
    other.write_text("FROM test\nENV A=1\n")
    with other.open() as file:
        corten("build", "-t", "third", "-", stdin=file)
    assert "A=1" in daemon.engine.images.inspect("third")["Config"]["Env"]
    assert "no such file" in corten("build", str(files / "sub"), code=1).stderr
    assert "not found" in corten("build", str(files / "none"), code=1).stderr
