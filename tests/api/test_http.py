"""The API as HTTP: statuses, bad input, versions, headers; one kept-alive connection."""

from __future__ import annotations

import http.client
import json
import socket
import threading
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from e2e_parts.patience import until
from fakes.daemon import Connection, Daemon

V = "/v1.45"


def create(http: Connection, *command: str, name: str = "box", **host: Any) -> str:
    body = {"Image": "test", "Cmd": list(command) or ["true"], "HostConfig": host}
    status, answer = http.ask("POST", f"{V}/containers/create?name={name}", body)
    assert status == 201, answer
    id: str = answer["Id"]
    return id


def test_ping_headers_drive_negotiation(http: Connection) -> None:
    for method in ("GET", "HEAD"):
        status, text = http.ask(method, "/_ping")
        assert (status, text) == (200, "OK" if method == "GET" else "")
        for header, value in {"Api-Version": "1.50", "Docker-Experimental": "false", "Ostype": "linux"}.items():
            assert http.headers[header] == value
        assert http.headers["Builder-Version"] == "2" and "no-cache" in http.headers["Cache-Control"]


@pytest.mark.parametrize("prefix", ["", "/v1.24", "/v1.41", "/v1.50"])
def test_versions_served(http: Connection, prefix: str) -> None:
    assert http.ask("GET", f"{prefix}/version")[1]["MinAPIVersion"] == "1.24"


