"""Builds on a real daemon by every client: what the image does when it runs, and that nothing is left of a build."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import docker as docker_py
import pytest

from e2e_parts.builders import remove_builds
from e2e_parts.clients import Client, Done, execute
from e2e_parts.cortend import IMAGE, Cortend

STAGES = f"""FROM {IMAGE} AS tools
WORKDIR /src
COPY src/ .
RUN cat main.txt lib/part.txt > /out.txt
FROM {IMAGE} AS docs
ARG WHO=us
RUN echo for $WHO > /doc
FROM {IMAGE} AS final
ENV GREETING=hello
COPY --from=tools --chown=3:4 /out.txt /app/
COPY --from=docs /doc /app/doc
RUN echo $GREETING > /app/said
USER 7
CMD ["sh", "-c", "cat /app/*; id -u"]
"""


@pytest.fixture(autouse=True)
def no_builds_left(daemon: Cortend, no_images_left: None) -> Iterator[None]:
    yield
    remove_builds(daemon)


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "context/src/lib").mkdir(parents=True)
    (tmp_path / "context/Dockerfile").write_text(STAGES)
    (tmp_path / "context/src/main.txt").write_text("main\n")
    (tmp_path / "context/src/lib/part.txt").write_text("part\n")
    return tmp_path / "context"


def build(client: Client, *arguments: str, code: int | None = 0) -> Done:
    command = [*client.command, "build", *arguments]
    done = execute(command, timeout=100, env={**client.env, "DOCKER_BUILDKIT": "0"})
    assert code is None or done.code == code, done
    return done


def test_stages_by_every_client(every: Client, files: Path) -> None:
    build(every, "-t", "made", str(files))
    first = every.out("image", "inspect", "-f", "{{.Id}}", "made")
    assert every("run", "--rm", "--network", "none", "made").out.split() == ["for", "us", "main", "part", "hello", "7"]
    again = build(every, "-t", "made", str(files))
    assert (again.out + again.err).count("CACHED" if every.name == "corten" else "Using cache") >= 6
    assert "Running in" not in again.out
    assert every.out("image", "inspect", "-f", "{{.Id}}", "made") == first


def test_a_context_that_comes_again_and_again(docker: Client, daemon: Cortend, files: Path) -> None:
    """Each image has what its context had, whatever is kept of earlier ones."""
    (files / "Dockerfile").write_text(f"FROM {IMAGE}\nCOPY . /c\nCMD cd /c && find . | sort && cat src/main.txt\n")
    (files / ".dockerignore").write_text("Dockerfile\n.dockerignore\n")
    changes: list[tuple[str, Callable[[], object]]] = [
        ("first", lambda: None),
        ("second", lambda: (files / "src/new").write_text("n")),
        ("third", lambda: (files / "src/new").unlink()),
        ("other", lambda: (files / "src/lib").rename(files / "src/moved")),
        ("other", lambda: None),
    ]
    for text, change in changes:
        change()
        (files / "src/main.txt").write_text(text)
        build(docker, "-t", "made", str(files))
        said = docker("run", "--rm", "--network", "none", "made").out.split()
        there = sorted(f"./{path.relative_to(files)}" for path in files.rglob("*") if path.parent != files)
        assert said == [".", "./src", *(name for name in there if name != "./src"), text]
    rows = daemon.get("/system/df?type=build-cache")["BuildCache"]
    assert [row["Type"] for row in rows].count("source.local") == 1


def test_stages_by_docker_py(daemon: Cortend, files: Path) -> None:
    client = docker_py.DockerClient(base_url=daemon.address, timeout=60)
    image, _ = client.images.build(path=str(files), tag="made", rm=True)
    assert client.containers.run(image.id, remove=True, network_mode="none").split()[-1] == b"7"
    client.close()


def test_a_failed_step_and_its_output(corten: Client, files: Path) -> None:
    (files / "Dockerfile").write_text(f"FROM {IMAGE}\nRUN echo why >&2; exit 7\n")
    done = build(corten, str(files), code=1)
    assert "why\n" in done.err and "   2 | >>> RUN echo why >&2; exit 7\n" in done.err
    assert 'process "/bin/sh -c echo why >&2; exit 7" did not complete successfully: exit code: 7' in done.err


def test_nothing_of_a_build_that_is_interrupted(corten: Client, daemon: Cortend, files: Path, tmp_path: Path) -> None:
    """The client is killed while a step runs: its process ends, and the census of the fixture finds nothing."""
    (files / "Dockerfile").write_text(f"FROM {IMAGE}\nRUN echo begun; exec sleep 9876\n")
    process = corten.popen("build", "--progress", "plain", str(files))
    assert process.stderr is not None
    for line in process.stderr:
        if b" begun" in line:
            break
    process.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 20
    while subprocess.run(["pgrep", "-f", "sleep 9876"], capture_output=True).returncode == 0:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_check_knows_what_builds_keep(corten: Client, files: Path) -> None:
    build(corten, "-t", "made", str(files))
    corten("rmi", "made")
    assert "nothing is wrong" in corten("system", "check", "--deep").out
    rows = [line.split() for line in corten("system", "check").out.splitlines()]
    assert int(next(row for row in rows if row[:1] == ["builds"])[1]) > 6
    corten("builder", "prune", "-af")
    assert "nothing is wrong" in corten("system", "check").out


def test_names_with_dots_and_links_stay_in_the_context(corten: Client, files: Path) -> None:
    """What a link of the context leads to is looked up in the context."""
    os.symlink("/etc/passwd", files / "link")
    (files / "Dockerfile").write_text(f"FROM {IMAGE}\nCOPY link /copied\n")
    done = build(corten, str(files), code=1)
    assert "not found" in done.err and "root:" not in done.err
    (files / "Dockerfile").write_text(f"FROM {IMAGE}\nCOPY ../../src/main.txt /copied\nRUN cat /copied\n")
    assert " main\n" in build(corten, str(files)).err


DEBIAN = """FROM debian-gcc AS build
COPY hello.c /src/
RUN gcc -O1 -static -o /hello /src/hello.c
FROM scratch
COPY --from=build /hello /hello
ENTRYPOINT ["/hello"]
"""


@pytest.fixture(scope="module")
def compiler(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Debian root with gcc as a tar, kept for the next time."""
    from e2e_parts.debian import debian_tar

    return debian_tar(tmp_path_factory.mktemp("debian"), "gcc", "libc6-dev")


@pytest.mark.timeout(720)  # for the first run, which downloads a compiler
def test_a_program_in_c(every: Client, daemon: Cortend, compiler: Path, files: Path) -> None:
    every("import", str(compiler), "debian-gcc", timeout=100)
    (files / "hello.c").write_text('#include <stdio.h>\nint main(void) { return puts("hello from C") < 0; }\n')
    (files / "Dockerfile").write_text(DEBIAN)
    build(every, "-t", "hello", str(files))
    assert every.out("run", "--rm", "--network", "none", "hello") == "hello from C"
    again = build(every, "-t", "hello", str(files))
    assert (again.out + again.err).count("CACHED" if every.name == "corten" else "Using cache") >= 3
    every("rmi", "hello", "debian-gcc")
    assert daemon.ask("POST", "/build/prune?all=1")[0] == 200
    trash = daemon.data / "snapshots" / ".trash"  # thousands of files: the census gives it ten seconds
    deadline = time.monotonic() + 60
    while any(trash.iterdir()):
        assert time.monotonic() < deadline
        time.sleep(0.1)
