"""pull, import, load, images, tag, rmi: with Debian's registry, skopeo and dockerd as the other side."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from e2e_parts.clients import Client, execute
from e2e_parts.cortend import IMAGE, Cortend
from e2e_parts.others import APPLETS, archive, layer, need, registry
from e2e_parts.terminal import Terminal

pytestmark = pytest.mark.usefixtures("no_images_left")

CONFIG = {
    "Cmd": ["cat", "/hello"],
    "Env": ["FROM=image", "PATH=/bin"],
    "WorkingDir": "/work",
    "User": "12:34",
    "Labels": {"made": "here"},
    "ExposedPorts": {"8080/tcp": {}},
    "StopSignal": "SIGUSR1",
}


@pytest.fixture(scope="module")
def stocked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A registry with e2e/app: 1 (two layers), 2 (a third), and other (for another machine)."""
    need("skopeo", "docker-registry")
    root = tmp_path_factory.mktemp("registry")
    base, hello = layer({}, programs=True), layer({"hello": "hello\n"})
    versions = {"1": [base, hello], "2": [base, hello, layer({"hello": "changed\n", "new": "x"})]}
    with registry(root / "store") as host:
        for version, layers in versions.items():
            archive(root / f"{version}.tar", f"e2e/app:{version}", layers, CONFIG)
            _push(root / f"{version}.tar", f"{host}/e2e/app:{version}")
        archive(root / "other.tar", "e2e/app:other", versions["1"], CONFIG, arch="s390x")
        _push(root / "other.tar", f"{host}/e2e/app:other")
        yield host


def _push(path: Path, name: str) -> None:
    copy = ["skopeo", "copy", "--dest-tls-verify=false", f"docker-archive:{path}", f"docker://{name}"]
    done = execute(copy, timeout=60)
    assert done.code == 0, done.err


def test_pull_and_run(every: Client, stocked: str) -> None:
    name = f"{stocked}/e2e/app:1"
    done = every("pull", name)
    assert f"Status: Downloaded newer image for {name}" in done.out and "Pull complete" in done.out
    assert every.out("run", "--rm", name) == "hello"
    assert "Image is up to date" in every("pull", name).out
    assert "Already exists" in every("pull", f"{stocked}/e2e/app:2").out
    assert every.out("run", "--rm", f"{stocked}/e2e/app:2") == "changed"
    assert every.out("rmi", name).splitlines()[0] == f"Untagged: {name}"


def test_run_pulls_what_is_missing(cli: Client, stocked: str) -> None:
    name = f"{stocked}/e2e/app:1"
    done = cli("run", "--rm", name)
    assert done.out == "hello\n"
    assert f"Unable to find image '{name}' locally" in done.err and "Pull complete" in done.err
    assert cli("run", "--rm", name).err == ""
    assert "Image is up to date" in cli("run", "--rm", "--pull", "always", name).err


def test_pull_shows_progress_on_a_terminal(cli: Client, stocked: str, terminal: Callable[..., Terminal]) -> None:
    screen = terminal(cli, "pull", f"{stocked}/e2e/app:2")
    assert screen.wait() == 0
    assert "Pull complete" in screen.seen and "\x1b[" in screen.seen


def test_what_the_image_says_holds(cli: Client, stocked: str) -> None:
    name = f"{stocked}/e2e/app:1"
    cli("pull", "-q", name)
    out = cli.out("run", "--rm", name, "sh", "-c", "id -u; id -g; echo $FROM; echo $PWD")
    assert out.split() == ["12", "34", "image", "/work"]
    config = json.loads(cli.out("inspect", "-f", "{{json .Config}}", name))
    assert config["Labels"] == {"made": "here"} and config["StopSignal"] == "SIGUSR1"


def test_pull_by_digest(cli: Client, stocked: str) -> None:
    cli("pull", f"{stocked}/e2e/app:1")
    digests = json.loads(cli.out("inspect", "-f", "{{json .RepoDigests}}", f"{stocked}/e2e/app:1"))
    cli("rmi", f"{stocked}/e2e/app:1")
    cli("pull", digests[0])
    assert cli.out("run", "--rm", digests[0]) == "hello"


def test_pulls_that_fail(cli: Client, stocked: str, daemon: Cortend) -> None:
    for name in (f"{stocked}/e2e/app:nosuch", f"{stocked}/nosuch/app", "127.0.0.1:1/no/registry", "Bad/UPPER:x"):
        done = cli("pull", name, code=1)
        assert done.err.strip(), name
    assert cli("run", "--rm", "127.0.0.1:1/no/registry", code=125).err
    assert list((daemon.data / "content" / "ingest").iterdir()) == []


