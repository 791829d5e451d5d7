"""Filters by name and id, which are regular expressions where Docker's are; and a disconnect of what is not there."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import pytest

from fakes.daemon import Connection


def listed(http: Connection, path: str, **filters: list[str]) -> tuple[int, Any]:
    return http.ask("GET", f"{path}{'&' if '?' in path else '?'}filters={quote(json.dumps(filters))}")


#: Of the names xx, axx and yxxy, as dockerd 20.10 answers.
NAMES = {
    ("^xx$",): ["xx"],
    ("xx",): ["axx", "xx", "yxxy"],
    ("x.y",): ["yxxy"],
    ("axx", "yxxy"): ["axx", "yxxy"],
    ("(?i)AXX",): ["axx"],
    ("[",): [],
    ("[", "xx$"): ["axx", "xx"],
    ("^$",): [],
    ("xx\\z",): ["axx", "xx"],
    ("x(?=x)",): [],
}


@pytest.mark.parametrize("values", NAMES)
@pytest.mark.parametrize("noun", ["networks", "volumes", "containers"])
def test_names(http: Connection, noun: str, values: tuple[str, ...]) -> None:
    for name in ("xx", "axx", "yxxy"):
        path = f"/containers/create?name={name}" if noun == "containers" else f"/{noun}/create"
        assert http.ask("POST", path, {"Image": "test"} if noun == "containers" else {"Name": name})[0] == 201
    status, found = listed(http, "/containers/json?all=1" if noun == "containers" else f"/{noun}", name=list(values))
    assert status == 200
    rows = found["Volumes"] if noun == "volumes" else found
    names = [row["Names"][0].lstrip("/") if noun == "containers" else row["Name"] for row in rows]
    assert sorted(names) == NAMES[values]


@pytest.mark.parametrize("noun", ["networks", "volumes", "containers"])
def test_a_hostile_expression_holds_nothing_up(http: Connection, noun: str) -> None:
    """Python's `re` would need 2 ** 60 steps for this one; a large one is refused."""
    name = "a" * 60 + "b"
    path = f"/containers/create?name={name}" if noun == "containers" else f"/{noun}/create"
    assert http.ask("POST", path, {"Image": "test"} if noun == "containers" else {"Name": name})[0] == 201
    listing = "/containers/json?all=1" if noun == "containers" else f"/{noun}"
    for value, number in (("(a+)+$", 0), ("(a+)+b$", 1)):
        status, found = listed(http, listing, name=[value])
        assert status == 200 and len((found["Volumes"] or []) if noun == "volumes" else found) == number
    assert listed(http, listing, name=["(a{900}|b)" * 500]) == (
        400,
        {"message": "the expressions of filter 'name' have more than 4096 bytes"},
    )


def test_names_of_containers_have_a_slash_or_not(http: Connection) -> None:
    assert http.ask("POST", "/containers/create?name=box", {"Image": "test"})[0] == 201
    for value in ("^box$", "^/box$"):
        assert len(listed(http, "/containers/json?all=1", name=[value])[1]) == 1


def test_ids(http: Connection) -> None:
    _, made = http.ask("POST", "/networks/create", {"Name": "n1"})
    id: str = made["Id"]
    for value in (id, id[:12], id[5:20], f"^{id[:20]}", f"{id[-20:]}$"):
        assert [row["Name"] for row in listed(http, "/networks", id=[value])[1]] == ["n1"]
    for value in (f"{id[:20]}$", f"^{id[-20:]}", "["):
        assert listed(http, "/networks", id=[value]) == (200, [])
    _, made = http.ask("POST", "/containers/create", {"Image": "test"})
    id = made["Id"]
    for value, number in ((id, 1), (id[:12], 1), (id[5:20], 0), (f"^{id[:20]}", 0)):  # here it is the start of one
        assert len(listed(http, "/containers/json?all=1", id=[value])[1]) == number


def test_types_of_networks(http: Connection) -> None:
    assert http.ask("POST", "/networks/create", {"Name": "n1"})[0] == 201
    for values, names in ((["custom"], ["n1"]), (["builtin", "custom"], ["bridge", "host", "n1", "none"])):
        assert sorted(row["Name"] for row in listed(http, "/networks", type=values)[1]) == names
    status, answer = listed(http, "/networks", type=["odd"])
    assert (status, answer["message"]) == (400, "invalid filter: 'type'='odd'")


@pytest.mark.parametrize("force", [False, True])
def test_disconnect_of_what_is_not_connected(http: Connection, force: bool) -> None:
    assert http.ask("POST", "/networks/create", {"Name": "n1"})[0] == 201
    id = http.ask("POST", "/containers/create?name=box", {"Image": "test", "Cmd": ["sleep", "60"]})[1]["Id"]

    def disconnect(network: str, container: str) -> tuple[int, str]:
        body = {"Container": container, "Force": force}
        status, answer = http.ask("POST", f"/networks/{network}/disconnect", body)
        return status, answer["message"] if answer else ""

    for _ in range(2):  # before its start, and while it runs
        assert disconnect("n1", "box") == (404, f"container {id} is not connected to network n1")
        assert http.ask("POST", "/containers/box/start")[0] in (204, 304)
    assert disconnect("n1", "nosuch") == (404, "No such container: nosuch")
    assert disconnect("nosuch", "box") == (404, "network nosuch not found")
    assert disconnect("n1", "")[0] == 400
    assert http.ask("POST", "/networks/n1/connect", {"Container": "box"})[0] == 200
    assert disconnect("n1", "box") == (200, "")
    assert disconnect("n1", "box") == (404, f"container {id} is not connected to network n1")