@pytest.mark.parametrize(
    ("version", "text"),
    [
        ("1.51", "client version 1.51 is too new. Maximum supported API version is 1.50"),
        ("2.0", "client version 2.0 is too new. Maximum supported API version is 1.50"),
        ("1.9", "client version 1.9 is too old. Minimum supported API version is 1.24, please upgrade your client"),
    ],
)
def test_versions_refused(http: Connection, version: str, text: str) -> None:
    status, answer = http.ask("GET", f"/v{version}/info")
    assert status == 400 and answer["message"].startswith(text)


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "text"),
    [
        ("GET", "/nosuch", None, 404, "page not found"),
        ("GET", "//version", None, 404, "page not found"),
        ("PUT", "/info", None, 404, "page not found"),
        ("GET", "/v1.45", None, 404, "page not found"),
        ("GET", "/containers/none/json", None, 404, "No such container: none"),
        ("POST", "/containers/create", {}, 400, "Config cannot be empty"),
        ("POST", "/containers/create", {"Image": "missing"}, 404, "No such image: missing:latest"),
        ("POST", "/containers/create", {"Image": 5}, 400, ""),
        ("POST", "/containers/create", {"Image": "test", "HostConfig": []}, 400, ""),
        ("POST", "/containers/create", {"Image": "test", "Cmd": [1]}, 400, ""),
        ("POST", "/containers/create?name=a%2Fb", {"Image": "test"}, 400, "Invalid container name (a/b)"),
        ("POST", "/containers/create", [], 400, "invalid JSON"),
        ("GET", "/containers/json?limit=many", None, 400, "limit"),
        ("GET", "/containers/json?filters=%7Bbad", None, 400, "invalid filter"),
        ("GET", "/containers/json?filters=" + quote('{"status":["odd"]}'), None, 400, "invalid filter 'status=odd'"),
        ("GET", "/containers/json?filters=" + quote('{"name":["["]}'), None, 200, ""),
        ("GET", "/containers/json?filters=" + quote('{"status":{"exited":true}}'), None, 200, ""),
        ("POST", "/containers/prune?filters=" + quote('{"odd":["x"]}'), None, 400, "invalid filter 'odd'"),
        ("GET", "/events?since=yesterday", None, 400, "failed to parse"),
        ("GET", "/events?until=1&filters=" + quote('{"odd":["x"]}'), None, 400, "invalid filter 'odd'"),
        ("POST", "/exec/none/start", {}, 404, "No such exec instance: none"),
        ("GET", "/exec/none/json", None, 404, "No such exec instance: none"),
        ("GET", "/volumes/none", None, 404, "get none: no such volume"),
        ("DELETE", "/volumes/none", None, 404, "get none: no such volume"),
        ("DELETE", "/volumes/none?force=1", None, 204, ""),
        ("POST", "/volumes/create", None, 400, "got EOF while reading request body"),
        ("POST", "/volumes/create", {}, 201, ""),
        ("POST", "/exec/none/start", None, 400, "got EOF while reading request body"),
        ("POST", "/volumes/create", {"Name": "a/b"}, 400, "includes invalid characters"),
        ("POST", "/volumes/create", {"Name": "a"}, 400, "create a: volume name is too short"),
        ("POST", "/volumes/create", {"Name": "a" * 256}, 400, "at most 255 characters"),
        (
            "POST",
            "/containers/create",
            {"Image": "test", "HostConfig": {"Binds": ["1" * 5000 + ":/x"]}},
            400,
            "at most",
        ),
        ("GET", "/images/search?term=x&filters=" + quote('{"stars":["²"]}'), None, 400, "invalid filter"),
        (
            "GET",
            "/images/search?term=x&filters=" + quote('{"stars":["' + "1" * 5000 + '"]}'),
            None,
            400,
            "invalid filter",
        ),
        ("POST", "/volumes/create", {"Name": "ab", "Driver": "nfs"}, 404, 'plugin "nfs" not found'),
        ("POST", "/volumes/create", {"Name": 5}, 400, ""),
        ("POST", "/volumes/create", {"Name": "ab", "Labels": ["x"]}, 400, ""),
        ("GET", "/swarm", None, 503, "not a swarm manager"),
        ("GET", "/images/search?term=x&filters=%7B%22no%22%3A%5B%22x%22%5D%7D", None, 400, "invalid filter"),
        ("POST", "/images/create", None, 400, "has to be named"),
        ("POST", "/images/create?fromImage=127.0.0.1:1/x&platform=nosuch", None, 400, "unknown operating system"),
        (
            "POST",
            "/images/create?fromSrc=http://127.0.0.1:1/x.tar",
            None,
            500,
            'Get "http://127.0.0.1:1/x.tar": dial tcp',
        ),
        ("POST", "/images/create?fromSrc=ftp://x/x.tar", None, 400, "no http:// or https:// URL"),
    ],
)
def test_bad_requests(http: Connection, method: str, path: str, body: Any, status: int, text: str) -> None:
    got, answer = http.ask(method, path, body)
    assert got == status, answer
    if status >= 400:
        assert list(answer) == ["message"] and text in answer["message"]
        assert "internal error" not in answer["message"]


@pytest.mark.parametrize(
    ("data", "kind", "status"),
    [
        (b"", "application/json", 400),
        (b"", "", 400),
        (b"{bad", "application/json", 400),
        (b'{"Image":"test"', "application/json", 400),
        (b'{"Image":"test"} trailing', "application/json", 400),
        (b'{"a":' * 100_000, "application/json", 400),
        (b"[" * 1_000_000, "application/json", 400),
        (b'{"Image":"\xff"}', "application/json", 400),
        (b'{"Image":"test","Env":["A=\xff"]}', "application/json", 201),
        (b'{"Image":"test"}', "text/plain", 400),
        (b'{"Image":"test"}', "application/x-www-form-urlencoded", 400),
        (b'{"Image":"test"}', "application/json; charset=utf-8", 201),
        (b'{"Image":"test","Unknown":[1,2,{"x":null}],"HostConfig":null}', "application/json", 201),
        (b"x" * (5 << 20), "application/json", 413),
    ],
)
def test_bodies(http: Connection, data: bytes, kind: str, status: int) -> None:
    headers = {"Content-Type": kind} if kind else {}
    assert http.ask("POST", "/containers/create", data, **headers)[0] == status


