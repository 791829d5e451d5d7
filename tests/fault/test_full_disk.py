"""A data root without a free byte: one clear error each; removal and pruning work, and everything does afterwards."""

from __future__ import annotations

import io
import os
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e_parts.http import Connection
from fault_parts.fragile import Fragile, until
from image_parts import tars
from image_parts.disks import fill, small_disk
from image_parts.held import held
from image_parts.stores import Made


class Full(Fragile):
    """`fill` takes every free byte of the data root's disk, `free` gives them back."""

    def fill(self) -> None:
        fill(self.data / "filling")

    def free(self) -> None:
        (self.data / "filling").unlink()

    def said(self, method: str, path: str, body: object = None) -> str:
        """The error of a request that has to fail for want of space: one line that says so, and where."""
        status, answer = self.ask(method, path, body)
        assert status == 500, (path, status, answer)
        message = str(answer["message"])
        assert "no space left" in message.lower() and "\n" not in message and "Traceback" not in message, message
        assert f"{self.root}/" in message, message
        return message


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Full]:
    with small_disk(tmp_path / "d", 30):
        full = Full(tmp_path)
        full.start()
        try:
            full.create("true", name="warm")
            full.remove_everything()
            until(lambda: not os.listdir(full.data / "containers"), "it is erased, behind the answer")
            yield full
        finally:
            (full.data / "filling").unlink(missing_ok=True)
            full.stop()


def works(daemon: Full) -> None:
    assert daemon.outcome("sh", "-c", "echo fine; echo more > /file") == (0, "fine\n")


def archive(size: int) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        entry = tarfile.TarInfo("blob")
        entry.size = size
        tar.addfile(entry, io.BytesIO(os.urandom(size)))
    return buffer.getvalue()


def send(daemon: Full, path: str, body: bytes) -> str:
    """Answer of a request with a stream of messages."""
    with Connection(daemon.socket) as http:
        http.request("POST", path, body, {"Content-Type": "application/x-tar"})
        return http.getresponse().read().decode()


def test_create_start_and_volumes(daemon: Full) -> None:
    waiting = daemon.create("true", name="waiting")
    running = daemon.run("sleep", "1000")
    daemon.fill()
    records = len(daemon.containers())
    trees = set(os.listdir(daemon.data / "snapshots"))
    long = "y" * 1_000_000
    body = {"Image": "corten/busybox", "Cmd": ["true", long], "Env": [f"X={long}"], "Labels": {"x": long}}
    daemon.said("POST", "/containers/create?name=big", body)
    daemon.said("POST", f"/containers/{waiting}/start")
    assert daemon.inside(running, "sh", "-c", "head -c 100000 /dev/zero > /tmp/x")[0] == 1
    daemon.said("POST", f"/commit?container={running}&repo=big", {"Labels": {"x": long}})
    assert len(daemon.containers()) == records
    assert set(os.listdir(daemon.data / "snapshots")) - {".trash"} == trees - {".trash"}
    assert daemon.inside(running, "echo", "still here") == (0, "still here\n")
    daemon.free()
    assert daemon.ask("POST", f"/containers/{waiting}/start")[0] == 204
    assert daemon.wait(waiting)["ExitCode"] == 0
    works(daemon)


def test_import_and_load(daemon: Full) -> None:
    before = sorted(os.listdir(daemon.data / "content" / "blobs" / "sha256"))
    tar = archive(40 << 20)
    for path in ("/images/create?fromSrc=-&repo=big", "/images/load"):
        said = send(daemon, path, tar)
        assert "no space left" in said.lower() and "Traceback" not in said, said[-2000:]
        assert sorted(os.listdir(daemon.data / "content" / "blobs" / "sha256")) == before
        assert os.listdir(daemon.data / "content" / "ingest") == []
        until(lambda: shutil.disk_usage(daemon.data).free > 15 << 20, "the space is given back")
    assert len(daemon.get("/images/json")) == 1
    works(daemon)
    assert "errorDetail" not in send(daemon, "/images/create?fromSrc=-&repo=small", archive(1 << 20))


def test_removal_and_pruning_while_full(daemon: Full) -> None:
    ended = [daemon.run("sh", "-c", "head -c 200000 /dev/zero > /f") for _ in range(4)]
    running = daemon.run("sleep", "1000")
    for id in ended:
        daemon.wait(id)
    assert daemon.ask("POST", "/volumes/create", {"Name": "vol"})[0] == 201
    daemon.fill()
    assert daemon.ask("DELETE", f"/containers/{ended[0]}")[0] == 204
    assert daemon.ask("POST", f"/containers/{running}/stop?t=0")[0] == 204
    assert daemon.ask("DELETE", "/volumes/vol")[0] == 204
    status, answer = daemon.ask("POST", "/containers/prune")
    assert status == 200 and set(answer["ContainersDeleted"]) == {*ended[1:], running}
    assert daemon.get("/containers/json?all=1") == []
    until(lambda: shutil.disk_usage(daemon.data).free > 500_000, "the space is given back")
    daemon.free()
    works(daemon)


