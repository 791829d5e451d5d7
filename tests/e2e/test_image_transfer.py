"""Images from engine to engine: deltas as files, and pushes over ssh or to another socket."""

from __future__ import annotations

import getpass
import gzip
import io
import os
import shutil
import socket
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from e2e_parts.clients import CORTEN, Client, available
from e2e_parts.cortend import Cortend
from e2e_parts.others import _until, archive, dockerd, layer, need
from free_ports import free_port

BASE, APP = "move/base:1", "move/app:1"


class Engines:
    """Two daemons of ours; the first has an image and one on top of it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.daemons = [Cortend(root / name) for name in ("one", "two")]
        for daemon in self.daemons:
            daemon.root.mkdir()
            daemon.start()
        self.one, self.two = (Client("corten", CORTEN, daemon.address, daemon.root) for daemon in self.daemons)
        below = layer({"etc/base": "base\n" * 1000}, programs=True)
        above = layer({"etc/app": "app\n"})
        for name, layers in ((BASE, [below]), (APP, [below, above])):
            archive(root / f"{len(layers)}.tar", name, layers, {"Cmd": ["cat", "/etc/app"]})
            self.one("load", "-q", "-i", str(root / f"{len(layers)}.tar"))

    def stop(self) -> None:
        for daemon in self.daemons:
            daemon.stop()

    def id(self, client: Client, name: str = APP) -> str:
        return client.out("image", "inspect", "--format", "{{.Id}}", name)


@pytest.fixture(scope="module")
def both() -> Iterator[Engines]:
    root = Path(tempfile.mkdtemp(prefix="ce-"))
    engines = Engines(root)
    try:
        yield engines
    finally:
        engines.stop()
        shutil.rmtree(root, ignore_errors=True)


@pytest.fixture
def engines(both: Engines) -> Iterator[Engines]:
    yield both
    both.two("image", "prune", "-af")
    for client in (both.one, both.two):
        assert "nothing is wrong" in client.out("system", "check")


def test_delta(engines: Engines, tmp_path: Path) -> None:
    whole, delta = tmp_path / "whole", tmp_path / "delta"
    engines.one("save", "-o", str(whole), APP)
    engines.one("save", "--since", BASE, "-o", str(delta), APP)
    assert delta.stat().st_size < 100_000 < whole.stat().st_size
    refused = engines.two("load", "-i", str(delta), code=1).err
    assert "archive lacks layer sha256:" in refused and f"it is one of {BASE}: load or pull that first" in refused
    assert engines.two.out("images", "-q") == ""
    engines.two("load", "-q", "-i", str(engines.root / "1.tar"))
    assert f"Loaded image: {APP}" in engines.two.out("load", "-i", str(delta))
    assert engines.id(engines.two) == engines.id(engines.one)
    assert engines.two.out("run", "--rm", APP) == "app"
    engines.two("rmi", BASE)
    assert engines.two("save", "-o", str(tmp_path / "again"), APP).code == 0  # it is whole on that side too
    assert "No such image: nosuch" in engines.one("save", "--since", "nosuch", APP, "-o", "/dev/null", code=1).err


def test_delta_onto_the_same_layers_in_another_form(engines: Engines, tmp_path: Path) -> None:
    """The other side has the base compressed: its blob has another digest, and stands in all the same."""
    engines.one("run", "--name", "changed", BASE, "true")
    engines.one("commit", "changed", "move/committed:1")  # gzip on top of the plain layer
    engines.one("rm", "changed")
    delta = tmp_path / "delta"
    engines.one("save", "--since", BASE, "-o", str(delta), "move/committed:1", APP)
    with tarfile.open(engines.root / "1.tar") as tar:
        names = {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]

    names["0/layer.tar"] = gzip.compress(names["0/layer.tar"])
    with tarfile.open(tmp_path / "gz.tar", "w") as out:
        for name, data in names.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            out.addfile(info, io.BytesIO(data))
    engines.two("load", "-q", "-i", str(tmp_path / "gz.tar"))
    engines.two("load", "-q", "-i", str(delta))
    assert engines.id(engines.two) == engines.id(engines.one)
    engines.two("rmi", BASE)
    assert engines.two.out("run", "--rm", APP) == "app"
    engines.one("rmi", "move/committed:1")


def test_push_to_another_socket(engines: Engines) -> None:
    said = engines.one.out("push", engines.daemons[1].address, BASE)
    assert f"{BASE}: 0 of 1 layer already at unix://" in said and "sent 2." in said
    said = engines.one.out("push", engines.daemons[1].address, APP, BASE)
    assert f"{APP}: 1 of 2 layers already at" in said and f"{BASE}: 1 of 1 layer already at" in said
    sent = [float(line.split("sent ")[1].rstrip("kMB")) for line in said.splitlines() if "sent" in line]
    assert len(sent) == 2 and "kB" in said and "MB" not in said
    assert engines.two.out("run", "--rm", APP) == "app"
    assert engines.one.out("push", "-q", engines.daemons[1].address, APP) == APP
    assert "No such image: nosuch" in engines.one("push", engines.daemons[1].address, "nosuch", code=1).err
    assert "no image is named" in engines.one("push", engines.daemons[1].address, code=1).err
    assert "cannot connect" in engines.one("push", "unix:///nosuch", APP, code=1).err


def test_push_to_dockerd(engines: Engines, tmp_path: Path) -> None:
    root = tmp_path / "docker"
    with dockerd(root) as docker:
        engines.one("push", docker.address, BASE)
        assert f"{APP}: 1 of 2 layers already at" in engines.one.out("push", docker.address, APP)
        assert engines.id(docker) == engines.id(engines.one)
        assert docker.out("run", "--rm", "--network", "none", APP) == "app"


class Sshd:
    """OpenSSH's server on a loopback port, with keys of its own, and an `ssh` configured with them."""

    def __init__(self, root: Path, engine: str) -> None:
        need("sshd", "ssh", "ssh-keygen")
        self.root, self.port = root, free_port()
        bin, client = root / "bin", root / "client"
        bin.mkdir()
        client.mkdir()
        for name in ("host", "key"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(root / name)], check=True)
        (root / "authorized").write_text((root / "key.pub").read_text())
        host = (root / "host.pub").read_text()
        (root / "known").write_text(f"[127.0.0.1]:{self.port} {host}")
        self._script(bin / "corten", f'exec {" ".join(CORTEN)} "$@"')
        path = f"{bin}:/usr/bin:/bin"
        settings = f"""Port {self.port}
ListenAddress 127.0.0.1
HostKey {root}/host
AuthorizedKeysFile {root}/authorized
PidFile none
StrictModes no
PasswordAuthentication no
PermitRootLogin yes
SetEnv CORTEN_HOST={engine} DOCKER_HOST={engine} PATH={path}
"""
        (root / "sshd_config").write_text(settings)
        Path("/run/sshd").mkdir(exist_ok=True)  # Debian's sshd insists on it
        options = (
            f"-F /dev/null -i {root}/key -o UserKnownHostsFile={root}/known -o IdentitiesOnly=yes -o BatchMode=yes"
        )
        self._script(client / "ssh", f'exec /usr/bin/ssh {options} "$@"')
        self.path = f"{client}:{os.environ['PATH']}"
        self.url = f"ssh://{getpass.getuser()}@127.0.0.1:{self.port}"
        self.bin = bin
        with (root / "log").open("wb") as log:
            command = ["/usr/sbin/sshd", "-D", "-e", "-f", str(root / "sshd_config")]
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        _until(self._answers, self.process, root / "log")

    def _script(self, path: Path, line: str) -> None:
        path.write_text(f"#!/bin/sh\n{line}\n")
        path.chmod(0o755)

    def _answers(self) -> bool:

        with socket.create_connection(("127.0.0.1", self.port), 1):
            return True

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(60)


