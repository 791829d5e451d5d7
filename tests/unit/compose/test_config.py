"""`corten compose config` as a command: where it writes, its exit codes, images' digests."""

from __future__ import annotations

from pathlib import Path

import pytest

from compose_parts.world import World
from corten.cli import output
from corten.cli.main import main
from corten.client import images
from corten.client.api import Client

DIGEST = "sha256:" + "ab" * 32


class Terminal:
    """Runs command lines; what they write is (exit code, output, errors)."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._written: dict[int, bytes] = {}
        monkeypatch.setattr(output, "write_all", self._write)

    def _write(self, fd: int, data: bytes | memoryview) -> None:
        self._written[fd] = self._written.get(fd, b"") + bytes(data)

    def __call__(self, *words: str) -> tuple[int, str, str]:
        self._written.clear()
        code = main(["compose", *words])
        return code, self._written.get(1, b"").decode(), self._written.get(2, b"").decode()


@pytest.fixture
def compose(world: World, monkeypatch: pytest.MonkeyPatch) -> Terminal:
    world.write("services:\n  web: {image: nginx:1, command: ['$$HOME']}\n  db: {image: 'me/db', profiles: [p]}\n")
    return Terminal(monkeypatch)


def test_convert_is_config(compose: Terminal) -> None:
    assert compose("convert") == compose("config")
    assert compose("config", "--format", "json") == compose("convert", "--format", "json")


def test_to_a_file(compose: Terminal, world: World) -> None:
    text = compose("config")[1]
    assert compose("config", "-o", "out.yaml") == (0, "", "")
    assert (world.directory / "out.yaml").read_text() == text
    code, out, err = compose("config", "-o", "nowhere/out.yaml")
    assert (code, out, err) == (1, "", "open nowhere/out.yaml: no such file or directory\n")


def test_what_it_prints_can_be_read_again(compose: Terminal, world: World) -> None:
    text = compose("config")[1]
    world.write(text, "again.yaml")
    assert compose("-f", "again.yaml", "config")[1] == text


def test_errors_are_one_message_and_1(compose: Terminal, world: World) -> None:
    world.write("services:\n  a: {imagee: x}\n", "bad.yaml")
    said = f"{world.directory}/bad.yaml:2: services.a additional properties 'imagee' not allowed: did you mean image?\n"
    for flags in ((), ("-q",), ("--services",), ("--hash", "*"), ("--no-interpolate",)):
        assert compose("-f", "bad.yaml", "config", *flags) == (1, "", said)
    assert compose("config", "--format", "xml") == (1, "", 'unsupported format "xml"\n')
    assert compose("config", "--variables", "--format", "xml")[0] == 1
    missing = f"open {world.directory}/nope.yaml: no such file or directory\n"
    assert compose("-f", "nope.yaml", "config") == (1, "", missing)


def test_warnings_go_to_stderr_once(compose: Terminal, world: World) -> None:
    world.write("services:\n  a: {image: x$NOPE}\n", "w.yaml")
    code, out, err = compose("-f", "w.yaml", "config", "--images")
    assert (code, out) == (0, "x\n")
    said = 'The "NOPE" variable is not set. Defaulting to a blank string.'
    assert err == f"WARNING: {world.directory}/w.yaml:2: {said}\n"


@pytest.mark.parametrize("words", ["--help", "help", "", "config --help", "help config", "convert -h"])
def test_help(compose: Terminal, words: str) -> None:
    code, out, err = compose(*words.split())
    assert (code, err) == (0, "")
    assert out.startswith("Usage:  corten compose ")


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The images whose digests were asked for."""
    asked: list[str] = []

    def distribution(client: Client, name: str, credentials: str = "") -> dict[str, object]:
        asked.append(name)
        return {"Descriptor": {"digest": DIGEST}}

    monkeypatch.setattr(images, "distribution", distribution)
    monkeypatch.setattr("corten.cli.session.Session.client", None)
    return asked


def test_digests(compose: Terminal, registry: list[str]) -> None:
    code, out, err = compose("--profile", "*", "config", "--resolve-image-digests")
    assert (code, err) == (0, "")
    assert f"image: docker.io/library/nginx:1@{DIGEST}" in out and f"image: docker.io/me/db:latest@{DIGEST}" in out
    assert sorted(registry) == ["docker.io/library/nginx:1", "docker.io/me/db:latest"]


@pytest.mark.parametrize("more", [(), ("--no-interpolate",)])
def test_a_file_that_pins(compose: Terminal, registry: list[str], world: World, more: tuple[str, ...]) -> None:
    code, out, _ = compose("config", "--lock-image-digests", *more)
    assert code == 0 and f"  web:\n    image: docker.io/library/nginx:1@{DIGEST}\n" in out
    assert set(out.replace(":", "").split()) & {"networks", "command", "name"} == set()
    world.write(out, "lock.yaml")
    assert f"nginx:1@{DIGEST}" in compose("-f", "compose.yaml", "-f", "lock.yaml", "config", "--images")[1]


def test_a_digest_stays(compose: Terminal, registry: list[str], world: World) -> None:
    world.write(f"services: {{a: {{image: 'x@{DIGEST}'}}, b: {{build: .}}}}", "d.yaml")
    out = compose("-f", "d.yaml", "config", "--resolve-image-digests")[1]
    assert f"image: docker.io/library/x@{DIGEST}" in out and registry == []


def test_a_bad_reference(compose: Terminal, registry: list[str], world: World) -> None:
    world.write("services: {a: {image: 'UPPER'}}", "bad.yaml")
    code, out, err = compose("-f", "bad.yaml", "config", "--resolve-image-digests")
    assert (code, out) == (1, "") and "must be lowercase" in err


def test_paths_of_links(world: World, compose: Terminal) -> None:
    """A project that is reached by a link is where the link says, and has its name."""
    real = Path(world.directory / "real")
    real.mkdir()
    (real / "compose.yaml").write_text("services: {a: {build: .}}")
    (world.directory / "linked").symlink_to(real)
    _, out, err = compose("-f", "linked/compose.yaml", "config")
    assert 'from a symlink. Using name "linked"' in err
    assert out.startswith("name: linked\n") and f"context: {world.directory}/linked\n" in out
