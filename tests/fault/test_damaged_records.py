"""A daemon starts over records that cannot be read, and removes nothing that may be theirs."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing

import pytest

from e2e_parts.cortend import IMAGE
from fault_parts.fragile import Fragile


def damage(daemon: Fragile, statement: str, *values: object) -> None:
    database = sqlite3.connect(daemon.data / "corten.db")
    with database:
        assert database.execute(statement, values).rowcount > 0, statement
    database.close()


def on_disk(daemon: Fragile) -> set[str]:
    """What images and containers have there."""
    tops = ("snapshots", "content/blobs/sha256", "containers")
    return {str(path) for top in tops for path in (daemon.data / top).iterdir() if not path.name.startswith(".")}


@pytest.fixture
def stopped(daemon: Fragile) -> Iterator[Fragile]:
    """Killed, with one record of each kind that is easily made. Afterwards its records are sound again."""
    daemon.create("true", name="kept")
    assert daemon.ask("POST", "/volumes/create", {"Name": "kept"})[0] == 201
    daemon.kill()
    with closing(sqlite3.connect(daemon.data / "corten.db")) as database:
        sound = database.serialize()
    yield daemon
    if daemon.runs():
        daemon.kill()
    for suffix in ("-wal", "-shm"):
        (daemon.data / f"corten.db{suffix}").unlink(missing_ok=True)
    (daemon.data / "corten.db").write_bytes(sound)


@pytest.mark.parametrize("body", [b"", b'{"tree": 5, "at": [], "state": 1, "host_config": []}', b"\xff"])
def test_every_record_at_once(stopped: Fragile, body: bytes) -> None:
    before = on_disk(stopped)
    damage(stopped, "UPDATE records SET body=CAST(? AS TEXT)", body)
    for column in ("manifest", "config", "layers", "size", "created", "added"):
        damage(stopped, f"UPDATE images SET {column}=CAST(? AS TEXT)", body)
    stopped.start()
    assert stopped.get("/containers/json?all=1") == []
    assert [image["RepoTags"] for image in stopped.get("/images/json")] == [[f"{IMAGE}:latest"]]
    for path in (f"/images/{IMAGE}/json", f"/images/{IMAGE}/history", "/system/df"):
        stopped.get(path)
    assert stopped.ask("POST", "/images/gc")[0] in (200, 404)
    assert before <= on_disk(stopped)


def test_an_image_is_whole_again_once_it_is_loaded(stopped: Fragile) -> None:
    stopped.start()
    with stopped.connection() as http:
        http.request("GET", f"/images/{IMAGE}/get")
        archive = http.getresponse().read()
    stopped.kill()
    damage(stopped, "UPDATE images SET layers='{', config='{'")
    stopped.start()
    status, said = stopped.ask("GET", f"/images/{IMAGE}/get")
    assert (status, "pull or load the image again" in said["message"]) == (500, True), said
    status, said = stopped.ask("POST", "/commit?container=kept")
    assert (status, "pull or load the image again" in said["message"]) == (500, True), said
    with stopped.connection() as http:
        http.request("POST", "/images/load", archive)
        answer = http.getresponse()
        assert (answer.status, b"errorDetail" in answer.read()) == (200, False)
    assert stopped.ask("POST", "/commit?container=kept")[0] == 201
    assert stopped.outcome("echo", "whole") == (0, "whole\n")
