"""Containers that were started by a daemon whose records had one index of a device, taken up by this one."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from e2e_parts.secluded import Host, ask, fetch
from fault_parts.fragile import until


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Host]:
    made = Host(tmp_path)
    made.daemon.start()
    yield made
    made.close()


def first_version(endpoint: dict[str, Any]) -> dict[str, Any]:
    """The host end's index, and for a device without one the number before its own."""
    old = {key: value for key, value in endpoint.items() if key not in ("index", "host_index")}
    index = endpoint["host_index"] if endpoint["host_index"] is not None else endpoint["index"] - 1
    return {**old, "ifindex": index}


def write_old_records(database: Path) -> int:
    """The records of all endpoints; how many they are."""
    count = 0
    with sqlite3.connect(database) as connection:
        for id, text in connection.execute("SELECT id, body FROM records WHERE kind='container'").fetchall():
            body = json.loads(text)
            body["endpoints"] = {name: first_version(e) for name, e in body["endpoints"].items()}
            count += len(body["endpoints"])
            connection.execute("UPDATE records SET body=? WHERE kind='container' AND id=?", (json.dumps(body), id))
    connection.close()
    return count


def devices(place: Host, id: str) -> set[str]:
    enter = ["nsenter", "-t", str(place.daemon.state(id)["Pid"]), "-n"]
    return {link["ifname"] for link in place.links(enter)}


def test_running_containers_are_taken_up(place: Host) -> None:
    place.network("inner")
    place.network("stack", Driver="macvlan")
    web = place.serve("web", "inner", {"80/tcp": [{"HostPort": "8080"}]})
    one, two = place.serve("one", "stack"), place.idle("two", "stack")
    before = [place.daemon.inspect(id)["NetworkSettings"] for id in (web, one, two)]
    pair = place.device(web, "inner")
    place.daemon.kill()
    assert write_old_records(place.daemon.data / "corten.db") == 3
    place.daemon.start()
    assert [place.daemon.inspect(id)["NetworkSettings"] for id in (web, one, two)] == before
    assert place.device(web, "inner") == pair  # the one that it had
    assert fetch(place.net, "http://127.0.0.1:8080/") == "hello from web"
    assert ask(place.daemon, two, "http://one/") == "hello from one"

    place.net.run("ip", "link", "delete", pair)  # looked after as before
    until(lambda: fetch(place.net, "http://127.0.0.1:8080/", 2) == "hello from web", "it answers again")

    for id in (web, one):  # and changed where they are
        assert place.daemon.ask("POST", f"/containers/{id}/update", {"NetRate": "egress=10mbit"})[0] == 200
        enter = ["nsenter", "-t", str(place.daemon.state(id)["Pid"]), "-n"]
        assert "tbf" in place.net.run(*enter, "tc", "qdisc", "show", "dev", "eth0")
    for network, id in (("inner", web), ("stack", one)):
        assert place.daemon.ask("POST", f"/networks/{network}/disconnect", {"Container": id})[0] == 200
        assert devices(place, id) == {"lo"}
