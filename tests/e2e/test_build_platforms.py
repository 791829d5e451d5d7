"""Builds for several platforms, by every client: an index, whose images run here."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import foreign
from e2e_parts.builders import builder
from e2e_parts.clients import Client
from e2e_parts.cortend import IMAGE, Cortend

FOREIGN = tuple(name for name in ("arm64", "riscv64", "amd64") if name != foreign.HERE)[:2]
EVERY = (foreign.HERE, *FOREIGN)
PLATFORMS = ",".join(f"linux/{name}" for name in EVERY)
BUILD = f"linux/{foreign.HERE}"
DOCKERFILE = f"""FROM --platform=$BUILDPLATFORM {IMAGE} AS tool
RUN echo made on $(uname -m) > /tool
FROM --platform=$BUILDPLATFORM {IMAGE} AS cross
ARG BUILDPLATFORM BUILDARCH TARGETPLATFORM TARGETOS TARGETARCH TARGETVARIANT
RUN echo "$BUILDPLATFORM $BUILDARCH $TARGETPLATFORM $TARGETOS $TARGETARCH [$TARGETVARIANT]" > /cross
FROM scratch
ARG TARGETARCH
COPY hello-$TARGETARCH /hello
COPY same /
COPY --from=tool /tool /
COPY --from=cross /cross /
RUN ["/hello"]
CMD ["/hello"]
"""


@pytest.fixture(autouse=True)
def no_builds_left(daemon: Cortend, no_images_left: None) -> Iterator[None]:
    yield
    assert daemon.ask("POST", "/build/prune?all=1")[0] == 200


@pytest.fixture
def context(tmp_path: Path) -> Path:
    for name in EVERY:
        foreign.need(name)
    root = tmp_path / "context"
    root.mkdir()
    (root / "Dockerfile").write_text(DOCKERFILE)
    (root / "same").write_text("same\n")
    for name in EVERY:
        (root / f"hello-{name}").write_bytes(foreign.program(name))
        (root / f"hello-{name}").chmod(0o755)
    return root


def check(client: Client, image: str) -> None:
    """Each of its images runs, and says what it is."""
    assert client.out("run", "--rm", image) == foreign.HERE
    for name in EVERY:
        done = client("run", "--rm", "--platform", f"linux/{name}", image)
        assert done.out == f"{name}\n"
        mounted = ("--platform", f"linux/{name}", "-v", "/bin/busybox:/busybox:ro")
        shown = client.out("run", "--rm", *mounted, image, "/busybox", "cat", "/cross", "/tool", "/same")
        cross, tool, same = shown.splitlines()
        assert cross == f"{BUILD} {foreign.HERE} linux/{name} linux {name} []"
        assert tool.startswith("made on ") and same == "same"


def test_our_own_command_line(corten: Client, daemon: Cortend, context: Path) -> None:
    done = corten("build", "--progress", "plain", "--platform", PLATFORMS, "-t", "several:1", str(context))
    assert done.err.count("RUN echo made on") == done.err.count(f"[{BUILD} tool 2/2]"), "one step for all platforms"
    rows = {line.partition("] ")[2] for line in done.err.splitlines() if "RUN" in line and "echo" in line}
    assert len([row for row in rows if "made on" in row]) == 1 and len([row for row in rows if "TARGET" in row]) <= 3
    for name in FOREIGN:
        assert f"[internal] programs for linux/{name} are run by /usr/bin/qemu-" in done.err
        assert f'[linux/{name} stage-2 5/5] RUN ["/hello"]' in done.err
    check(corten, "several:1")
    (row,) = [image for image in daemon.get("/images/json?manifests=1") if image["RepoTags"] == ["several:1"]]
    listed = [each["ImageData"]["Platform"]["architecture"] for each in row["Manifests"]]
    assert listed == list(EVERY) and all(each["Available"] for each in row["Manifests"])
    assert [line.split()[1] for line in corten.out("images", "--tree").splitlines() if "linux/" in line][:3] == [
        f"linux/{name}" for name in EVERY
    ]
    shown = corten.out("image", "inspect", "--platform", f"linux/{FOREIGN[0]}", "-f", "{{.Architecture}}", "several:1")
    assert shown == FOREIGN[0]
    again = corten("build", "--progress", "plain", "--platform", PLATFORMS, "-t", "several:1", str(context))
    assert "DONE" not in "".join(line for line in again.err.splitlines() if "RUN" in line)
    assert again.err.count("CACHED") >= 4 * len(EVERY)
    corten("rmi", "several:1")
    assert all(image["RepoTags"] == [f"{IMAGE}:latest"] for image in daemon.get("/images/json?all=1"))


def test_one_other_platform_in_the_classic_face(docker: Client, context: Path) -> None:
    name = FOREIGN[0]
    dockerfile = f'FROM scratch\nCOPY hello-{name} /hello\nRUN ["/hello"]\nCMD ["/hello"]\n'
    (context / "Dockerfile").write_text(dockerfile)
    docker.env["DOCKER_BUILDKIT"] = "0"
    done = docker("build", "--platform", f"linux/{name}", "-t", "one:1", str(context))
    assert f"{name}\n" in done.out
    assert docker.out("inspect", "-f", "{{.Architecture}}", "one:1") == name
    assert docker.out("run", "--rm", "one:1") == name
    several = docker("build", "--platform", PLATFORMS, str(context), code=1)
    assert "one platform at a time" in several.err


def test_buildx(daemon: Cortend, corten: Client, context: Path, tmp_path: Path) -> None:
    buildx = builder("buildx", daemon, tmp_path)
    description = tmp_path / "described.json"
    buildx(
        "--platform", PLATFORMS, "--provenance=false", "-t", "bx:1", "--metadata-file", str(description), str(context)
    )
    described = json.loads(description.read_text())["containerimage.descriptor"]
    assert described["mediaType"] == "application/vnd.oci.image.index.v1+json"
    check(corten, "bx:1")


def test_docker_20_10(daemon: Cortend, corten: Client, context: Path, tmp_path: Path) -> None:
    builder("docker 20.10", daemon, tmp_path)("--platform", PLATFORMS, "-t", "old:1", str(context))
    check(corten, "old:1")


def test_an_index_goes_to_a_registry_and_comes_back(
    corten: Client, daemon: Cortend, context: Path, debians: str
) -> None:
    image = f"{debians}/several:1"
    corten("build", "--platform", PLATFORMS, "-t", image, str(context))
    corten("push", image)
    index = _manifest(debians, "several", "1")
    assert [entry["platform"]["architecture"] for entry in index["manifests"]] == list(EVERY)
    corten("rmi", image)
    assert daemon.ask("POST", "/build/prune?all=1")[0] == 200
    assert corten.out("run", "--rm", image) == foreign.HERE
    for name in FOREIGN:
        assert corten.out("run", "--rm", "--platform", f"linux/{name}", image) == name
    assert corten.out("run", "--rm", image) == foreign.HERE, "the name means this machine's image still"


def _manifest(host: str, name: str, tag: str) -> Any:
    request = urllib.request.Request(f"http://{host}/v2/{name}/manifests/{tag}")
    request.add_header("Accept", "application/vnd.oci.image.index.v1+json")
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)


def test_a_base_of_another_platform_is_said(corten: Client, context: Path) -> None:
    name = FOREIGN[0]
    corten("build", "-q", "--platform", f"linux/{name}", "-t", "base:1", str(context))
    (context / "Dockerfile").write_text("FROM base:1\nLABEL a=b\n")
    done = corten("build", "--progress", "plain", "-t", "above:1", str(context))
    message = f'Base image base:1 was pulled with platform "linux/{name}", expected "{BUILD}" for current build'
    assert message in done.err
    assert corten.out("inspect", "-f", "{{.Architecture}}", "above:1") == name


def test_steps_without_an_emulator_say_why(corten: Client, context: Path) -> None:
    name = FOREIGN[0]
    strange = foreign.program(name)
    (context / "hello-wasm").write_bytes(strange[:18] + b"\xf0\xf0" + strange[20:])
    (context / "hello-wasm").chmod(0o755)
    (context / "Dockerfile").write_text('FROM scratch\nCOPY hello-wasm /hello\nRUN ["/hello"]\n')
    done = corten("build", "--progress", "plain", "--platform", "linux/wasm", str(context), code=1)
    assert "[internal] there is no emulator for linux/wasm" in done.err
    assert "exec format error" in done.err
