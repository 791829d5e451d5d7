"""Every route with values that are none: an answer of the 500s says that the engine failed, and it did not."""

from __future__ import annotations

import base64
import http.client
import itertools
import json
import re
from collections.abc import Iterator
from urllib.parse import quote

import pytest

from corten.api.server import _TABLES, _builds, _secrets
from corten.spec.docker.create import CreateRequest
from corten.spec.docker.exec import ExecConfig
from corten.spec.docker.host_config import UpdateConfig
from corten.spec.docker.networking import ConnectRequest, DisconnectRequest, NetworkCreate
from corten.spec.docker.records import record_of
from corten.spec.docker.volume import VolumeCreate
from corten.spec.go_types import Items, Record, Table
from corten.spec.image_config import CONFIG
from e2e_parts.http import Connection
from fault_parts.fragile import Fragile


@pytest.fixture(scope="module", autouse=True)
def names(standing: Fragile) -> None:
    """The process that answers names comes with the first network, and stays."""
    assert standing.ask("POST", "/networks/create", {"Name": "warm"})[0] == 201
    assert standing.ask("DELETE", "/networks/warm")[0] == 204


FILTERS = ('{"a":["\\ud800"]}', '{"label":["\\u0000"]}', '{"until":["x"]}', '{"name":["("]}', "[]", "{", '{"x":1}')
VALUES = ("%00", "%ff", "%ed%a0%80", "9" * 40, "-1", "1e999", "[]", "{}", "%5cud800", "%0a", "a" * 3000,
          "9999999999999999h", *(quote(text) for text in FILTERS))  # fmt: skip
QUERIES: dict[str, tuple[str, ...]] = {
    "/containers/json": ("limit", "filters", "size"),
    "/containers/create": ("name", "platform"),
    "/containers/{id}/logs": ("since", "until", "tail"),
    "/containers/{id}/top": ("ps_args",),
    "/containers/{id}/kill": ("signal",),
    "/containers/{id}/resize": ("h", "w"),
    "/containers/{id}/archive": ("path",),
    "/containers/{id}/rename": ("name",),
    "/images/json": ("filters", "shared-size"),
    "/images/create": ("platform", "repo", "tag", "changes", "fromSrc"),
    "/images/gc": ("policy",),
    "/images/get": ("names", "platform", "since"),
    "/images/search": ("limit", "filters"),
    "/images/{name:all}/tag": ("repo", "tag"),
    "/networks": ("filters",),
    "/volumes": ("filters",),
    "/system/df": ("type",),
    "/commit": ("repo", "tag", "changes"),
}
# What makes a request otherwise right. No name here may be looked for in a registry.
NEEDED = {"/containers/{id}/logs": "stdout=1&", "/images/create": "fromSrc=-&", "/images/search": "term=127.0.0.1:1/x&",
          "/commit": "container=nosuch&"}  # fmt: skip
ODD = (b'"\\u0000"', b'"\\ud800"', b"[null]", b"1e999", b"9" * 400, b'{"\\ud800":[{}]}')
BODIES: dict[str, tuple[Record, bytes]] = {
    "/containers/create": (record_of(CreateRequest), b'"Image":"corten/busybox","Cmd":["true"]'),
    "/containers/odd/update": (record_of(UpdateConfig), b""),
    "/containers/odd/exec": (record_of(ExecConfig), b'"Cmd":["true"]'),
    "/networks/create": (record_of(NetworkCreate), b'"Name":"odd"'),
    "/networks/bridge/connect": (record_of(ConnectRequest), b'"Container":"nosuch"'),
    "/networks/bridge/disconnect": (record_of(DisconnectRequest), b'"Container":"nosuch"'),
    "/volumes/create": (record_of(VolumeCreate), b'"Name":"odd"'),
    "/commit?container=nosuch": (CONFIG, b""),
}


ROUTES = (*itertools.chain(*_TABLES), *_builds(), *_secrets())