def test_chunked_body_is_bounded(daemon: Daemon) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(daemon.socket)
        sock.sendall(
            b"POST /containers/create HTTP/1.1\r\nHost: d\r\nContent-Type: application/json\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n"
        )
        try:
            for _ in range(8):
                sock.sendall(b"100000\r\n" + b" " * 0x100000 + b"\r\n")
        except ConnectionError:
            pass
        assert b" 413 " in sock.recv(200)


def test_life(http: Connection) -> None:
    id = create(http, "sh", "-c", "exit 3")
    status, _ = http.ask("POST", f"{V}/containers/{id}/start")
    assert status == 204
    assert json.loads(http.headers["X-Corten-Timing"])["total"] > 0
    assert http.ask("POST", f"{V}/containers/{id}/wait") == (200, {"StatusCode": 3})
    assert http.ask("POST", f"{V}/containers/{id}/stop") == (304, "")
    status, shown = http.ask("GET", f"{V}/containers/{id}/json")
    assert (shown["State"]["Status"], shown["State"]["ExitCode"], shown["Name"]) == ("exited", 3, "/box")
    assert shown["Timing"]["total"] > 0
    assert http.ask("DELETE", f"{V}/containers/{id}") == (204, "")
    assert http.ask("DELETE", f"{V}/containers/{id}")[0] == 404


def test_conflicts(http: Connection) -> None:
    id = create(http, "sleep", "60")
    assert http.ask("POST", f"{V}/containers/{id}/kill")[0] == 409
    assert http.ask("POST", f"{V}/containers/{id}/exec", {"Cmd": ["true"]})[0] == 409
    assert http.ask("GET", f"{V}/containers/{id}/top")[0] == 409
    assert http.ask("POST", f"{V}/containers/{id}/start")[0] == 204
    assert http.ask("POST", f"{V}/containers/{id}/start") == (304, "")
    assert http.ask("DELETE", f"{V}/containers/{id}")[0] == 409
    assert http.ask("POST", f"{V}/containers/{id}/kill?signal=NOPE")[0] == 400
    assert http.ask("POST", f"{V}/containers/{id}/exec", {"Cmd": []})[0] == 400
    assert http.ask("GET", f"{V}/containers/{id}/logs")[0] == 400
    assert http.ask("POST", f"{V}/containers/{id}/resize")[0] == 400
    assert http.ask("POST", f"{V}/containers/{id}/attach?stream=1&detachKeys=ctrl-")[0] == 400
    assert http.ask("POST", f"{V}/containers/{id}/wait?condition=odd")[0] == 400
    assert http.ask("DELETE", f"{V}/containers/{id}?force=1")[0] == 204


def test_checkpoints_are_refused(http: Connection) -> None:
    id = http.ask("POST", "/containers/create?name=box", {"Image": "test", "Cmd": ["sleep", "60"]})[1]["Id"]
    for method in ("GET", "POST"):
        status, answer = http.ask(method, f"/containers/{id}/checkpoints", {"CheckpointID": "c"})
        assert (status, "checkpoints are not supported" in answer["message"]) == (501, True)
    status, answer = http.ask("POST", "/containers/box/start?checkpoint=c")
    assert (status, answer["message"]) == (400, "checkpoint is only supported in experimental mode")


def test_wait_answers_its_head_at_once(daemon: Daemon, http: Connection) -> None:
    id = create(http, "true")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(60)
        sock.connect(daemon.socket)
        sock.sendall(f"POST {V}/containers/{id}/wait?condition=removed HTTP/1.1\r\nHost: d\r\n\r\n".encode())
        assert sock.recv(4096).startswith(b"HTTP/1.1 200 OK")
        http.ask("POST", f"{V}/containers/{id}/start")
        http.ask("POST", f"{V}/containers/{id}/wait")
        http.ask("DELETE", f"{V}/containers/{id}")
        assert b'{"StatusCode":0}' in sock.recv(4096)