def test_log_and_exit_code_of_a_container_that_ends_while_full(daemon: Full) -> None:
    """Its output is not kept, and that is said; the container does not notice, and its exit code is right."""
    id = daemon.run("sh", "-c", "echo early; read line; seq 1 20000; echo late >&2; exit 9", OpenStdin=True)
    connection = daemon.attach(id)
    until(lambda: daemon.output(id) == "early\n", "its first line")
    daemon.fill()
    connection.sendall(b"go\n")
    said = b""
    while piece := connection.recv(65536):
        said += piece
    connection.close()
    assert b"20000\n" in said and b"late\n" in said, "an attached client gets everything"
    assert daemon.wait(id)["ExitCode"] == 9
    assert (daemon.data / "containers" / id / "exit.json").exists()
    assert daemon.output(id).startswith("early\n")
    daemon.free()
    works(daemon)


def test_log_goes_on_when_there_is_space_again(daemon: Full) -> None:
    id = daemon.run("sh", "-c", "while read line; do echo $line; done", OpenStdin=True)
    connection = daemon.attach(id)

    def say(text: str) -> None:
        connection.sendall(text.encode() + b"\n")
        seen = b""
        while text.encode() not in seen:
            seen += connection.recv(4096)

    say("first")
    daemon.fill()
    with (daemon.data / "filling").open("ab", buffering=0) as file, pytest.raises(OSError):
        file.write(b"x")
    log = Path(daemon.inspect(id)["LogPath"])
    for number in range(60):  # more than what is left of the log's last page
        say(f"lost {number} " + "x" * 200)
    daemon.free()
    say("last")
    text = daemon.output(id)
    connection.close()
    assert text.startswith("first\n") and text.endswith("last\n") and "could not be written" in text
    assert log.stat().st_size < 30_000


def test_restart_of_the_daemon_while_full(daemon: Full) -> None:
    """It starts, lists its containers, and removes them."""
    running, ended = daemon.run("sleep", "1000"), daemon.create("true")
    daemon.fill()
    daemon.kill()
    daemon.start()
    assert daemon.state(running)["Running"] and daemon.inside(running, "true") == (0, "")
    assert daemon.ask("DELETE", f"/containers/{ended}") == (204, "")
    assert daemon.ask("DELETE", f"/containers/{running}?force=1") == (204, "")
    daemon.free()
    works(daemon)


def test_full_exec_root(tmp_path: Path) -> None:
    """/run is a small tmpfs on many machines."""
    with small_disk(tmp_path / "r", 1):
        daemon = Full(tmp_path)
        daemon.start()
        try:
            running = daemon.run("sleep", "1000")
            waiting = daemon.create("true")
            with (daemon.exec / "filling").open("wb", buffering=0) as file, pytest.raises(OSError):
                while True:
                    if file.write(bytes(4096)) < 4096:
                        raise OSError("full")
            status, answer = daemon.ask("POST", f"/containers/{waiting}/start")
            assert status == 204 or "no space left" in answer["message"].lower(), answer
            assert daemon.inside(running, "true") == (0, "")
            assert daemon.ask("DELETE", f"/containers/{running}?force=1")[0] == 204
            (daemon.exec / "filling").unlink()
            works(daemon)
        finally:
            (daemon.exec / "filling").unlink(missing_ok=True)
            daemon.stop()


def test_pull(daemon: Full) -> None:
    """One error; the store is as it was; removal and pruning work while full, and the next pull with space."""
    image = Made([tars.archive(tars.file("big", os.urandom(9 << 20))), tars.archive(tars.file("small", b"s"))])
    small = Made([tars.archive(tars.file("other", b"o"))])
    with held() as registry:
        registry.add("1", image)
        registry.add("small", small)
        name = f"{registry.host}/a/b"
        assert "Downloaded newer image" in send(daemon, f"/images/create?fromImage={name}&tag=small", b"")
        ended = daemon.create("true")
        before = _stock(daemon)
        daemon.fill()
        os.truncate(daemon.data / "filling", (daemon.data / "filling").stat().st_size - (4 << 20))
        said = send(daemon, f"/images/create?fromImage={name}&tag=1", b"")
        errors = [line for line in said.splitlines() if '"error"' in line]
        assert len(errors) == 1 and "no space left" in errors[0] and "Traceback" not in said, said[-2000:]
        assert _stock(daemon) == before
        daemon.fill()
        again = send(daemon, f"/images/create?fromImage={name}&tag=1", b"")
        assert "no space left" in again and "Traceback" not in again
        assert daemon.ask("DELETE", f"/containers/{ended}") == (204, "")
        assert daemon.ask("DELETE", f"/images/{name}:small")[0] == 200
        assert daemon.ask("POST", "/images/prune")[0] == 200
        daemon.free()
        assert "Downloaded newer image" in send(daemon, f"/images/create?fromImage={name}&tag=1", b"")
        assert daemon.ask("DELETE", f"/images/{name}:1")[0] == 200
    works(daemon)


def _stock(daemon: Full) -> list[str]:
    places = ("content/blobs/sha256", "content/ingest", "snapshots")
    return [name for place in places for name in sorted(os.listdir(daemon.data / place)) if name != ".trash"]
