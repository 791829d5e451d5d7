from __future__ import annotations

import os
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from e2e_parts import census, clients, guests
from e2e_parts.clients import Client, available
from e2e_parts.cortend import IMAGE, Cortend, short_root
from e2e_parts.others import dockerd, registry
from e2e_parts.patience import LIMIT
from e2e_parts.pods import Face, faced
from e2e_parts.terminal import Terminal

HERE = Path(__file__).parent
NEEDED = ("ip", "nft", "busybox")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items[:] = [item for item in items if not guests.repeats(item)]
    for item in items:
        if guests.in_guests(item):
            item.add_marker(pytest.mark.timeout(LIMIT))
    missing = [program for program in NEEDED if not shutil.which(program)]
    why = "needs root" if os.geteuid() != 0 else f"needs {', '.join(missing)}" if missing else ""
    for item in items:
        if HERE in item.path.parents and why:
            item.add_marker(pytest.mark.skip(reason=why))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Some tests are run a second time with a daemon whose containers have guests."""
    daemons = guests.daemons(metafunc.module.__name__.rpartition(".")[2], metafunc.function.__name__)
    if "daemon" in metafunc.fixturenames and daemons:
        metafunc.parametrize("daemon", daemons, indirect=True, scope="session")


@pytest.fixture(scope="session")
def run_s_own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory for all workers of a run."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


@pytest.fixture(scope="session")
def daemon(request: pytest.FixtureRequest, run_s_own: Path) -> Iterator[Cortend]:
    """One for all tests of a worker: every test leaves it as it was, which is checked."""
    in_guests = getattr(request, "param", "process") == "vm"
    if in_guests and (why := guests.missing()):
        pytest.skip(why)
    with short_root() as root, Cortend(root, *(guests.FLAGS if in_guests else ())) as running:
        root.chmod(0o755)  # others may see that there is a socket, as below /run
        if in_guests:
            guests.begin(running, run_s_own)
        else:
            running.start()
            running.warm_up()
        yield running


@pytest.fixture(autouse=True)
def nothing_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """Containers and volumes that a test made are removed; then the machine has to be as it was before."""
    if "daemon" not in request.fixturenames:
        yield
        return
    if why := guests.refused(request.node):
        pytest.skip(why)
    daemon: Cortend = request.getfixturevalue("daemon")
    before = census.settled(daemon)
    yield
    daemon.remove_everything()
    left = census.difference(before, daemon)
    assert not left, f"left behind (come, gone): {left}"


def _client(name: str, daemon: Cortend) -> Client:
    known = clients.available()
    if name not in known:
        pytest.skip(f"no {name} client (Debian package docker.io)")
    return Client(name, known[name], daemon.address, daemon.root)


@pytest.fixture
def face(daemon: Cortend, tmp_path: Path) -> Iterator[Face]:
    """Kubernetes' interface of the daemon."""
    with faced(daemon, tmp_path) as made:
        yield made


@pytest.fixture
def docker(daemon: Cortend, nothing_left: None) -> Iterator[Client]:
    """The newest docker client of this machine."""
    client = _client("docker", daemon)
    yield client
    client.close()


@pytest.fixture
def corten(daemon: Cortend, nothing_left: None) -> Iterator[Client]:
    """Our own command line."""
    client = _client("corten", daemon)
    yield client
    client.close()


@pytest.fixture(params=["docker", "corten"])
def cli(request: pytest.FixtureRequest, daemon: Cortend, nothing_left: None) -> Iterator[Client]:
    """The docker client, and ours."""
    client = _client(request.param, daemon)
    yield client
    client.close()


@pytest.fixture(params=["docker", "docker-old", "corten"])
def every(request: pytest.FixtureRequest, daemon: Cortend, nothing_left: None) -> Iterator[Client]:
    """Each command line, the docker client of API 1.41 among them."""
    client = _client(request.param, daemon)
    yield client
    client.close()


@pytest.fixture
def terminal(nothing_left: None) -> Iterator[Callable[..., Terminal]]:
    """Opens terminals with a command line of a client in them; they are closed at the end."""
    opened: list[Terminal] = []

    def open_(client: Client, *arguments: str, **options: Any) -> Terminal:
        opened.append(Terminal([*client.command, *arguments], client.env, **options))
        return opened[-1]

    yield open_
    for one in opened:
        one.__exit__()


@pytest.fixture
def no_images_left(daemon: Cortend, nothing_left: None) -> Iterator[None]:
    """Images that a test made are removed, but for the one that is there for all."""
    yield
    daemon.remove_everything()
    for image in daemon.get("/images/json"):
        for name in image["RepoTags"] or [image["Id"]]:
            if not name.startswith(IMAGE):
                daemon.ask("DELETE", f"/images/{name}?force=1")


@pytest.fixture(scope="module")
def engines() -> Iterator[tuple[Client, Client, Path]]:
    """A dockerd and a daemon of ours, through the same client, and a directory for what they are given."""
    if "docker" not in available():
        pytest.skip("no docker client (Debian package docker.io)")
    command = available()["docker"]
    with ExitStack() as stack:
        root = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ce-")))
        theirs = stack.enter_context(dockerd(root / "docker"))
        (root / "ours").mkdir()
        ours = Cortend(root / "ours")
        stack.callback(ours.stop)
        ours.start()
        yield Client("docker", command, theirs.address, root), Client("docker", command, ours.address, root), root


@pytest.fixture(scope="module")
def debians(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Debian's docker-registry; its host:port."""
    with registry(tmp_path_factory.mktemp("debian") / "store") as host:
        yield host


@pytest.fixture
def net(docker: Client) -> Callable[..., str]:
    """Makes a network with these flags; answers its name. The end of the test takes it away."""

    def make(*flags: str) -> str:
        name = f"n{secrets.token_hex(3)}"
        docker("network", "create", *flags, name)
        return name

    return make