@pytest.fixture
def ssh(engines: Engines, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sshd]:
    server = Sshd(tmp_path, engines.daemons[1].address)
    monkeypatch.setenv("PATH", server.path)
    try:
        yield server
    finally:
        server.stop()


def test_push_over_ssh(engines: Engines, ssh: Sshd) -> None:
    said = engines.one.out("push", f"{ssh.url}/{BASE}")
    assert f"{BASE}: 0 of 1 layer already at {ssh.url}" in said
    said = engines.one.out("push", f"{ssh.url}/{APP}", BASE)
    assert f"{APP}: 1 of 2 layers" in said and f"{BASE}: 1 of 1 layer " in said and "MB" not in said
    assert engines.two.out("run", "--rm", APP) == "app"


def test_our_client_over_ssh(engines: Engines, ssh: Sshd) -> None:
    engines.two("load", "-q", "-i", str(engines.root / "2.tar"))
    there = replace(engines.two, address=ssh.url)
    assert there.out("run", "--rm", APP) == "app"
    assert there.out("run", "-i", "--rm", APP, "cat", input="through\n") == "through"
    assert there("run", "--rm", APP, "sh", "-c", "exit 7", code=7).code == 7
    assert there.out("images", "--format", "{{.Repository}}:{{.Tag}}") == APP
    other = engines.daemons[0].socket
    assert BASE in replace(there, address=f"{ssh.url}{other}").out("images", "--format", "{{.Repository}}:{{.Tag}}")
    (ssh.bin / "corten").unlink()
    (ssh.bin / "docker").symlink_to("/bin/false")
    refused = there("ps", code=1).err
    assert f"cannot reach an engine at {ssh.url}" in refused
    assert "ssh: connect to host" in replace(there, address=f"ssh://127.0.0.1:{free_port()}")("ps", code=1).err


def test_dockers_client_over_ssh(engines: Engines, ssh: Sshd) -> None:
    """It runs `docker system dial-stdio` there: docker itself, or a link of that name to our client."""
    if "docker" not in available():
        pytest.skip("no docker client (Debian package docker.io)")
    engines.two("load", "-q", "-i", str(engines.root / "2.tar"))
    docker = Client("docker", (str(available()["docker"][0]),), ssh.url, ssh.root)
    for there in (available()["docker"][0], ssh.bin / "corten"):
        (ssh.bin / "docker").unlink(missing_ok=True)
        (ssh.bin / "docker").symlink_to(there)
        assert docker.out("run", "--rm", APP) == "app"
        assert docker.out("run", "-i", "--rm", APP, "cat", input="through\n") == "through"


def test_dial_stdio(engines: Engines) -> None:
    request = b"GET /_ping HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    process = engines.one.popen("system", "dial-stdio")
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write(request)
    process.stdin.flush()
    answer = process.stdout.read()
    assert answer.startswith(b"HTTP/1.1 200 OK") and answer.endswith(b"OK") and process.wait(20) == 0
    engines.one.close()
    assert "cannot connect" in replace(engines.one, address="unix:///nosuch")("system", "dial-stdio", code=1).err
