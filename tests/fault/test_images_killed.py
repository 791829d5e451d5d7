"""kill -9 of the daemon while images come: what it had is kept and gone on from, what it began is taken away."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e_parts.http import Connection
from e2e_parts.patience import PATIENCE
from fault_parts.fragile import Fragile, until
from image_parts import tars
from image_parts.held import Held, held
from image_parts.stores import Made, digest

SIZE = 12 << 20


@pytest.fixture
def registry() -> Iterator[Held]:
    with held() as running:
        yield running


@pytest.fixture(scope="module")
def image() -> Made:
    return Made([tars.archive(tars.file("big", os.urandom(SIZE))), tars.archive(tars.file("small", b"s"))])


def pull(daemon: Fragile, name: str) -> list[dict[str, object]]:
    """The messages; those that came, when the daemon is killed meanwhile."""
    said = []
    try:
        with daemon.connection() as http:
            http.request("POST", f"/images/create?fromImage={name}")
            answer = http.getresponse()
            while line := answer.readline():
                said.append(json.loads(line))
    except (OSError, ValueError):
        said.append({"killed": True})
    return said


def store(daemon: Fragile) -> dict[str, list[str]]:
    """Everything on disk that an image is made of, or on its way to be."""
    places = ("content/blobs/sha256", "content/ingest", "snapshots")
    return {place: sorted(set(os.listdir(daemon.data / place)) - {".trash"}) for place in places}


def parts(daemon: Fragile) -> dict[str, int]:
    return {path.name: path.stat().st_size for path in Path(daemon.data / "content/ingest").iterdir()}


def test_a_pull_goes_on_from_the_byte_that_it_had(daemon: Fragile, registry: Held, image: Made) -> None:
    registry.add("1", image)
    registry.hold = 7 << 20
    layer, name = digest(image.layers[0]), f"{registry.host}/a/b:1"
    before = store(daemon)
    thread = threading.Thread(target=pull, args=(daemon, name))
    thread.start()
    part = layer.replace(":", "-") + ".part"
    until(lambda: parts(daemon).get(part, 0) >= 4 << 20, "some of the layer is on disk")
    daemon.kill()
    thread.join(PATIENCE)
    had = parts(daemon)[part]
    daemon.start()
    assert parts(daemon)[part] == had and daemon.get("/images/json")[0]["RepoTags"] == ["corten/busybox:latest"]
    registry.hold = None
    said = pull(daemon, name)
    assert str(said[-1]["status"]).startswith("Status: Downloaded newer image")
    assert registry.ranges(layer) == ["", f"bytes={had}-"]
    assert parts(daemon) == {}
    assert daemon.ask("DELETE", f"/images/{name}")[0] == 200
    assert store(daemon) == before


def test_a_damaged_part_is_found_and_fetched_again(daemon: Fragile, registry: Held, image: Made) -> None:
    """As when the machine lost power: the part's end was never written."""
    registry.add("1", image)
    layer, name = digest(image.layers[0]), f"{registry.host}/a/b:1"
    daemon.kill()
    (daemon.data / "content/ingest" / (layer.replace(":", "-") + ".part")).write_bytes(
        image.layers[0][: 3 << 20] + bytes(1 << 20)
    )
    daemon.start()
    assert str(pull(daemon, name)[-1]["status"]).startswith("Status: Downloaded newer image")
    assert registry.ranges(layer) == [f"bytes={4 << 20}-", ""]
    assert parts(daemon) == {}


def test_killed_while_it_unpacks(daemon: Fragile, registry: Held, image: Made) -> None:
    """Every layer is there, the image is not: nothing is fetched twice, and no half tree stays."""
    registry.add("1", image)
    name = f"{registry.host}/a/b:1"
    shown = digest(image.layers[0])[7:19]
    with daemon.connection() as http:
        http.request("POST", f"/images/create?fromImage={name}")
        answer = http.getresponse()
        while line := answer.readline():
            if json.loads(line) == {"status": "Download complete", "progressDetail": {}, "id": shown}:
                break
        daemon.kill()
    daemon.start()
    assert str(pull(daemon, name)[-1]["status"]).startswith("Status: ")
    assert registry.ranges(digest(image.layers[0])) == [""]
    trees = len(store(daemon)["snapshots"])
    assert daemon.ask("DELETE", f"/images/{name}")[0] == 200
    assert len(store(daemon)["snapshots"]) == trees - 2


def test_a_load_leaves_nothing(daemon: Fragile, image: Made) -> None:
    documents = [{"Config": "config.json", "RepoTags": ["loaded:1"], "Layers": ["0.tar", "1.tar"]}]
    archive = tars.archive(
        tars.file("config.json", image.config),
        tars.file("0.tar", image.layers[0]),
        tars.file("1.tar", image.layers[1]),
        tars.file("manifest.json", json.dumps(documents).encode()),
    )
    before = store(daemon)
    with Connection(daemon.socket) as http:
        http.putrequest("POST", "/images/load")
        http.putheader("Content-Type", "application/x-tar")
        http.putheader("Content-Length", str(len(archive)))
        http.endheaders()
        http.send(archive[: 6 << 20])
        until(lambda: sum(parts(daemon).values()) >= 4 << 20, "some of the layer is on disk")
        daemon.kill()
    daemon.start()
    assert store(daemon) == before
    with Connection(daemon.socket) as http:
        http.request("POST", "/images/load", archive, {"Content-Type": "application/x-tar"})
        assert "Loaded image: loaded:1" in http.getresponse().read().decode()
    assert daemon.ask("DELETE", "/images/loaded:1")[0] == 200
    assert store(daemon) == before


@pytest.mark.parametrize("path", ["/images/load", "/images/create?fromSrc=-&repo=left&tag=1"])
def test_a_client_that_leaves_without_its_answer(daemon: Fragile, image: Made, path: str) -> None:
    """docker-squash does that: what has come whole is completed."""
    documents = [{"Config": "config.json", "RepoTags": ["left:1"], "Layers": ["0.tar", "1.tar"]}]
    archive = tars.archive(
        tars.file("config.json", image.config),
        tars.file("0.tar", image.layers[0]),
        tars.file("1.tar", image.layers[1]),
        tars.file("manifest.json", json.dumps(documents).encode()),
    )
    before = store(daemon)
    with Connection(daemon.socket) as http:
        http.putrequest("POST", path)
        http.putheader("Content-Type", "application/x-tar")
        http.putheader("Content-Length", str(len(archive)))
        http.endheaders()
        http.send(archive)
    until(lambda: daemon.ask("GET", "/images/left:1/json")[0] == 200, "the image is there")
    assert daemon.ask("DELETE", "/images/left:1")[0] == 200
    until(lambda: store(daemon) == before, "nothing is left")


def test_half_a_load_whose_client_leaves_is_nothing(daemon: Fragile, image: Made) -> None:
    before = store(daemon)
    with Connection(daemon.socket) as http:
        http.putrequest("POST", "/images/load")
        http.putheader("Content-Type", "application/x-tar")
        http.putheader("Content-Length", str(1 << 30))
        http.endheaders()
        http.send(tars.file("0.tar", image.layers[0])[: 6 << 20])
        until(lambda: sum(parts(daemon).values()) >= 4 << 20, "some of the layer is on disk")
    until(lambda: store(daemon) == before, "nothing is left")
