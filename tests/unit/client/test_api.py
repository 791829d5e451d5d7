from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from corten.client import address, connection, containers, images
from corten.client.api import Client, checked, version_key
from corten.client.errors import ApiError, BadAnswer, StreamError
from unit.cli.scripted import UPGRADED, Daemon, Request, reply, stream


@pytest.fixture
def client(daemon: Daemon) -> Iterator[Client]:
    found = Client(address.parse(daemon.url))
    yield found
    found.close()


@pytest.mark.parametrize(("theirs", "spoken"), [("1.50", "1.50"), ("1.41", "1.41"), ("1.60", "1.50"), ("1.9", "1.9")])
def test_the_older_version_of_both_is_spoken(daemon: Daemon, client: Client, theirs: str, spoken: str) -> None:
    daemon.version = theirs
    assert client.version == spoken


def test_versions_are_compared_as_numbers() -> None:
    assert version_key("1.9") < version_key("1.24")
    with pytest.raises(BadAnswer):
        version_key("one")


def test_short_calls_share_a_connection(daemon: Daemon, client: Client) -> None:
    daemon.on("GET /containers/json", reply(200, []))
    assert [containers.listing(client) for _ in range(3)] == [[], [], []]
    assert daemon.connections == 1


def test_a_connection_that_was_closed_is_replaced(daemon: Daemon, client: Client) -> None:
    closed = threading.Event()

    def answer_and_close(_request: Request, connection: socket.socket) -> None:
        connection.sendall(reply(200, []))
        connection.shutdown(socket.SHUT_RDWR)
        closed.set()

    daemon.on("GET /containers/json", answer_and_close)
    assert containers.listing(client) == []
    assert closed.wait(60)
    assert containers.listing(client) == []
    assert daemon.connections == 2


def test_a_refusal_has_its_status_and_message(daemon: Daemon, client: Client) -> None:
    daemon.on("GET /containers/x/json", reply(404, {"message": "No such container: x"}))
    with pytest.raises(ApiError, match=r"^No such container: x$") as caught:
        containers.inspect(client, "x")
    assert caught.value.status == 404


def test_a_refusal_without_json_shows_its_text(daemon: Daemon, client: Client) -> None:
    daemon.on("GET /containers/x/json", b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 4\r\n\r\noops")
    with pytest.raises(ApiError, match=r"oops"):
        containers.inspect(client, "x")


def test_an_answer_that_ends_early_is_an_error(daemon: Daemon, client: Client) -> None:
    def cut(_request: Request, connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")
        connection.shutdown(socket.SHUT_RDWR)

    daemon.on("GET /containers/x/json", cut)
    with pytest.raises(BadAnswer, match=r"middle"):
        containers.inspect(client, "x")


def test_a_head_that_does_not_end_is_given_up(daemon: Daemon, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "HEAD_SECONDS", 0.05)
    given_up = threading.Event()

    def begin(_request: Request, sock: socket.socket) -> None:
        sock.sendall(b"HTTP/1.1 200 OK\r\nX-Slow: ")
        given_up.wait(60)

    daemon.on("GET /containers/x/json", begin)
    with pytest.raises(BadAnswer, match="did not end its answer's headers within"):
        containers.inspect(client, "x")
    given_up.set()


def test_interim_answers_are_passed_over_and_counted(daemon: Daemon, client: Client) -> None:
    interim = b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
    daemon.on("GET /containers/x/json", interim * 5 + reply(200, {"Id": "x"}))
    daemon.on("GET /containers/y/json", interim * 6 + reply(200, {"Id": "y"}))
    assert containers.inspect(client, "x") == {"Id": "x"}
    with pytest.raises(BadAnswer, match="interim answers without end"):
        containers.inspect(client, "y")


def test_not_modified_is_no_error(daemon: Daemon, client: Client) -> None:
    daemon.on("POST /containers/x/start", b"HTTP/1.1 304 Not Modified\r\n\r\n")
    assert containers.start(client, "x").status == 304
    assert containers.start(client, "x").status == 304


def test_filters_are_json_of_sets(daemon: Daemon, client: Client) -> None:
    daemon.on("GET /containers/json", reply(200, []))
    containers.listing(client, everything=True, limit=3, wanted={"label": ["a=b", "c"]})
    query = daemon.requests[-1].query
    expected = "all=1&filters=%7B%22label%22%3A%7B%22a%3Db%22%3Atrue%2C%22c%22%3Atrue%7D%7D&limit=3"
    assert query == expected


def test_a_progress_stream_gives_documents_and_its_error(daemon: Daemon, client: Client) -> None:
    daemon.on("POST /images/create", stream({"status": "a"}, {"errorDetail": {"message": "boom"}, "error": "boom"}))
    answer = images.pull(client, "img", "1")
    documents = list(answer.documents())
    answer.close()
    assert documents[0] == {"status": "a"}
    with pytest.raises(StreamError, match=r"^boom$"):
        checked(documents[1])


def test_an_upgrade_gives_the_socket_and_what_came_early(daemon: Daemon, client: Client) -> None:
    daemon.on("POST /containers/x/attach", UPGRADED + b"early")
    upgraded = containers.attach(client, "x", True, True, False)
    early = upgraded.early
    upgraded.sock.settimeout(5)
    while len(early) < 5:
        early += upgraded.sock.recv(10)
    upgraded.sock.close()
    assert early == b"early"
    assert daemon.requests[-1].headers["upgrade"] == "tcp"
    assert daemon.requests[-1].query == "stdin=1&stdout=1&stream=1"


def test_a_body_of_parts_is_sent_in_chunks(daemon: Daemon, client: Client) -> None:
    daemon.on("POST /images/load", stream({"stream": "ok"}))
    answer = images.load(client, iter([b"abc", b"", b"def"]), quiet=True)
    assert [one["stream"] for one in answer.documents()] == ["ok"]
    answer.close()
    assert daemon.requests[-1].body == b"abcdef"


def test_names_with_slashes_stay_in_the_path(daemon: Daemon, client: Client) -> None:
    daemon.on("GET /images/host:5000/a/b:1/json", reply(200, {"Id": "i"}))
    assert images.inspect(client, "host:5000/a/b:1") == {"Id": "i"}
