"""`logs -f` over a connection that breaks: each entry once."""

from __future__ import annotations

import socket
from collections.abc import Callable

import pytest

from corten.cli import again
from corten.cli.following import Entries
from corten.client.errors import BadAnswer
from unit.cli.scripted import Daemon, Request, frame, reply

Corten = Callable[..., tuple[int, str, str]]
ONE, TWO, THREE = (f"2026-01-02T03:04:0{n}.000000009Z" for n in (1, 2, 3))
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\nTransfer-Encoding: chunked\r\n\r\n"
FRAMED, RAW = b"application/vnd.docker.multiplexed-stream", b"application/vnd.docker.raw-stream"


def entry(time: str, text: str, stream: int = 1) -> bytes:
    return frame(stream, f"{time} {text}".encode())


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_entries_in_any_pieces(size: int) -> None:
    data = entry(ONE, "a\n") + entry(ONE, "b c\n") + entry(TWO, "oops\n", 2)
    for with_times, shown in ((False, b"a\nb c\noops\n"), (True, f"{ONE} a\n{ONE} b c\n{TWO} oops\n".encode())):
        entries = Entries(with_times)
        pieces = [data[at : at + size] for at in range(0, len(data), size)]
        assert b"".join(text for piece in pieces for _, text in entries.feed(piece)) == shown


def test_what_was_shown_is_left_out_afterwards() -> None:
    entries = Entries(False)
    assert entries.resume() == {}
    entries.feed(entry(ONE, "a\n") + entry(TWO, "b\n") + entry(TWO, "c\n") + entry(TWO, "torn")[:-2])
    assert entries.resume() == {"since": "1767323042.000000009", "tail": "all"}
    again = entry(TWO, "b\n") + entry(TWO, "c\n") + entry(TWO, "d\n") + entry(THREE, "e\n")
    assert entries.feed(again) == [(1, b"d\ne\n")]
    assert entries.resume() == {"since": "1767323043.000000009", "tail": "all"}
    assert entries.feed(entry(THREE, "e\n") + entry(THREE, "f\n")) == [(1, b"f\n")]


def test_what_is_no_frame_is_refused() -> None:
    for data in (b"\x09\0\0\0\0\0\0\1", b"\x01\0\0\0\xff\xff\xff\xff"):
        with pytest.raises(BadAnswer, match="unrecognized stream frame"):
            Entries(False).feed(data)


def test_asked_again_from_the_last_entry_on(daemon: Daemon, corten: Corten) -> None:
    """One daemon breaks off, one is shutting down, the next one goes on."""
    answers = [
        HEAD % FRAMED + chunk(entry(ONE, "a\n") + entry(TWO, "b\n")),
        reply(503, {"message": "the daemon is shutting down"}),
        HEAD % FRAMED + chunk(entry(TWO, "b\n") + entry(THREE, "c\n")) + b"0\r\n\r\n",
    ]

    def logs(_request: Request, connection: socket.socket) -> None:
        answer = answers.pop(0)
        connection.sendall(answer)
        if len(answers) == 2:
            connection.shutdown(socket.SHUT_RDWR)

    daemon.on("GET /containers/c/json", reply(200, {"Config": {"Tty": True}}))
    daemon.on("GET /containers/c/logs", logs)
    assert corten("logs", "-f", "--tail", "5", "c") == (0, "a\nb\nc\n", "")
    first, *later = [one.query for one in daemon.requests if one.path.endswith("/logs")]
    assert "tail=5" in first and "timestamps=1" in first and "frames=1" in first and "since" not in first
    assert len(later) == 2
    assert all("since=1767323042.000000009" in query and "tail=all" in query for query in later)


def test_a_daemon_that_does_not_frame_a_terminal(daemon: Daemon, corten: Corten) -> None:
    """It is asked for the output as it is: dockerd's, or an older one's."""

    def logs(request: Request, connection: socket.socket) -> None:
        connection.sendall(HEAD % RAW + chunk(b"2026 a\n" if "timestamps" in request.query else b"a\n") + b"0\r\n\r\n")

    daemon.on("GET /containers/c/json", reply(200, {"Config": {"Tty": True}}))
    daemon.on("GET /containers/c/logs", logs)
    assert corten("logs", "-f", "c") == (0, "a\n", "")


def test_no_daemon_comes(daemon: Daemon, corten: Corten, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error is that of the connection that was lost."""
    monkeypatch.setattr(again, "PATIENCE", 0.0)

    def logs(_request: Request, connection: socket.socket) -> None:
        connection.sendall(HEAD % FRAMED + chunk(entry(ONE, "a\n")))
        daemon.close()
        connection.shutdown(socket.SHUT_RDWR)

    daemon.on("GET /containers/c/json", reply(200, {"Config": {"Tty": False}}))
    daemon.on("GET /containers/c/logs", logs)
    code, out, err = corten("logs", "-f", "c")
    assert (code, out) == (1, "a\n")
    assert err == "the daemon closed the connection in the middle of an answer\n"
