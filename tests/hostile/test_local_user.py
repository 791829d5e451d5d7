"""API-05, CVE-2021-41091: a user of the machine who may not open the socket gets at nothing that Corten keeps.

The daemon is started with the worst umask, and works in directories that every user may enter.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from corten.cli import userconfig
from e2e_parts import census
from fault_parts import local_user
from fault_parts.fixtures import lacking
from fault_parts.fragile import Fragile, until
from image_parts import tars
from registry_parts.own import ANN, SECRET, own_process

SETUID = "cp /bin/busybox /su && chmod 4755 /su && cp -p /su /vol/su && touch /ready && sleep 1000"


@pytest.fixture
def root() -> Iterator[Path]:
    if why := lacking():
        pytest.skip(why)
    root = Path(tempfile.mkdtemp(prefix="ce-"))
    root.chmod(0o755)
    yield root
    shutil.rmtree(root, ignore_errors=True)  # what outlives the daemon takes its socket away itself


@pytest.fixture
def careless(monkeypatch: pytest.MonkeyPatch, root: Path) -> Iterator[None]:
    """What is started from here has the umask 0, and TMPDIR and HOME of its own."""
    for name in ("tmp", "home"):
        (root / name).mkdir()
    (root / "tmp").chmod(0o1777)
    monkeypatch.setenv("TMPDIR", str(root / "tmp"))
    monkeypatch.setenv("HOME", str(root / "home"))
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.fixture
def daemon(root: Path, careless: None) -> Iterator[Fragile]:
    daemon = Fragile(root)
    daemon.start()
    yield daemon
    daemon.stop()


def populate(daemon: Fragile) -> str:
    """Some of everything: secrets, setuid files, an ended run, networks, images, volumes. The container that runs."""
    assert daemon.ask("POST", "/networks/create", {"Name": "net"})[0] == 201
    ended = daemon.run("sh", "-c", "echo secret; exit 3", name="ended", Env=["PASSWORD=secret"])
    daemon.wait(ended)
    host = {"Binds": ["vol:/vol"], "NetworkMode": "net"}
    id = daemon.run("sh", "-c", SETUID, name="runs", host=host, Env=["PASSWORD=secret"], Tty=True)
    until(lambda: daemon.inside(id, "test", "-e", "/ready")[0] == 0, "the setuid files are there")
    assert daemon.ask("POST", f"/commit?container={id}&repo=made")[0] == 201
    assert daemon.ask("POST", "/volumes/create", {"Name": "other"})[0] == 201
    assert daemon.ask("DELETE", "/volumes/other")[0] == 204
    return id


def test_what_the_daemon_keeps(daemon: Fragile) -> None:
    id = populate(daemon)
    layer = os.urandom(4 << 20)
    with half_loaded(daemon, tars.archive(tars.file(f"blobs/sha256/{hashlib.sha256(layer).hexdigest()}", layer))):
        paths = local_user.everything(daemon.data, daemon.exec)
        names = {os.path.basename(path) for path in paths}
        assert names >= {"corten.db", "su", "config.json", "exit.json", "launcher.log", "supervisor.sock", "names.sock"}
        assert names >= {f"{id}-json.log", "resolv.conf", "lock", "places", "ingest"}
        assert any(name.endswith(".part") for name in names)
        assert local_user.reached(paths) == [f"enter {daemon.exec}"]  # the way to the socket, when that is in there
        assert local_user.reached(local_user.everything(daemon.socket)) == []
        assert local_user.reached(below(daemon.root / "tmp")) == []


def test_each_file_is_private_by_itself(daemon: Fragile) -> None:
    """Also for users that get past the directories above. Trees and volumes have the modes of what writes there, and
    blobs their own."""
    populate(daemon)
    public = [daemon.data / name for name in ("snapshots", "volumes", "content/blobs")]
    bound = ("hosts", "hostname", "resolv.conf", "docker-init")  # users of the container read them
    for name, mode in local_user.everything(daemon.data, daemon.exec).items():
        path = Path(name)
        if path in public or path.parent in public:
            assert mode & 0o077 == 0, path
        elif path != daemon.exec and path.name not in bound and not any(top in path.parents for top in public):
            assert mode & 0o007 == 0, path


def test_its_processes(daemon: Fragile) -> None:
    populate(daemon)
    pids = [int(line.split()[0]) for line in census.take(daemon)["processes"]]
    assert len(pids) >= 5  # daemon, launcher, supervisor, name server, the program
    assert local_user.looked_into(pids) == []
    sockets = {link for pid in pids for link in map(census._link, census._fds(pid)) if link.startswith("socket:")}
    lines = [line.split() for line in Path("/proc/net/unix").read_text().splitlines()]
    assert [line for line in lines if line[-1].startswith("@") and f"socket:[{line[6]}]" in sockets] == []


def test_the_files_for_containers_are_readable_in_them(daemon: Fragile) -> None:
    """The other side of it: whatever the umask, a container's users can do what they must."""
    script = (
        "cat /etc/hosts /etc/hostname /etc/resolv.conf >/dev/null && ls /vol /bind /sys/fs/cgroup/ >/dev/null && umask"
    )
    made = daemon.root / "made" / "by" / "bind"
    host = {"Binds": ["vol:/vol", f"{made}:/bind"]}
    assert daemon.outcome("sh", "-c", script, host=host, User="1000:1000") == (0, "0022\n")
    assert {path.stat().st_mode & 0o777 for path in (made, made.parent, made.parent.parent)} == {0o755}


