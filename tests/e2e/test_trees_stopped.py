"""The tree of a container that does not run: one writer at a time, and readers change nothing."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from e2e_parts.clients import Client
from e2e_parts.cortend import IMAGE, Cortend
from e2e_parts.http import Connection


def tar(**files: bytes) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return made.getvalue()


class Upload:
    """PUT archive, of which a client sends a half now and the rest with `finish`."""

    def __init__(self, daemon: Cortend, container: str, path: str, data: bytes) -> None:
        self._connection = Connection(daemon.socket, timeout=60)
        self._connection.putrequest("PUT", f"/containers/{container}/archive?path={path}")
        self._connection.putheader("Content-Length", str(len(data)))
        self._connection.endheaders(data[: len(data) // 2])
        self._rest = data[len(data) // 2 :]

    def finish(self) -> int:
        self._connection.send(self._rest)
        answer = self._connection.getresponse()
        answer.read()
        self._connection.close()
        return answer.status


def box(daemon: Cortend, *command: str, **host: Any) -> str:
    status, made = daemon.ask("POST", "/containers/create", {"Image": IMAGE, "Cmd": command, "HostConfig": host})
    assert status == 201, made
    return str(made["Id"])


@contextlib.contextmanager
def beside(work: Any) -> Iterator[threading.Thread]:
    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield thread
    finally:
        thread.join(60)
        assert not thread.is_alive()


def test_a_start_waits_for_what_is_copied_in(daemon: Cortend, corten: Client) -> None:
    container = box(daemon, "cat", "/late")
    upload = Upload(daemon, container, "/", tar(early=b"e" * 20000, late=b"is there\n"))
    answers: list[int] = []
    with beside(lambda: answers.append(daemon.ask("POST", f"/containers/{container}/start")[0])) as starting:
        starting.join(0.5)
        assert daemon.ask("GET", f"/containers/{container}/json")[1]["State"]["Status"] == "created"
        assert upload.finish() == 200
    assert answers == [204]
    assert daemon.ask("POST", f"/containers/{container}/wait")[1]["StatusCode"] == 0
    assert corten("logs", container).out == "is there\n"


def test_two_copies_at_once_are_both_there(daemon: Cortend, corten: Client) -> None:
    container = box(daemon, "true")
    first = Upload(daemon, container, "/", tar(a=b"1" * 20000, b=b"2"))
    second = Upload(daemon, container, "/", tar(c=b"3" * 20000, d=b"4"))
    answers: list[int] = []
    with beside(lambda: answers.append(second.finish())):
        assert first.finish() == 200
    assert answers == [200]
    assert corten("diff", container).out.split("\n")[:-1] == ["A /a", "A /b", "A /c", "A /d"]


def test_reading_changes_nothing(daemon: Cortend, corten: Client, tmp_path: Path) -> None:
    """Also where a volume is mounted on a directory that only a start would make."""
    corten("run", "--rm", "-v", "seen:/v", IMAGE, "sh", "-c", "echo kept > /v/file")
    container = box(daemon, "true", Binds=["seen:/new/place"])
    corten("cp", f"{container}:/new/place/file", str(tmp_path / "file"))
    assert (tmp_path / "file").read_text() == "kept\n"
    corten("cp", f"{container}:/etc", str(tmp_path / "etc"))
    assert (tmp_path / "etc/passwd").exists()
    assert daemon.ask("GET", f"/containers/{container}/export")[0] == 200
    assert corten("diff", container).out == ""
    corten("rm", container)
    corten("volume", "rm", "seen")


def test_reading_waits_for_no_copy_in(daemon: Cortend, corten: Client, tmp_path: Path) -> None:
    container = box(daemon, "true")
    upload = Upload(daemon, container, "/", tar(a=b"1" * 20000, b=b"2"))
    corten("cp", f"{container}:/etc/passwd", str(tmp_path / "passwd"))
    assert daemon.ask("GET", f"/containers/{container}/export")[0] == 200
    assert upload.finish() == 200
    assert corten("diff", container).out.split() == ["A", "/a", "A", "/b"]


@pytest.mark.parametrize("path", ["/", "/etc"])
def test_a_directory_looks_as_it_does_in_the_container(
    daemon: Cortend, corten: Client, tmp_path: Path, path: str
) -> None:
    container = box(daemon, "sh", "-c", "chmod 1751 / /etc; chown 7:8 / /etc; touch -d 2001-02-03 / /etc")
    daemon.ask("POST", f"/containers/{container}/start")
    daemon.ask("POST", f"/containers/{container}/wait")
    corten("cp", "-a", f"{container}:{path}", str(tmp_path / "out"))
    found = (tmp_path / "out").stat()
    assert (found.st_mode & 0o7777, found.st_uid, found.st_gid) == (0o1751, 7, 8)


def test_a_removal_during_a_copy_out_is_a_container_that_is_gone(daemon: Cortend, corten: Client) -> None:
    container = box(daemon, "true")
    upload = Upload(daemon, container, "/", tar(a=b"1" * 20000, b=b"2"))
    answers: list[int] = []
    with beside(lambda: answers.append(daemon.ask("DELETE", f"/containers/{container}")[0])):
        assert upload.finish() == 200
    assert answers == [204]
    assert daemon.ask("GET", f"/containers/{container}/archive?path=/etc")[0] == 404


@pytest.mark.parametrize(
    "options, seen, written",
    [
        ({}, True, False),
        ({"ReadOnlyNonRecursive": True}, True, True),
        ({"NonRecursive": True}, False, False),
    ],
)
def test_what_is_mounted_below_a_bind_is_as_it_is_while_it_runs(
    daemon: Cortend, tmp_path: Path, options: dict[str, bool], seen: bool, written: bool
) -> None:
    """A container that may only read there leaves a link, by which a copy into it would be one to the host."""
    (tmp_path / "shared/below").mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "below", str(tmp_path / "shared/below")], check=True)
    try:
        (tmp_path / "shared/below/there").touch()
        bind = {
            "Type": "bind",
            "Source": f"{tmp_path}/shared",
            "Target": "/x",
            "ReadOnly": True,
            "BindOptions": options,
        }
        container = box(daemon, "sh", "-c", "ln -s /x/below /data; ls /data/; touch /data/own", Mounts=[bind])
        daemon.ask("POST", f"/containers/{container}/start")
        ended = daemon.ask("POST", f"/containers/{container}/wait")[1]["StatusCode"]
        assert (ended == 0) is written
        found = {"there"} if seen else set()
        found |= {"own"} if written else set()
        status, data = whole(daemon, f"/containers/{container}/archive?path=/data/.")
        assert status == 200
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            assert {Path(name).name for name in archive.getnames()} - {"", "data"} == found
        sent, answer = daemon.ask("PUT", f"/containers/{container}/archive?path=/data", tar(new=b"copied in"))
        assert sent == (200 if written else 403), answer
        assert set(os.listdir(tmp_path / "shared/below")) == {"there"} | ({"own", "new"} if written else set())
        assert not any(path.name == "new" for path in (tmp_path / "shared").iterdir())
        assert daemon.ask("DELETE", f"/containers/{container}")[0] == 204
    finally:
        subprocess.run(["umount", str(tmp_path / "shared/below")], check=True)


def whole(daemon: Cortend, path: str) -> tuple[int, bytes]:
    with Connection(daemon.socket, timeout=60) as connection:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read()


def test_files_of_the_engine_are_seen(docker: Client, tmp_path: Path) -> None:
    """hosts, hostname and resolv.conf, mounted as while it runs; a client's bind over one of them wins."""
    docker(
        "create", "--name", "filed", "-h", "named", "--add-host", "other:10.9.8.7", "--dns", "10.1.2.3", IMAGE, "true"
    )
    docker("start", "-a", "filed")
    for name, text in (("hostname", "named\n"), ("hosts", "10.9.8.7\tother"), ("resolv.conf", "nameserver 10.1.2.3")):
        docker("cp", f"filed:/etc/{name}", str(tmp_path / name))
        assert text in (tmp_path / name).read_text(), name
    (tmp_path / "mine").write_text("mine\n")
    docker("run", "--name", "bound", "-v", f"{tmp_path}/mine:/etc/hosts", IMAGE, "true")
    docker("cp", "bound:/etc/hosts", str(tmp_path / "seen"))
    assert (tmp_path / "seen").read_text() == "mine\n"
