"""Links of the default network: what they are called, where their names can be used, and how they go."""

from __future__ import annotations

from typing import Any

import pytest

from fakes.daemon import Connection


def create(http: Connection, name: str, *links: str, mode: str = "", **endpoint: Any) -> tuple[int, Any]:
    body: dict[str, Any] = {"Image": "test", "Cmd": ["sleep", "60"]}
    body["HostConfig"] = {"Links": list(links) or None, "NetworkMode": mode}
    if endpoint:
        body["NetworkingConfig"] = {"EndpointsConfig": {mode: endpoint}}
    return http.ask("POST", f"/containers/create?name={name}", body)


def made(http: Connection, name: str, *links: str, mode: str = "", **endpoint: Any) -> str:
    status, answer = create(http, name, *links, mode=mode, **endpoint)
    assert (status, answer.get("Warnings")) == (201, []), answer
    id: str = answer["Id"]
    return id


def links(http: Connection, name: str) -> Any:
    return http.ask("GET", f"/containers/{name}/json")[1]["HostConfig"]["Links"]


def names(http: Connection) -> dict[str, list[str]]:
    """Names in the list, by each container's own."""
    listed = http.ask("GET", "/containers/json?all=1")[1]
    return {next(n for n in row["Names"] if n.count("/") == 1): row["Names"] for row in listed}


def test_links_are_names(http: Connection) -> None:
    db = made(http, "db")
    made(http, "app", "db:x", "db", "/db:/old/y", "db:x")
    assert links(http, "app") == ["/db:/app/x", "/db:/app/db", "/db:/app/y"]
    assert names(http) == {"/db": ["/app/db", "/app/x", "/app/y", "/db"], "/app": ["/app"]}
    for reference in ("app/x", "app%2Fx", "/app/x", "app/db"):
        assert http.ask("GET", f"/containers/{reference}/json")[1]["Id"] == db
    for reference in ("app/nosuch", "nosuch/db", "app/x/y"):
        status, answer = http.ask("GET", f"/containers/{reference}/json")
        assert (status, answer["message"]) == (404, f"No such container: {reference}")
    assert http.ask("POST", "/containers/app/x/start")[0] == 204
    assert http.ask("GET", "/containers/app/x/logs?stdout=1")[0] == 200
    assert http.ask("POST", "/containers/app/x/exec", {"Cmd": ["true"]})[0] == 201
    assert http.ask("POST", "/containers/app/x/kill")[0] == 204


def test_links_follow_renames(http: Connection) -> None:
    made(http, "db")
    made(http, "app", "db:x")
    assert http.ask("POST", "/containers/db/rename?name=db2")[0] == 204
    assert http.ask("POST", "/containers/app/rename?name=app2")[0] == 204
    assert links(http, "app2") == ["/db2:/app2/x"]
    assert names(http)["/db2"] == ["/app2/x", "/db2"]
    made(http, "db")  # another one, which no link leads to
    assert links(http, "app2") == ["/db2:/app2/x"]


def test_a_link_is_removed(http: Connection) -> None:
    db = made(http, "db")
    made(http, "app", "db:x", "db:y")
    for reference in ("app", "db", db):
        status, answer = http.ask("DELETE", f"/containers/{reference}?link=1")
        assert (status, answer["message"]) == (
            409,
            "Conflict, cannot remove the default link name of the container",
        )
    assert http.ask("DELETE", "/containers/app/nosuch?link=1")[0] == 404
    assert http.ask("DELETE", "/containers/app/x?link=1")[0] == 204
    assert links(http, "app") == ["/db:/app/y"]
    assert names(http) == {"/db": ["/app/y", "/db"], "/app": ["/app"]}
    assert http.ask("DELETE", "/containers//app/y?link=1")[0] == 204
    assert links(http, "app") is None
    assert http.ask("POST", "/containers/app/start")[0] == 204


def test_by_its_link_a_container_is_removed(http: Connection) -> None:
    made(http, "db")
    made(http, "app", "db:x")
    assert http.ask("DELETE", "/containers/app/x")[0] == 204
    assert list(names(http)) == ["/app"]
    assert links(http, "app") is None
    status, answer = http.ask("POST", "/containers/app/start")
    assert (status, answer["message"]) == (
        409,
        "Cannot link to a removed container AS /app/x: remove the link with rm --link app/x",
    )
    assert http.ask("DELETE", "/containers/app/x?link=1")[0] == 204
    assert http.ask("POST", "/containers/app/start")[0] == 204


@pytest.mark.parametrize(
    ("link", "text"),
    [
        ("nosuch:x", "could not get container for nosuch: No such container: nosuch"),
        ("host:x", "conflicting options: host type networking can't be used with links. This would result in "),
        ("db:a:b", "bad format for links: db:a:b"),
        ("db:", "bad format for links: db:"),
        (":x", "bad format for links: :x"),
        ("", "empty string specified for links"),
    ],
)
def test_links_that_cannot_be(http: Connection, link: str, text: str) -> None:
    made(http, "db")
    made(http, "host", mode="host")
    status, answer = create(http, "app", link)
    assert status == 400 and answer["message"].startswith(text)
    assert create(http, "app", "db:x", mode="host")[0] == 400
    assert create(http, "app", "db:x", mode="container:db")[0] == 400
    assert create(http, "app", "db:x")[0] == 201


def test_a_start_needs_what_it_is_linked_to(http: Connection) -> None:
    assert http.ask("POST", "/networks/create", {"Name": "n1"})[0] == 201
    made(http, "db")
    made(http, "elsewhere", mode="n1")
    made(http, "member", mode="container:db")
    made(http, "app", "db:x")
    made(http, "far", "elsewhere:x")
    made(http, "near", "member:x")
    assert links(http, "near") == ["/db:/near/x"]  # the network is db's
    for name, text in (
        ("app", "Cannot link to a non running container: /db AS /app/x"),
        ("far", "Cannot link to /elsewhere, as it does not belong to the default network"),
    ):
        status, answer = http.ask("POST", f"/containers/{name}/start")
        assert (status, answer["message"]) == (409, text)
    assert http.ask("POST", "/containers/db/start")[0] == 204
    assert http.ask("POST", "/containers/app/start")[0] == 204


def test_in_user_defined_networks_links_are_the_endpoints(http: Connection) -> None:
    assert http.ask("POST", "/networks/create", {"Name": "n1"})[0] == 201
    status, answer = create(http, "silent", "nosuch:x", mode="n1")
    assert status == 201 and "HostConfig.Links has no effect" in answer["Warnings"][0]
    made(http, "app", "nosuch:x", mode="n1", Links=["nosuch:x"])
    for name in ("silent", "app"):
        assert links(http, name) is None
        assert http.ask("POST", f"/containers/{name}/start")[0] == 204
    shown = http.ask("GET", "/containers/app/json")[1]["NetworkSettings"]["Networks"]["n1"]
    assert shown["Links"] == ["nosuch:x"]
    status, answer = create(http, "odd", mode="n1", Links=["a:b:c"])
    assert (status, answer["message"]) == (400, "bad format for links: a:b:c")