def paths() -> Iterator[tuple[str, str]]:
    """(method, path) of every route with each odd value in the places of its parameters."""
    for route in ROUTES:
        if "{" in route.pattern and "distribution" not in route.pattern:
            for value in VALUES:
                if route.method != "DELETE" or not value.isalnum():
                    yield route.method, re.sub(r"\{[^}]*\}", value, route.pattern)


def queries() -> Iterator[tuple[str, str]]:
    """(method, path) of every route that is listed above with each odd value for each of its parameters."""
    for route in ROUTES:
        path = route.pattern.replace("{id}", "odd").replace("{name:all}", "corten/busybox")
        for name in QUERIES.get(route.pattern, ()):
            for value in VALUES:
                yield route.method, f"{path}?{NEEDED.get(route.pattern, '')}{name}={value}"


def fields(record: Record, head: bytes = b"{", tail: bytes = b"}") -> Iterator[tuple[bytes, bytes]]:
    """What stands before and behind the value of each field of a structure, also of those within it."""
    for name, kind in record.fields.items():
        key = head + json.dumps(name).encode() + b":"
        yield key, tail
        match kind:
            case Record():
                yield from fields(kind, key + b"{", b"}" + tail)
            case Items(element=Record() as inner):
                yield from fields(inner, key + b"[{", b"}]" + tail)
            case Table(element=Record() as inner):
                yield from fields(inner, key + b'{"x":{', b"}}" + tail)


def ask(daemon: Fragile, method: str, path: str, body: bytes | None, **headers: str) -> tuple[int, bytes]:
    with Connection(daemon.socket) as connection:
        named = {key.replace("_", "-"): value for key, value in headers.items()}
        connection.request(method, path, body, named)
        answer = connection.getresponse()
        status: int = answer.status
        return status, answer.read() if status >= 400 and method != "HEAD" else b""


def no_fault_of_ours(status: int, answer: bytes) -> bool:
    """A registry that cannot be reached is a 500, as with dockerd."""
    return status < 500 or status in (501, 503) or b"connection refused" in answer


@pytest.mark.parametrize("requests", [paths, queries], ids=["paths", "queries"])
def test_paths_and_queries(daemon: Fragile, requests: object) -> None:
    assert callable(requests)
    daemon.create("sleep", "1000", name="odd")
    assert daemon.ask("POST", "/containers/odd/start")[0] == 204
    for method, path in requests():
        json_body = method == "POST" and "/images/create" not in path
        headers = {"Content_Type": "application/json"} if json_body else {}
        body = b"{}" if json_body else b"" if method in ("POST", "PUT") else None
        status, answer = ask(daemon, method, path, body, **headers)
        assert no_fault_of_ours(status, answer), (method, path[:200], answer[:300])
    for image in daemon.ask("GET", "/images/json")[1]:
        for name in {*(image["RepoTags"] or [image["Id"]])} - {"corten/busybox:latest"}:
            assert daemon.ask("DELETE", f"/images/{name}")[0] == 200
    assert "foresaw" not in daemon.log.read_text()


@pytest.mark.parametrize("path", BODIES)
def test_bodies(daemon: Fragile, path: str) -> None:
    daemon.create("true", name="odd")
    table, given = BODIES[path]
    for head, tail in fields(table):
        for value in ODD:
            body = head + value + tail
            if given and given.split(b":")[0] not in body:
                body = b"{" + given + b"," + body[1:]
            status, answer = ask(daemon, "POST", path, body, Content_Type="application/json")
            assert no_fault_of_ours(status, answer), (body[:200], answer[:300])
            if status == 201:
                daemon.remove_everything()
                daemon.create("true", name="odd")
    for url in ("/containers/json?all=1", "/images/json", "/networks", "/volumes", "/system/df"):
        assert daemon.ask("GET", url)[0] == 200


