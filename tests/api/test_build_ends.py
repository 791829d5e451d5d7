"""Ends of builds: what has been given back when the answer ends, cancelled ones, clients that go away."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest

from build_requests import FILES, Lines, build, context, refused
from corten.build import contexts
from e2e_parts.patience import PATIENCE, until
from fakes.daemon import Connection, Daemon


@pytest.mark.parametrize("last", ["RUN true", "RUN false"])
@pytest.mark.parametrize("query", ["", "?version=2&session="])
def test_its_context_is_removed(
    http: Connection, daemon: Daemon, monkeypatch: pytest.MonkeyPatch, last: str, query: str
) -> None:
    """However long that takes: files of the first layer are those of the context as well, and have one name then."""
    remove = contexts._remove
    began: list[str] = []

    def slow(root: Path, id: str) -> None:
        began.append(id)
        time.sleep(0.3)
        remove(root, id)

    monkeypatch.setattr(contexts, "_remove", slow)
    files = {"Dockerfile": f"FROM scratch\nCOPY a /\n{last}\n", "a": "x"}
    status, _ = http.ask("POST", f"/build{query}", context(files))
    assert status == 200
    assert began and not list((daemon.root / "build" / "contexts").iterdir())


def test_nothing_is_left_of_a_context(http: Connection, daemon: Daemon) -> None:
    build(http, FILES)
    refused(http, {**FILES, "Dockerfile": "NONE"})
    assert list((daemon.root / "build" / "contexts").iterdir()) == []


def test_cancel_by_id(http: Connection, daemon: Daemon, tmp_path: Any) -> None:
    begun = tmp_path / "begun"
    wait = f"touch {begun}; exec sleep 1000"
    found: list[Lines] = []

    def one() -> None:
        connection = Connection(daemon)
        found.append(build(connection, {"Dockerfile": f"FROM test\nRUN {wait}\n"}, "buildid=mine"))
        connection.close()

    thread = threading.Thread(target=one)
    thread.start()
    until(begun.exists)
    assert http.ask("POST", "/build/cancel?id=mine")[0] == 204
    thread.join(PATIENCE)
    assert "cancel" in found[0][-1]["error"]
    assert daemon.run(daemon.engine.builds.usage()) == []


def test_a_client_that_goes_away_ends_its_build(daemon: Daemon, tmp_path: Any) -> None:
    pid = tmp_path / "pid"
    connection = Connection(daemon)
    body = context({"Dockerfile": f"FROM test\nRUN echo $$ > {pid}; exec sleep 1000\n"})
    connection.request("POST", "/build", body)
    until(lambda: pid.exists() and pid.read_text())
    process = int(pid.read_text())
    connection.close()
    until(lambda: not _runs(process))
    until(lambda: not list((tmp_path / "build" / "contexts").iterdir()))


def _runs(process: int) -> bool:
    try:
        with open(f"/proc/{process}/stat") as file:
            return file.read().split()[2] != "Z"
    except (FileNotFoundError, ProcessLookupError):  # before it is opened, or before it is read
        return False