def test_list_filters(http: Connection) -> None:
    for name in ("one", "two"):
        create(http, name=name)

    def names(**filters: list[str]) -> list[str]:
        status, shown = http.ask("GET", f"{V}/containers/json?all=1&filters={quote(json.dumps(filters))}")
        assert status == 200, shown
        return [entry["Names"][0] for entry in shown]

    assert names() == ["/two", "/one"]
    assert names(name=["on"]) == ["/one"]
    assert names(name=["^/two$"]) == ["/two"]
    assert names(status=["created"]) == ["/two", "/one"]
    assert names(before=["two"]) == ["/one"]
    assert names(since=["one"]) == ["/two"]
    assert names(ancestor=["test"]) == ["/two", "/one"]
    assert names(ancestor=["nothing"]) == []
    assert names(label=["of=image"]) == ["/two", "/one"]
    assert names(network=["bridge"]) == ["/two", "/one"]
    assert names(volume=["none"]) == []
    assert names(exited=["0"]) == []
    assert http.ask("GET", f"{V}/containers/json?limit=1")[1][0]["Names"] == ["/two"]
    assert http.ask("GET", f"{V}/containers/json")[1] == []


def test_old_versions_get_their_shapes(http: Connection) -> None:
    create(http)
    new = http.ask("GET", "/v1.50/containers/box/json")[1]["NetworkSettings"]["Networks"]["bridge"]
    old = http.ask("GET", "/v1.41/containers/box/json")[1]["NetworkSettings"]["Networks"]["bridge"]
    assert "DNSNames" in new and "DNSNames" not in old


@pytest.mark.parametrize("prefix", ["", "/v1.41"])
@pytest.mark.parametrize(
    ("what", "answer"),
    [
        ("containers", {"ContainersDeleted": None, "SpaceReclaimed": 0}),
        ("images", {"ImagesDeleted": None, "SpaceReclaimed": 0}),
        ("networks", {"NetworksDeleted": None}),
        ("volumes", {"VolumesDeleted": [], "SpaceReclaimed": 0}),
        ("build", {"CachesDeleted": None, "SpaceReclaimed": 0}),
    ],
)
def test_nothing_to_prune(http: Connection, prefix: str, what: str, answer: Any) -> None:
    """dockerd's answers: null everywhere but for volumes."""
    for _ in range(2):
        assert http.ask("POST", f"{prefix}/{what}/prune") == (200, answer)


