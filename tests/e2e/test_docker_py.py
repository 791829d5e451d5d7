"""docker-py, unmodified, as other programs use it."""

from __future__ import annotations

import io
import tarfile
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from e2e_parts.cortend import IMAGE, Cortend

docker_py = pytest.importorskip("docker")


@pytest.fixture
def engine(daemon: Cortend, nothing_left: None) -> Iterator[Any]:
    client = docker_py.DockerClient(base_url=daemon.address, timeout=20)
    yield client
    client.close()


def test_run(engine: Any) -> None:
    assert engine.containers.run(IMAGE, ["echo", "hi"], remove=True) == b"hi\n"
    with pytest.raises(docker_py.errors.ContainerError) as raised:
        engine.containers.run(IMAGE, "sh -c 'echo bad >&2; exit 3'", remove=True)
    assert raised.value.exit_status == 3 and b"bad" in raised.value.stderr
    with pytest.raises(docker_py.errors.ImageNotFound):
        engine.containers.create("nosuch/image:x")


def test_a_life(engine: Any) -> None:
    container = engine.containers.run(IMAGE, "sleep 1000", name="py", detach=True, labels={"a": "b"}, mem_limit="64m")
    assert [c.name for c in engine.containers.list(filters={"label": "a=b"})] == ["py"]
    assert container.status == "created" or container.status == "running"
    code, (out, err) = container.exec_run("sh -c 'echo o; echo e >&2; exit 2'", demux=True)
    assert (code, out, err) == (2, b"o\n", b"e\n")
    assert container.top()["Processes"][0][-1] == "sleep 1000"
    container.pause()
    container.reload()
    assert container.status == "paused"
    container.unpause()
    container.rename("py2")
    container.update(mem_limit="128m", memswap_limit="256m")
    assert container.stats(stream=False)["memory_stats"]["limit"] == 128 << 20
    container.restart(timeout=0)
    container.kill()
    assert container.wait()["StatusCode"] == 137
    container.remove()


def test_logs(engine: Any) -> None:
    container = engine.containers.run(IMAGE, "sh -c 'for i in 1 2 3; do echo $i; sleep 0.05; done'", detach=True)
    assert b"".join(container.logs(stream=True, follow=True)) == b"1\n2\n3\n"
    assert container.logs(tail=1) == b"3\n"


def test_attach_socket_both_ways(engine: Any) -> None:
    container = engine.containers.create(IMAGE, "cat", stdin_open=True, tty=False)
    sock = container.attach_socket(params={"stdin": 1, "stdout": 1, "stream": 1})
    container.start()
    sock._sock.sendall(b"over the wire\n")
    sock._sock.settimeout(60)
    said = b""
    while len(said) < 8 + len("over the wire\n") and (piece := sock._sock.recv(100)):
        said += piece
    assert said[8:] == b"over the wire\n"
    sock._sock.close()
    sock.close()
    assert container.wait()["StatusCode"] == 0  # the end of the one client's input was the program's


def test_events(engine: Any) -> None:
    seen: list[str] = []
    stream = engine.events(decode=True, filters={"type": "container"})

    def listen() -> None:
        for event in stream:
            seen.append(event["Action"])
            if event["Action"] == "destroy":
                return

    listener = threading.Thread(target=listen)
    listener.start()
    deadline = time.monotonic() + 60
    while "destroy" not in seen and time.monotonic() < deadline:
        engine.containers.run(IMAGE, "true", remove=True)
    listener.join(60)
    stream.close()
    assert not listener.is_alive()


def test_files_in_and_out(engine: Any) -> None:
    container = engine.containers.run(IMAGE, "sleep 1000", detach=True)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        info = tarfile.TarInfo("put")
        info.size = 3
        tar.addfile(info, io.BytesIO(b"abc"))
    try:
        assert container.put_archive("/tmp", buffer.getvalue())
    except docker_py.errors.APIError as error:
        if error.status_code in (404, 501):
            pytest.skip("this engine has no archive endpoint yet")
        raise
    assert container.exec_run("cat /tmp/put").output == b"abc"
    chunks, stat = container.get_archive("/tmp/put")
    assert stat["size"] == 3 and b"abc" in b"".join(chunks)


def test_images_volumes_networks_info(engine: Any) -> None:
    assert any(f"{IMAGE}:latest" in image.tags for image in engine.images.list())
    assert engine.images.get(IMAGE).tag("py/tagged", "x")
    engine.images.remove("py/tagged:x")
    volume = engine.volumes.create("pyvol", labels={"x": "y"})
    mounted = {"pyvol": {"bind": "/v", "mode": "rw"}}
    assert engine.containers.run(IMAGE, "ls -d /v", volumes=mounted, remove=True) == b"/v\n"
    volume.remove()
    assert {"bridge", "host", "none"} <= {network.name for network in engine.networks.list()}
    assert engine.version()["ApiVersion"] == "1.50" and engine.ping() and engine.info()["NCPU"] >= 1


def test_ports_and_health(engine: Any) -> None:
    container = engine.containers.run(
        IMAGE, "sleep 1000", detach=True, ports={"80/tcp": ("127.0.0.1", None)},
        healthcheck={"test": ["CMD", "true"], "interval": 200_000_000, "retries": 1},
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while container.attrs["State"].get("Health", {}).get("Status") != "healthy":
        assert time.monotonic() < deadline
        time.sleep(0.05)
        container.reload()
    assert container.ports["80/tcp"][0]["HostIp"] == "127.0.0.1"
