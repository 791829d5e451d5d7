"""docker-py, unmodified, against our API."""

from __future__ import annotations

import gc
import threading
import warnings
from collections.abc import Iterator

import docker
import docker.errors
import pytest

from e2e_parts.patience import PATIENCE
from fakes.daemon import Daemon


@pytest.fixture
def client(daemon: Daemon) -> Iterator[docker.DockerClient]:
    client = docker.DockerClient(base_url=daemon.address, timeout=20)
    yield client
    client.close()
    with warnings.catch_warnings():  # docker-py leaves the sockets of streams to the garbage collector
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


def test_run(client: docker.DockerClient) -> None:
    assert client.containers.run("test", ["echo", "hello"], remove=True) == b"hello\n"
    with pytest.raises(docker.errors.ContainerError) as failed:
        client.containers.run("test", ["sh", "-c", "echo bad >&2; exit 3"], remove=True)
    assert failed.value.exit_status == 3
    assert failed.value.stderr == b"bad\n"


def test_objects(client: docker.DockerClient) -> None:
    container = client.containers.run("test", ["sleep", "60"], detach=True, name="box", labels={"k": "v"})
    assert [c.name for c in client.containers.list(filters={"label": "k=v"})] == ["box"]
    assert client.containers.list(filters={"label": "k=other"}) == []
    result = container.exec_run(["sh", "-c", "echo out; echo err >&2; exit 2"], demux=True)
    assert (result.exit_code, result.output) == (2, (b"out\n", b"err\n"))
    assert container.top()["Processes"][0][-1] == "sleep 60"
    container.rename("other")
    container.reload()
    assert container.name == "other"
    container.stop(timeout=20)  # before it is killed
    assert container.wait()["StatusCode"] == 143
    container.remove()
    with pytest.raises(docker.errors.NotFound):
        client.containers.get("other")


def test_exec_with_a_socket(client: docker.DockerClient) -> None:
    container = client.containers.run("test", ["sleep", "60"], detach=True)
    id = client.api.exec_create(container.id, ["cat"], stdin=True)["Id"]
    stream = client.api.exec_start(id, socket=True)
    stream._sock.sendall(b"ping")
    assert stream._sock.recv(100) == b"\x01\0\0\0\0\0\0\x04ping"
    stream._sock.close()
    stream.close()
    container.remove(force=True)


def test_attach_streams_output(client: docker.DockerClient) -> None:
    container = client.containers.create("test", ["sh", "-c", "echo one; echo two >&2"])
    stream = container.attach(stream=True, demux=True)
    container.start()
    pieces = list(stream)
    assert b"".join(out for out, _ in pieces if out) == b"one\n"
    assert b"".join(err for _, err in pieces if err) == b"two\n"
    assert container.attach(logs=True, stream=False) == b"one\ntwo\n"


def test_logs_follow(client: docker.DockerClient) -> None:
    container = client.containers.run("test", ["sh", "-c", "echo a; sleep 0.2; echo b"], detach=True)
    assert b"".join(container.logs(follow=True, stream=True)) == b"a\nb\n"
    assert container.logs(tail=1) == b"b\n"
    assert container.logs(stdout=False, stderr=True) == b""


def test_events(client: docker.DockerClient) -> None:
    events = client.events(decode=True, filters={"type": "container"})
    seen: list[str] = []

    def listen() -> None:
        for event in events:
            seen.append(event["Action"])
            if event["Action"] == "destroy":
                return

    thread = threading.Thread(target=listen)
    thread.start()
    client.containers.run("test", ["true"], remove=True, detach=False)
    thread.join(PATIENCE)
    assert [name for name in seen if name != "attach"] == ["create", "start", "die", "destroy"]
    events.close()


def test_volumes_and_info(client: docker.DockerClient) -> None:
    volume = client.volumes.create("data", labels={"a": "b"})
    assert [v.name for v in client.volumes.list(filters={"label": "a"})] == ["data"]
    volume.remove()
    assert client.info()["OSType"] == "linux"
    assert client.version()["ApiVersion"] == "1.50"
    assert client.ping()
    assert client.df()["Volumes"] == []


def test_stats(client: docker.DockerClient) -> None:
    container = client.containers.run("test", ["sleep", "60"], detach=True)
    sample = container.stats(stream=False, one_shot=True)
    assert sample["cpu_stats"]["cpu_usage"]["total_usage"] == 5
    container.remove(force=True)