def test_an_older_version_s_open_directories_are_closed(daemon: Fragile) -> None:
    populate(daemon)
    daemon.kill()
    opened = {
        "": 0o711,
        "containers": 0o711,
        "snapshots": 0o711,
        "volumes": 0o755,
        "volumes/vol": 0o701,
        "content": 0o755,
    }
    for name, mode in opened.items():
        (daemon.data / name).chmod(mode)
    for path in daemon.data.glob("corten.db*"):
        path.chmod(0o644)
    paths = local_user.everything(daemon.data, daemon.exec)
    assert len([line for line in local_user.reached(paths) if line.endswith("/su")]) > 1  # as it was
    daemon.start()
    assert local_user.reached(local_user.everything(daemon.data, daemon.exec)) == [f"enter {daemon.exec}"]
    log = daemon.log.read_text()
    assert f"{daemon.data} had the mode 711" in log and "corten.db had the mode 644: 600 now" in log
    daemon.kill()
    daemon.start()
    assert daemon.log.read_text().count("had the mode 711") == log.count("had the mode 711")  # it was done once


def test_a_registry(root: Path, careless: None) -> None:
    (root / "htpasswd").write_text(f"ann:{SECRET}\n")
    (root / "htpasswd").chmod(0o600)
    (root / "config.toml").write_text('root = "kept"\nhtpasswd = "htpasswd"\n[tokens]\n')
    with own_process("--config", str(root / "config.toml")) as (host, _):
        asking = http.client.HTTPConnection(host, timeout=10)
        asking.request("POST", "/v2/team/app/blobs/uploads/", headers=ANN)
        begun = asking.getresponse()
        begun.read()
        asking.request("PATCH", begun.headers["Location"], b"half of a layer", headers=ANN)
        assert asking.getresponse().status == 202
        asking.close()
        paths = local_user.everything(root / "kept")
        assert {Path(path).name for path in paths} >= {"token.key", "lock", "uploads", "repositories", "blobs"}
        assert local_user.reached(paths) == []
        assert [path for path, mode in paths.items() if mode & 0o077] == []


def test_our_oci_runtime(root: Path, careless: None) -> None:
    bundle = root / "bundle"
    (bundle / "rootfs/bin").mkdir(parents=True)
    shutil.copy("/bin/busybox", bundle / "rootfs/bin/sh")
    words = [sys.executable, "-m", "corten.oci", "--root", str(root / "state"), "--log", str(root / "oci.log")]

    def runtime(*verb: str) -> int:
        with (root / "out").open("w") as out:
            return subprocess.run([*words, *verb], stdin=subprocess.DEVNULL, stdout=out, stderr=out).returncode

    assert runtime("spec", "-b", str(bundle)) == 0
    config = (bundle / "config.json").read_text().replace('"terminal": true', '"terminal": false')
    (bundle / "config.json").write_text(config)
    name = f"local-user-{os.getpid()}"
    assert runtime("create", "-b", str(bundle), "--pid-file", str(root / "pid"), name) == 0, (root / "out").read_text()
    try:
        paths = local_user.everything(root / "state")
        assert {Path(path).name for path in paths} >= {"state.json", "config.json", "start.sock"}
        assert local_user.reached(paths) == []
    finally:
        assert runtime("delete", "--force", name) == 0
    assert runtime("start", name) == 1  # said in the log, which the caller reads and others do not write
    assert {(root / each).stat().st_mode & 0o777 for each in ("pid", "oci.log")} == {0o644}


def test_our_client_s_credentials(root: Path, careless: None) -> None:
    userconfig.keep("registry.example", {"auth": "YW5uOnNlY3JldA=="})
    paths = below(root / "home")
    assert "config.json" in {Path(path).name for path in paths}
    assert local_user.reached(paths) == []


def below(top: Path) -> dict[str, int]:
    """Without `top` itself, which is the user's."""
    return {path: mode for path, mode in local_user.everything(top).items() if path != str(top)}


class half_loaded:
    """An image that a client has begun to send."""

    def __init__(self, daemon: Fragile, archive: bytes) -> None:
        self._daemon, self._archive = daemon, archive
        self._client = socket.socket(socket.AF_UNIX)

    def __enter__(self) -> None:
        self._client.connect(str(self._daemon.socket))
        head = f"POST /images/load HTTP/1.1\r\nHost: x\r\nContent-Length: {len(self._archive)}\r\n\r\n".encode()
        self._client.sendall(head + self._archive[: len(self._archive) // 2])
        parts = self._daemon.data / "content" / "ingest"
        until(lambda: list(parts.glob("*.part")), "a part is there")

    def __exit__(self, *_: object) -> None:
        self._client.close()
