"""Clients that send what is asked for: our own, and BuildKit's, unmodified: docker 20.10's, the plugin buildx, Compose.
Those are left out where they are not installed: `docker-buildx` and `docker-compose` are looked for in PATH."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import subprocess
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e_parts.builders import Builder, builder, remove_builds, run
from e2e_parts.clients import Client, execute
from e2e_parts.cortend import IMAGE, Cortend

COMPOSE = shutil.which("docker-compose")
EVERYTHING = f"""# syntax=docker/dockerfile:1
FROM {IMAGE} AS one
ARG WHO=none
RUN --mount=type=secret,id=s1 cat /run/secrets/s1 > /dev/null && echo "secret read"
COPY --chown=3:4 . /files/
RUN echo $WHO > /who
FROM {IMAGE} AS unneeded
RUN exit 1
FROM {IMAGE}
COPY --from=one /files /files
COPY --from=one /who /who
CMD cat /who; cd /files && find . | sort | xargs stat -c '%n %f'
"""


@pytest.fixture(params=["corten", "docker 20.10", "buildx", "buildx remote"])
def build(request: pytest.FixtureRequest, daemon: Cortend, tmp_path: Path) -> Builder:
    return builder(request.param, daemon, tmp_path)


@pytest.fixture(autouse=True)
def no_builds_left(daemon: Cortend, no_images_left: None) -> Iterator[None]:
    yield
    remove_builds(daemon)


@pytest.fixture
def files(tmp_path: Path) -> Path:
    root = tmp_path / "context"
    (root / "sub/empty").mkdir(parents=True)
    (root / "Dockerfile").write_text(EVERYTHING)
    (root / ".dockerignore").write_text("*.log\nDockerfile\n.dockerignore\n")
    (root / "a").write_text("a\n")
    (root / "x.log").write_text("x\n")
    (root / "sub/b").write_text("b" * 100_000)
    (root / "sub/b").chmod(0o4750)
    (root / "lnk").symlink_to("sub/b")
    os.link(root / "a", root / "hard")
    (tmp_path / "secret").write_text("a secret content\n")
    return root


def test_files_secrets_stages_and_arguments(build: Builder, daemon: Cortend, files: Path, tmp_path: Path) -> None:
    secret = f"id=s1,src={tmp_path / 'secret'}"
    done = build("-t", "made", "--build-arg", "WHO=us", "--secret", secret, str(files))
    assert "secret read" in done.err and "a secret content" not in done.err
    assert run(daemon, "made").splitlines() == [
        "us",
        ". 41ed",
        "./a 81a4",
        "./hard 81a4",
        "./lnk a1ff",
        "./sub 41ed",
        "./sub/b 89e8",
        "./sub/empty 41ed",
    ]
    first = daemon.get("/images/made/json")["Id"]
    again = build("-t", "made", "--build-arg", "WHO=us", "--secret", secret, str(files))
    assert again.err.count("CACHED") >= 5 and daemon.get("/images/made/json")["Id"] == first
    (files / "sub/b").write_text("changed")
    (files / "a").unlink()
    build("-t", "made", "--build-arg", "WHO=us", "--secret", secret, str(files))
    assert "./a 81a4" not in run(daemon, "made")


def test_a_failed_step(build: Builder, files: Path) -> None:
    (files / "Dockerfile").write_text(f"FROM {IMAGE}\nRUN echo why; exit 7\n")
    done = build(str(files), code=1)
    assert "why" in done.err
    assert 'process "/bin/sh -c echo why; exit 7" did not complete successfully: exit code: 7' in done.err
    assert build.name == "docker 20.10" or "   2 | >>> RUN echo why; exit 7" in done.err


def test_what_is_wrong_with_a_dockerfile(build: Builder, files: Path) -> None:
    (files / "Dockerfile").write_text(f"FROM {IMAGE}\nFOO x\n")
    assert "unknown instruction: FOO" in build(str(files), code=1).err
    (files / "Dockerfile").write_text(f"FROM {IMAGE}\nCOPY nope /\n")
    assert '"/nope": not found' in build(str(files), code=1).err
    (files / "Dockerfile").unlink()
    assert "no such file or directory" in build(str(files), code=1).err


def test_a_dockerfile_elsewhere_and_through_a_link(build: Builder, files: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/real").write_text(f"FROM {IMAGE}\nCOPY a /a\nRUN cat /a; echo elsewhere\n")
    (tmp_path / "elsewhere/named").symlink_to("real")
    assert "elsewhere" in build("-f", str(tmp_path / "elsewhere/named"), str(files)).err


def test_a_context_on_standard_input(build: Builder, daemon: Cortend) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for name, text in (("Dockerfile", f"FROM {IMAGE}\nCOPY f /f\nCMD cat /f\n"), ("f", "from a tar\n")):
            entry = tarfile.TarInfo(name)
            entry.size = len(text)
            tar.addfile(entry, io.BytesIO(text.encode()))
    build("-t", "made", "-", input=packed.getvalue())
    assert run(daemon, "made") == "from a tar\n"


def test_quiet_and_the_file_with_the_id(build: Builder, daemon: Cortend, files: Path, tmp_path: Path) -> None:
    (files / "Dockerfile").write_text(f"FROM {IMAGE}\nCOPY a /\n")
    quiet = Builder(build.name, tuple(word for word in build.command if word not in ("--progress", "plain")), build.env)
    done = quiet("-q", "--iidfile", str(tmp_path / "id"), "-t", "made", str(files))
    id = daemon.get("/images/made/json")["Id"]
    assert done.out.strip() == id == (tmp_path / "id").read_text()


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_a_client_that_goes_away(build: Builder, files: Path, how: signal.Signals) -> None:
    """Its step ends; the census of the fixture finds nothing."""
    (files / "Dockerfile").write_text(f"FROM {IMAGE}\nRUN echo begun; exec sleep 9871\n")
    command = [*build.command, str(files)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, env=build.env)
    assert process.stderr is not None
    with process.stderr:
        for line in process.stderr:
            if b" begun" in line:
                break
        process.send_signal(how)
        process.wait(20)
    deadline = time.monotonic() + 20
    while subprocess.run(["pgrep", "-f", "sleep 9871"], capture_output=True).returncode == 0:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_an_agent_that_is_forwarded_and_one_that_is_not_there(build: Builder, files: Path, tmp_path: Path) -> None:
    if not shutil.which("ssh-agent"):
        pytest.skip("needs ssh-agent")
    agent = subprocess.Popen(
        ["ssh-agent", "-D", "-a", str(tmp_path / "agent")], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        deadline = time.monotonic() + 60
        while not (tmp_path / "agent").exists():
            assert time.monotonic() < deadline
            time.sleep(0.02)
        (files / "Dockerfile").write_text(
            f"FROM {IMAGE}\nRUN --mount=type=ssh,required=true test -S $SSH_AUTH_SOCK && echo agent there\n"
        )
        assert "agent there" in build("--ssh", f"default={tmp_path / 'agent'}", str(files)).err
        assert "forwarded" in build("--no-cache", str(files), code=1).err
    finally:
        agent.kill()
        agent.wait()


def test_the_tree_of_a_client_is_known_to_check(build: Builder, corten: Client, files: Path) -> None:
    (files / "Dockerfile").write_text(f"FROM {IMAGE}\nCOPY . /\n")
    build(str(files))
    assert "nothing is wrong" in corten("system", "check", "--deep").out


# ---------------------------------------------------------------------------------------------- buildx's own, Compose


@pytest.fixture
def buildx(daemon: Cortend, tmp_path: Path) -> Builder:
    found = builder("buildx", daemon, tmp_path)
    return Builder(found.name, found.command[:1], {**found.env, "BUILDX_BAKE_ENTITLEMENTS_FS": "0"})


def test_bake_with_a_target_in_a_target_and_one_directory_for_both(
    buildx: Builder, daemon: Cortend, files: Path, tmp_path: Path
) -> None:
    one = {"context": str(files), "dockerfile-inline": f"FROM {IMAGE}\nCOPY a /a\nRUN echo one > /one", "tags": ["one"]}
    two = {
        "context": str(files),
        "dockerfile-inline": "FROM base\nCOPY sub /sub\nCOPY --from=base /one /copied\nCMD cat /one /copied /a",
        "contexts": {"base": "target:one"},
        "tags": ["two"],
    }
    bake = {"group": {"default": {"targets": ["one", "two"]}}, "target": {"one": one, "two": two}}
    (tmp_path / "bake.json").write_text(json.dumps(bake))
    buildx("bake", "--progress", "plain", "-f", str(tmp_path / "bake.json"))
    assert run(daemon, "two") == "one\none\na\n"
    assert {tag for image in daemon.get("/images/json") for tag in image["RepoTags"]} >= {"one:latest", "two:latest"}


def test_a_named_context(buildx: Builder, daemon: Cortend, files: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other/o").write_text("other\n")
    (files / "Dockerfile").write_text("FROM base\nCOPY --from=more o /o\nCMD cat /o\n")
    named = ("--build-context", f"base=docker-image://{IMAGE}", "--build-context", f"more={tmp_path / 'other'}")
    buildx("build", *named, "-t", "made", str(files))
    assert run(daemon, "made") == "other\n"


def test_the_cache_is_listed_and_pruned(buildx: Builder, files: Path) -> None:
    (files / "Dockerfile").write_text(f"FROM {IMAGE}\nCOPY a /\nRUN echo x > /x\n")
    buildx("build", str(files))
    assert "RUN echo x > /x" in buildx("du", "--verbose").out
    buildx("prune", "--all", "--force")
    assert "RUN echo x > /x" not in buildx("du", "--verbose").out


def test_checks(buildx: Builder, files: Path) -> None:
    (files / "Dockerfile").write_text(f"FROM {IMAGE} as made\nRUN exit 1\n")
    found = buildx("build", "--check", str(files)).out
    assert "Check complete, 1 warning has been found!" in found
    assert "WARNING: FromAsCasing" in found and "   1 | >>> FROM" in found
    (files / "Dockerfile").write_text(f"# check=error=true\nFROM {IMAGE} as made\n")
    assert "FromAsCasing" in buildx("build", "--check", str(files), code=1).out
    (files / "Dockerfile").write_text("FROM\n")
    buildx("build", "--check", str(files), code=1)
    (files / "Dockerfile").write_text(f"FROM {IMAGE}\n")
    assert "no warnings found" in buildx("build", "--check", str(files)).out


def test_a_result_goes_to_a_directory_of_the_client(buildx: Builder, files: Path, tmp_path: Path) -> None:
    (files / "Dockerfile").write_text(
        f"FROM {IMAGE} AS one\nRUN echo made > /made\nFROM scratch\nCOPY --from=one /made /\n"
    )
    buildx("build", "-o", str(tmp_path / "out"), str(files))
    assert {path.name: path.read_text() for path in (tmp_path / "out").iterdir()} == {"made": "made\n"}


def test_compose_builds_services_of_one_another(daemon: Cortend, files: Path, tmp_path: Path) -> None:
    if COMPOSE is None or "Docker Compose" not in execute([COMPOSE, "version"]).out:
        pytest.skip("needs docker-compose 2 in PATH")
    services = {
        "one": {
            "image": "one",
            "build": {"context": str(files), "dockerfile_inline": f"FROM {IMAGE}\nCOPY a /a\n"},
        },
        "two": {
            "image": "two",
            "build": {
                "context": str(files),
                "dockerfile_inline": "FROM base\nCOPY sub /sub\nCMD cat /a\n",
                "additional_contexts": {"base": "service:one"},
            },
        },
    }
    (tmp_path / "compose.json").write_text(json.dumps({"services": services}))
    env = {**os.environ, "DOCKER_HOST": daemon.address, "DOCKER_CONFIG": str(tmp_path), "HOME": str(tmp_path)}
    command = [COMPOSE, "-p", "built", "--progress", "plain", "-f", str(tmp_path / "compose.json"), "build"]
    done = execute(command, timeout=100, env=env)
    assert done.code == 0, done
    assert run(daemon, "two") == "a\n"
