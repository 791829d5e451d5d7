"""Projects in a registry: ours publishes and takes them, and so does Docker Compose with ours (oci://REFERENCE)."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from compose_parts import oracle
from compose_parts.world import World
from corten.cli import output
from corten.cli.compose import artifacts, entry
from corten.cli.compose.pushed import Publication, publish
from corten.cli.session import Session
from corten.cli.userconfig import UserConfig
from corten.compose.errors import ComposeError
from corten.compose.publishing import artifact
from corten.compose.publishing.artifact import FILE, PROJECT, VARIABLES, Layer
from corten.errors import CortenError
from corten.spec.reference import parse
from registry_parts.own import own_process

TEXT = """
name: shop
services:
  web:
    image: nginx:1 # kept
    env_file: web.env
    extends:
      file: sub/base.yaml
      service: base
    environment: {A: "${A:-x}"}
"""
CERTIFICATE = (
    "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=x "
    "-addext subjectAltName=IP:127.0.0.1 -keyout key.pem -out cert.pem"
)


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """host:port of one with TLS, and its certificate."""
    place = tmp_path_factory.mktemp("registry")
    subprocess.run(CERTIFICATE.split(), cwd=place, check=True, capture_output=True)
    with own_process("--root", "r", "--tls-cert", "cert.pem", "--tls-key", "key.pem", cwd=place) as (host, _):
        yield host, place / "cert.pem"


class Here:
    """A directory with the project of TEXT, in which commands run."""

    def __init__(self, world: World, monkeypatch: pytest.MonkeyPatch, home: Path, certificate: Path) -> None:
        self.world, self._patch, self.home = world, monkeypatch, home
        self.env = {"HOME": str(home), "PATH": os.environ["PATH"], "SSL_CERT_FILE": str(certificate)}
        for name in list(os.environ):
            if name.startswith(("XDG_", "COMPOSE_", "DOCKER_")):
                monkeypatch.delenv(name)
        monkeypatch.setenv("HOME", str(home))
        world.write(TEXT)
        world.write("services: {base: {labels: {x: y}}}\n", "sub/base.yaml")
        world.write("K=v\n", "web.env")

    def __call__(self, *words: str, code: int = 0) -> str:
        """What ours prints on STDOUT."""
        written = {output.STDOUT: b"", output.STDERR: b""}

        def write(fd: int, data: bytes | memoryview) -> None:
            written[fd] += bytes(data)

        with self._patch.context() as patch:
            patch.setattr(output, "write_all", write)
            assert entry.run(Session("compose"), list(words)) == code, written
        return written[output.STDOUT].decode()

    def theirs(self, *words: str) -> str:
        done = subprocess.run([oracle.path(), *words], env=self.env, capture_output=True, text=True, timeout=100)
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture
def here(world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, registry: tuple[str, Path]) -> Here:
    return Here(world, monkeypatch, tmp_path, registry[1])


def test_a_project_goes_and_comes(here: Here, registry: tuple[str, Path]) -> None:
    place = f"{registry[0]}/shop:1"
    here("publish", "--with-env", "-y", place)
    wanted = here("config")
    for name in ("compose.yaml", "web.env", "sub/base.yaml"):
        (here.world.directory / name).unlink()
    assert here("-f", f"oci://{place}", "config") == wanted
    cached = list((here.home / ".cache" / "corten" / "compose").iterdir())
    assert len(cached) == 1 and cached[0].stat().st_mode & 0o77 == 0
    here.world.write(f"include: ['oci://{place}']\nservices: {{b: {{image: z}}}}\n", "more.yaml")
    assert json.loads(here("-f", "more.yaml", "config", "--format", "json"))["services"].keys() == {"web", "b"}
    here("-f", "more.yaml", "publish", "-y", "--with-env", f"{place}-more")
    assert here("-f", f"oci://{place}-more", "-p", "x", "config", "--services").split() == ["b", "web"]


def test_docker_compose_takes_ours_and_ours_takes_its(here: Here, registry: tuple[str, Path]) -> None:
    if not oracle.path():
        pytest.skip(f"no Docker Compose {oracle.VERSION} (CORTEN_COMPOSE_ORACLE names it)")
    ours, theirs, old = (f"{registry[0]}/{name}" for name in ("ours:1", "theirs:1", "ours:old"))
    here("publish", "--with-env", "-y", ours)
    here("publish", "--with-env", "-y", "--oci-version", "1.0", old)
    here.theirs("publish", "--with-env", "-y", theirs)
    wanted = here("config")
    for place in (ours, theirs, old):
        assert here("-f", f"oci://{place}", "config") == wanted
        assert here.theirs("-f", f"oci://{place}", "config") == wanted


def test_what_is_asked_of_a_project_from_elsewhere(here: Here, registry: tuple[str, Path]) -> None:
    place = f"oci://{registry[0]}/asked:1"
    here("publish", "--with-env", "-y", place.removeprefix("oci://"))
    read, write = os.pipe()
    os.write(write, b"n\n")
    os.close(write)
    with here._patch.context() as patch, pytest.raises(CortenError, match="operation cancelled by user"):
        patch.setattr(os, "read", lambda fd, size, of=os.read: of(read if fd == 0 else fd, size))
        patch.setenv("A", "mine")
        here("-f", place, "up", "--dry-run")
    os.close(read)


def test_what_is_not_there(here: Here, registry: tuple[str, Path]) -> None:
    here.world.write(f"services: {{}}\ninclude:\n  - oci://{registry[0]}/none:1\n")
    with pytest.raises(ComposeError) as caught:
        here("config")
    assert str(caught.value).startswith(f"{here.world.directory}/compose.yaml:3: failed to pull OCI resource ")
    assert "manifest unknown" in str(caught.value)
    with pytest.raises(ComposeError, match="connection refused"):
        here("-f", "oci://127.0.0.1:1/none", "config")
    with pytest.raises(ComposeError, match="invalid reference format"):
        here("-f", "oci://host.test/UPPER", "config")
    with here._patch.context() as patch:
        patch.setenv("COMPOSE_EXPERIMENTAL_OCI_REMOTE", "false")
        with pytest.raises(ComposeError, match="OCI remote resource is disabled"):
            here("-f", f"oci://{registry[0]}/none:1", "config")


def test_nothing_of_what_means_harm_is_kept(here: Here, registry: tuple[str, Path]) -> None:
    """It comes from a registry that keeps everything: the reader is what refuses."""
    files = (Layer(FILE, "compose.yaml", b"services: {}"), Layer(VARIABLES, "../../../evil", b"x"))
    publish(Publication(parse(f"{registry[0]}/evil:1"), files, "", ()), UserConfig(), ())
    with pytest.raises(ComposeError, match="is no name of a file"):
        artifacts.fetch(f"oci://{registry[0]}/evil:1", {"HOME": str(here.home)}, UserConfig())
    assert not list((here.home / ".cache" / "corten" / "compose").glob("*"))


PROVIDER = b"services: {shell: {provider: {type: sh}}}"
MODEL = b"services: {a: {image: x, models: [m]}}\nmodels: {m: {model: x, runtime_flags: [--log-file, /etc/x]}}"


@pytest.mark.parametrize(("verb", "main"), [("up", PROVIDER), ("down", PROVIDER), ("up", MODEL)])
def test_a_project_from_elsewhere_runs_no_program_unasked(
    here: Here, registry: tuple[str, Path], verb: str, main: bytes
) -> None:
    """A provider's program is run beside the project's files, and some run what they find there."""
    mark = here.home / "mark"
    files = (Layer(FILE, "compose.yaml", main), Layer(VARIABLES, "compose", f"touch {mark}".encode()))
    publish(Publication(parse(f"{registry[0]}/program:1"), files, "", ()), UserConfig(), ())
    here.world.write(f"include: ['oci://{registry[0]}/program:1']\n", "local.yaml")
    with open(os.devnull) as nothing, here._patch.context() as patch:
        patch.setattr(os, "read", lambda fd, size, of=os.read: of(nothing.fileno() if fd == 0 else fd, size))
        for place in (f"oci://{registry[0]}/program:1", "local.yaml"):
            with pytest.raises(CortenError, match="operation cancelled by user"):
                here("-f", place, verb)
    assert not mark.exists()


def test_many_large_files_are_not_fetched() -> None:
    """One blob of a registry's, named again and again, with what it is said to have."""
    blob = {"digest": f"sha256:{'0' * 64}", "size": 4 << 20}
    layers = [
        {"mediaType": VARIABLES, **blob, "annotations": {"com.docker.compose.envfile": f"f{n}"}} for n in range(16)
    ]
    main = {"mediaType": FILE, "digest": blob["digest"], "size": 1}
    body = json.dumps({"artifactType": PROJECT, "layers": [*layers, main]}).encode()
    with pytest.raises(ComposeError, match="more than 67108864 bytes of files"):
        artifact.entries(body, "x")
    assert (
        len(artifact.entries(json.dumps({"artifactType": PROJECT, "layers": [*layers[1:], main]}).encode(), "x")) == 16
    )