def test_browsers_are_refused(http: Connection) -> None:
    for headers in ({"Origin": "http://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}):
        status, answer = http.ask("POST", "/containers/create", {"Image": "test"}, **headers)
        assert status == 403 and "refused" in answer["message"]
    assert http.ask("GET", f"{V}/containers/json?all=1")[1] == []


def test_a_change_is_completed_when_its_client_goes(daemon: Daemon, http: Connection) -> None:
    id = create(http, "sh", "-c", "trap '' TERM; while :; do sleep 0.05; done")
    http.ask("POST", f"{V}/containers/{id}/start")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(daemon.socket)
        sock.sendall(f"POST {V}/containers/{id}/restart?t=0 HTTP/1.1\r\nHost: d\r\n\r\n".encode())
    status, lines = 0, []

    def listen() -> None:
        nonlocal status
        other = Connection(daemon)
        filters = quote('{"event":["restart"]}')
        other.request("GET", f"{V}/events?since=1&filters={filters}")
        answer = other.getresponse()
        lines.append(json.loads(answer.readline()))
        status = answer.status
        other.close()

    thread = threading.Thread(target=listen)
    thread.start()
    thread.join(60)
    assert status == 200 and lines[0]["Action"] == "restart"


def test_the_end_of_the_daemon_is_the_end_of_its_streams(tmp_path: Path) -> None:
    with Daemon(tmp_path) as daemon:
        listening = Connection(daemon)
        listening.request("GET", "/events")
        answer = listening.getresponse()
    with pytest.raises(http.client.IncompleteRead):
        answer.read()
    listening.close()


def test_a_fault_behind_the_head_of_an_answer_cuts_it(
    daemon: Daemon, http: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the answer to a fault says would be taken for more of the first one's content."""

    def fails(value: object) -> bytes:
        raise ValueError("a fault of ours")

    monkeypatch.setattr("corten.api.events.encode_line", fails)
    create(http, "true")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(60)
        sock.connect(daemon.socket)
        sock.sendall(b"GET /events?since=1 HTTP/1.1\r\nHost: d\r\n\r\n")
        got = b""
        while piece := sock.recv(1 << 16):
            got += piece
    assert got.startswith(b"HTTP/1.1 200 ") and got.count(b"HTTP/1.1") == 1 and not got.endswith(b"0\r\n\r\n")
    assert http.ask("GET", "/_ping") == (200, "OK")


def test_streams_of_clients_that_go_leave_nothing(daemon: Daemon, http: Connection) -> None:
    """A hundred followers and attached clients that vanish: no descriptors stay behind."""
    id = create(http, "sleep", "60")
    http.ask("POST", f"{V}/containers/{id}/start")
    paths = [f"GET {V}/events", f"GET {V}/containers/{id}/logs?stdout=1&follow=1", f"POST {V}/containers/{id}/wait"]

    def vanish(rounds: int) -> None:
        for number in range(rounds):
            with socket.socket(socket.AF_UNIX) as sock:
                sock.settimeout(60)
                sock.connect(daemon.socket)
                sock.sendall(f"{paths[number % 3]} HTTP/1.1\r\nHost: d\r\n\r\n".encode())
                sock.recv(100)

    def shown(what: str) -> int:
        return int(http.ask("GET", f"{V}/info")[1][what])

    vanish(3)
    before = shown("NFd")
    vanish(99)
    until(lambda: shown("NFd") <= before + 3)  # what a thread has open is closed by it
    until(lambda: shown("NEventsListener") <= 1)


@pytest.mark.parametrize("expect", ["100-continue", "100-Continue"])
def test_a_client_that_waits_is_asked_for_its_body(daemon: Daemon, expect: str) -> None:
    """As curl does with more than a megabyte: without an interim answer it waits a second."""
    body = b'{"Image":"test"}'
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(60)
        sock.connect(daemon.socket)
        sock.sendall(
            b"POST /containers/create HTTP/1.1\r\nHost: d\r\nContent-Type: application/json\r\n"
            b"Expect: %b\r\nContent-Length: %d\r\n\r\n" % (expect.encode(), len(body))
        )
        assert sock.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        sock.sendall(body)
        assert sock.recv(1000).startswith(b"HTTP/1.1 201 ")


@pytest.mark.parametrize(
    ("path", "expect", "status"),
    [("/nosuch", "100-continue", 404), ("/containers/none/archive?path=/", "100-continue", 404), ("/info", "foo", 417)],
)
def test_an_answer_without_the_body_is_the_last(daemon: Daemon, path: str, expect: str, status: int) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(60)
        sock.connect(daemon.socket)
        sock.sendall(f"PUT {path} HTTP/1.1\r\nHost: d\r\nExpect: {expect}\r\nContent-Length: 3000000\r\n\r\n".encode())
        answer = b""
        while not answer.endswith(b"}\n"):
            answer += sock.recv(1000)
    head, _, body = answer.partition(b"\r\n\r\n")
    assert (
        head.startswith(b"HTTP/1.1 %d " % status)
        and b"Connection: close" in head
        and list(json.loads(body)) == ["message"]
    )


def test_malformed_requests_get_the_api_s_own_errors(daemon: Daemon) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(60)
        sock.connect(daemon.socket)
        sock.sendall(b"GET /info HTTP/1.1\r\nHost d\r\n\r\n")
        head, _, body = sock.recv(4096).partition(b"\r\n\r\n")
    assert b" 400 " in head and b"Server: Corten/" in head and b"Api-Version:" in head
    assert json.loads(body)["message"].startswith("malformed HTTP request: ")
