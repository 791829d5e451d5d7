"""Images whose steps get packages from apt, pip and npm: web applications in Python and Node, and Corten itself."""

from __future__ import annotations

import json
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

import spdx_check
from e2e_parts import package_sources
from e2e_parts.builders import Builder, builder
from e2e_parts.clients import Client
from e2e_parts.cortend import PROJECT, Cortend
from e2e_parts.debian import debian_tar

IMAGES = PROJECT / "tests" / "e2e_parts" / "images"
BASE = "debian-base"
NPM = "https://registry.npmjs.org/npm"

pytestmark = pytest.mark.timeout(720)  # for the first run, which makes a Debian root


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return debian_tar(tmp_path_factory.mktemp("debian"))


@pytest.fixture
def based(corten: Client, base: Path, daemon: Cortend) -> Iterator[None]:
    corten("import", str(base), BASE, timeout=100)
    yield
    corten("rmi", "-f", "made", BASE)
    corten("image", "prune", "-f")
    assert daemon.ask("POST", "/build/prune?all=1")[0] == 200
    trash = daemon.data / "snapshots" / ".trash"  # thousands of files: the census gives it ten seconds
    deadline = time.monotonic() + 60
    while any(trash.iterdir()):
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.fixture
def docker(daemon: Cortend, tmp_path: Path) -> Builder:
    return builder("docker", daemon, tmp_path)


def _build(docker: Builder, place: Path, *options: str) -> str:
    done = docker("-t", "made", *package_sources.secrets(place), *options, timeout=400)
    return done.err


def _answer(corten: Client, port: int) -> str:
    """What the application says, once it listens."""
    address = corten.out("port", "web", f"{port}").splitlines()[0]
    deadline = time.monotonic() + 60
    while True:
        try:
            with urllib.request.urlopen(f"http://{address}/", timeout=10) as answer:
                return str(answer.read().decode())
        except OSError:
            assert time.monotonic() < deadline, corten("logs", "web")
            time.sleep(0.1)


def _packages(corten: Client, top: Path, kind: str, below: str = "") -> list[tuple[str, str]]:
    """What the SBOM of the image has of these, by name and version, in a directory of it."""
    place = top / f"{kind} listed"
    place.mkdir()
    (place / "Dockerfile").write_text("FROM made\n")
    corten("build", "-q", "--sbom", "true", "-t", "listed", str(place), timeout=100)
    (ref, *_) = corten.out("builder", "history", "ls", "-q").split()
    document = json.loads(corten.out("builder", "history", "attachment", ref, "sbom"))
    corten("rmi", "listed")
    return sorted(
        (each["name"], each["versionInfo"])
        for each in spdx_check.check(document)
        if each["externalRefs"][0]["referenceLocator"].startswith(f"pkg:{kind}/")
        and each["sourceInfo"].startswith(f"from {below}")
    )


def test_a_python_application(corten: Client, docker: Builder, based: None, tmp_path: Path) -> None:
    place = shutil.copytree(IMAGES / "python", tmp_path / "python")
    _build(docker, tmp_path, str(place))
    corten("run", "-d", "--name", "web", "-p", "127.0.0.1::8000", "made")
    assert _answer(corten, 8000) == "hello from flask\n"
    assert corten.out("exec", "web", "id", "-un") == "app"
    # Nothing of the machine's configuration, nor of the caches.
    listed = "ls /etc/apt/apt.conf.d /var/cache/apt /root/.cache /etc/pip.conf /etc/ssl/certs"
    assert not {"99machine", "archives", "pip", "/etc/pip.conf"} & {
        *corten("exec", "web", *listed.split(), code=2).out.split()
    }
    debs = corten.out("exec", "web", "dpkg-query", "-W", "-f=${Package} ${Version}\\n").splitlines()
    assert _packages(corten, tmp_path, "deb") == sorted(tuple(line.split()) for line in debs)
    pips = json.loads(corten.out("exec", "web", "/venv/bin/pip", "list", "--format=json"))
    found = _packages(corten, tmp_path, "pypi", "venv/")
    assert found == sorted((each["name"], each["version"]) for each in pips) and len(found) >= 5
    (place / "app.py").write_text((place / "app.py").read_text().replace("flask", "another"))
    again = _build(docker, tmp_path, str(place))
    assert again.count("CACHED") == 6
    corten("rm", "-f", "web")


def test_a_node_application(corten: Client, docker: Builder, based: None, tmp_path: Path) -> None:
    try:
        urllib.request.urlopen(NPM, timeout=20).close()
    except (urllib.error.URLError, TimeoutError) as error:
        pytest.skip(f"npm's registry cannot be reached: {error}")
    _build(docker, tmp_path, str(IMAGES / "node"))
    corten("run", "-d", "--name", "web", "-p", "127.0.0.1::3000", "made")
    assert _answer(corten, 3000) == "hello from express\n"
    lock = json.loads(corten.out("exec", "web", "cat", "node_modules/.package-lock.json"))["packages"]  # npm's own list
    listed = {(path.rpartition("node_modules/")[2], each["version"]) for path, each in lock.items()}
    assert set(_packages(corten, tmp_path, "npm", "app/")) == listed and len(listed) > 20
    corten("rm", "-f", "web")


def test_corten(corten: Client, docker: Builder, based: None, tmp_path: Path) -> None:
    _build(docker, tmp_path, "-f", str(IMAGES / "corten.Dockerfile"), str(PROJECT))
    assert corten.out("run", "--rm", "made", "--version") == corten.out("--version")