def test_an_image_for_another_machine(cli: Client, stocked: str) -> None:
    done = cli("run", "--rm", f"{stocked}/e2e/app:other", code=None)
    assert "platform" in done.err and "s390x" in done.err
    assert "exec format error" in done.err or done.code in (0, 125)


def test_images_tag_and_rmi(cli: Client, stocked: str) -> None:
    name = f"{stocked}/e2e/app:1"
    cli("pull", "-q", name)
    cli("tag", name, "mine:a")
    cli("tag", "mine:a", "mine:b")
    id = cli.out("images", "-q", "--no-trunc", "mine:a")
    assert id.startswith("sha256:")
    rows = cli.out("images", "--format", "{{.Repository}}:{{.Tag}} {{.ID}}").splitlines()
    assert f"mine:a {id[7:19]}" in rows and f"mine:b {id[7:19]}" in rows
    header = cli.out("images").splitlines()[0].split()
    assert header[:3] == ["REPOSITORY", "TAG", "IMAGE"]
    assert cli.out("images", "-q", "--filter", "reference=mine").splitlines() == [id[7:19]] * 2
    cli("create", "--name", "user", "mine:a")
    assert "Untagged: mine:b" in cli.out("rmi", "mine:b")
    cli("rmi", "mine:a")
    assert "container" in cli("rmi", name, code=1).err
    cli("rm", "user")
    assert "Deleted: sha256:" in cli.out("rmi", name)
    assert "nosuch" in cli("rmi", "nosuch", code=1).err
    assert "invalid reference format" in cli("tag", IMAGE, "Bad Name", code=1).err


def test_load(cli: Client, daemon: Cortend, tmp_path: Path) -> None:
    archive(tmp_path / "image.tar", "e2e/loaded:1", [layer({"hello": "loaded\n"}, programs=True)], CONFIG)
    assert "Loaded image: e2e/loaded:1" in cli.out("load", "-q", "-i", str(tmp_path / "image.tar"))
    assert cli.out("run", "--rm", "e2e/loaded:1") == "loaded"
    assert "Loaded image: e2e/loaded:1" in cli("load", input=(tmp_path / "image.tar").read_bytes()).out
    (tmp_path / "bad.tar").write_bytes((tmp_path / "image.tar").read_bytes()[:5000])
    assert cli("load", "-i", str(tmp_path / "bad.tar"), code=1).err
    assert cli("load", input=b"no archive at all", code=1).err


def test_load_of_what_skopeo_writes(docker: Client, stocked: str, tmp_path: Path) -> None:
    path = tmp_path / "image.tar"
    source = f"docker://{stocked}/e2e/app:2"
    copy = ["skopeo", "copy", "--src-tls-verify=false", source, f"docker-archive:{path}:e2e/copied:2"]
    assert execute(copy, timeout=60).code == 0
    assert "Loaded image: e2e/copied:2" in docker.out("load", "-i", str(path))
    assert docker.out("run", "--rm", "e2e/copied:2") == "changed"


def test_import(cli: Client, tmp_path: Path) -> None:
    (tmp_path / "root.tar").write_bytes(layer({"hello": "imported\n"}, programs=True))
    changes = ["--change", 'CMD ["cat", "/hello"]', "--change", "ENV PATH=/bin A=b"]
    id = cli.out("import", *changes, "-m", "from a file", str(tmp_path / "root.tar"), "e2e/imported:x")
    assert id.startswith("sha256:")
    assert cli.out("run", "--rm", "e2e/imported:x") == "imported"
    again = cli("import", "-", "e2e/imported:y", input=(tmp_path / "root.tar").read_bytes()).out.strip()
    assert again.startswith("sha256:")
    assert cli.out("run", "--rm", "e2e/imported:y", "/bin/echo", "hi") == "hi"
    assert cli("import", str(tmp_path / "nosuch.tar"), code=1).err
    assert cli("import", "-", "e2e/imported:z", input=b"this is no tar archive" * 100, code=1).err


def test_programs_of_the_image_are_found(docker: Client, stocked: str) -> None:
    out = docker.out("run", "--rm", f"{stocked}/e2e/app:1", "ls", "/bin")
    assert set(out.split()) == {*APPLETS, "busybox"}