CREDENTIALS = (b'{"serveraddress":[]}', b'{"serveraddress":5}', b'{"username":{}}', b"[]", b'{"serveraddress":"a b"}',
               b'{"serveraddress":"[::1"}', b'{"serveraddress":"127.0.0.1:99999"}', b'{"serveraddress":"\\ud800"}',
               b'{"password":"\\u0000"}', b'{"serveraddress":".."}')  # fmt: skip


@pytest.mark.parametrize("auth", CREDENTIALS)
def test_credentials(daemon: Fragile, auth: bytes) -> None:
    status, answer = ask(daemon, "POST", "/auth", auth, Content_Type="application/json")
    assert status == 400, answer
    if b"serveraddress" not in auth or b'":"' not in auth:  # elsewhere an address is only compared
        sent = base64.urlsafe_b64encode(auth).decode()
        for method, path in (("GET", "/images/search?term=127.0.0.1:1/x"), ("GET", "/distribution/127.0.0.1:1/x/json")):
            status, answer = ask(daemon, method, path, None, X_Registry_Auth=sent)
            assert status == 400, answer


@pytest.mark.parametrize("arguments", ["--nosuch", "%ff", "-o%20%ff", "%00", "-p", "-o%20nosuch", "-p%2099999999"])
def test_arguments_that_ps_refuses(daemon: Fragile, arguments: str) -> None:
    daemon.create("sleep", "1000", name="odd")
    assert daemon.ask("POST", "/containers/odd/start")[0] == 204
    status, answer = ask(daemon, "GET", f"/containers/odd/top?ps_args={arguments}", None)
    assert status == 400 and b"ps" in answer


def test_names_that_are_not_utf_8(daemon: Fragile) -> None:
    """Found by their bytes, and shown with U+FFFD for each that is none of UTF-8, as Go writes them."""
    daemon.create("sh", "-c", r"touch $(printf '/a\377b'); mkdir $(printf '/d\355\240\200'); sleep 1000", name="odd")
    assert daemon.ask("POST", "/containers/odd/start")[0] == 204
    wanted = [{"Path": "/a\ufffdb", "Kind": 1}, {"Path": "/d\ufffd\ufffd\ufffd", "Kind": 1}]
    while (shown := daemon.ask("GET", "/containers/odd/changes")[1]) != wanted:  # until the shell has come so far
        assert isinstance(shown, list) and len(shown) < 2, shown
    with Connection(daemon.socket) as connection:
        connection.request("HEAD", "/containers/odd/archive?path=/a%FFb")
        answer: http.client.HTTPResponse = connection.getresponse()
        answer.read()
        said = answer.headers["X-Docker-Container-Path-Stat"]
    assert json.loads(base64.b64decode(said))["name"] == "a\ufffdb"
    status, _ = ask(daemon, "GET", "/containers/odd/archive?path=/d%ED%A0%80", None)
    assert status == 200


@pytest.mark.parametrize("path", ["/proc/1/root", "/proc/1/root/etc", "/proc/self/cwd", "/circle", "/circle/x"])
def test_paths_that_lead_nowhere(daemon: Fragile, path: str) -> None:
    """A client's mistake: one line, which names no call of the engine's own."""
    daemon.create("sh", "-c", "ln -s circle /circle; touch /ready; exec sleep 1000", name="odd")
    assert daemon.ask("POST", "/containers/odd/start")[0] == 204
    while ask(daemon, "HEAD", "/containers/odd/archive?path=/ready", None)[0] != 200:
        assert daemon.ask("GET", "/containers/odd/json")[1]["State"]["Running"]
    for method, body in (("GET", None), ("HEAD", None), ("PUT", bytes(1024))):
        status, answer = ask(daemon, method, f"/containers/odd/archive?path={path}", body)
        assert status in (200, 400, 403, 404), (method, status, answer)
        assert status == 200 or (b"openat2" not in answer and b"Errno" not in answer), answer
