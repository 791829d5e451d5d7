"""QEMU's monitor, played by the other end of a socket pair: what is asked, what is answered, and lies."""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from corten.errors import Failed
from corten.vm import qmp
from corten.vm.qmp import Event, Monitor

GREETING: dict[str, Any] = {"QMP": {"version": {}, "capabilities": []}}


class Peer:
    """What QEMU would be: `say` puts lines in before they are asked for."""

    def __init__(self) -> None:
        ours, self.socket = socket.socketpair()
        self.monitor = Monitor(ours, 5)

    def say(self, *messages: Any) -> None:
        for message in messages:
            self.socket.sendall(message if isinstance(message, bytes) else json.dumps(message).encode() + b"\r\n")

    def heard(self) -> list[Any]:
        self.socket.setblocking(False)
        return [json.loads(line) for line in self.socket.recv(1 << 20).splitlines()]


@pytest.fixture
def peer() -> Iterator[Peer]:
    peer = Peer()
    yield peer
    peer.monitor.close()
    peer.socket.close()


def test_the_first_question_negotiates(peer: Peer) -> None:
    peer.say(GREETING, {"return": {}}, {"return": {"status": "running"}}, {"return": 2})
    assert peer.monitor.ask("query-status") == {"status": "running"}
    assert peer.monitor.ask("other", {"a": 1}) == 2
    assert peer.heard() == [
        {"execute": "qmp_capabilities"},
        {"execute": "query-status"},
        {"execute": "other", "arguments": {"a": 1}},
    ]


def test_descriptors_are_beside_the_question(peer: Peer) -> None:
    peer.say(GREETING, {"return": {}}, {"return": {}})
    read, write = os.pipe()
    peer.monitor.ask("getfd", {"fdname": "x"}, [write])
    os.close(write)
    data, fds, _, _ = socket.recv_fds(peer.socket, 1 << 16, 4)
    more, fds2, _, _ = (b"", [], 0, None) if b"getfd" in data else socket.recv_fds(peer.socket, 1 << 16, 4)
    assert b"getfd" in data + more
    (fd,) = fds + fds2
    os.write(fd, b"!")
    assert os.read(read, 1) == b"!"
    os.close(fd)
    os.close(read)


def test_a_refusal_has_qemus_words(peer: Peer) -> None:
    peer.say(GREETING, {"return": {}}, {"error": {"class": "GenericError", "desc": "Bus 'port3' not\x1b found"}})
    with pytest.raises(Failed, match=r"^QEMU refuses device_add: Bus 'port3' not\? found$"):
        peer.monitor.ask("device_add")


def test_events_between_answers_are_kept(peer: Peer) -> None:
    peer.say(GREETING, {"event": "A"}, {"return": {}}, {"event": "B", "data": {"n": 1}}, {"return": 1}, {"event": "C"})
    assert peer.monitor.ask("x") == 1
    assert peer.monitor.events() == [Event("A", {}), Event("B", {"n": 1}), Event("C", {})]
    assert peer.monitor.events() == []


def test_events_before_the_first_question(peer: Peer) -> None:
    peer.say(GREETING)
    assert peer.monitor.events() == []
    peer.say({"return": {}}, {"return": 3})
    assert peer.monitor.ask("x") == 3


@pytest.mark.parametrize("seen", ["among events", "by the next question"])
def test_a_late_answer_is_none_to_the_next_question(peer: Peer, seen: str) -> None:
    peer.say(GREETING, {"return": {}}, {"return": 0})
    assert peer.monitor.ask("x") == 0
    peer.monitor.timeout = 0.05
    with pytest.raises(Failed, match="not answered within 50ms"):
        peer.monitor.ask("stop")
    peer.monitor.timeout = 5
    peer.say({"return": "late"}, {"event": "STOP"})
    if seen == "among events":
        assert peer.monitor.events() == [Event("STOP", {})]
    peer.say({"return": "in time"})
    assert peer.monitor.ask("query-status") == "in time"


def test_what_is_only_sent_is_not_waited_for(peer: Peer) -> None:
    peer.say(GREETING, {"return": {}}, {"return": 0})
    assert peer.monitor.ask("x") == 0
    peer.monitor.send("cont")
    assert peer.heard()[-1] == {"execute": "cont"}
    peer.say({"return": {}}, {"return": 1})
    assert peer.monitor.ask("y") == 1


def test_waiting_for_an_event(peer: Peer) -> None:
    peer.say(GREETING, {"return": {}}, {"event": "STOP"})
    late = threading.Thread(target=peer.say, args=({"event": "MIGRATION", "data": {"status": "completed"}},))
    late.start()
    assert peer.monitor.wait("MIGRATION").data == {"status": "completed"}
    late.join()


def test_only_so_many_events_are_kept(peer: Peer) -> None:
    peer.say(GREETING, {"return": {}}, {"return": 0})
    peer.monitor.ask("x")
    for start in range(0, 2000, 100):
        peer.say(b"".join(b'{"event": "E", "data": {"n": %d}}\n' % n for n in range(start, start + 100)))
        if start % 500 == 0:
            peer.say({"return": start})
            assert peer.monitor.ask("y") == start
    assert [event.data["n"] for event in peer.monitor.events()] == list(range(2000 - 256, 2000))


@pytest.mark.parametrize(
    ("lie", "words"),
    [
        (b"no json\n", "no JSON"),
        (b"[1]\n", "no JSON object"),
        (b"[" * 100_000 + b"\n", "no JSON"),
        (b"\xff\xfe\n", "no JSON"),
    ],
    ids=["text", "list", "deep", "bytes"],
)
def test_lies(peer: Peer, lie: bytes, words: str) -> None:
    peer.say(GREETING, {"return": {}})
    peer.say(lie)
    with pytest.raises(Failed, match=words):
        peer.monitor.ask("x")


def test_a_line_without_an_end(peer: Peer) -> None:
    def flood() -> None:
        try:
            while True:
                peer.socket.sendall(b"x" * 65536)
        except OSError:
            pass

    thread = threading.Thread(target=flood)
    thread.start()
    with pytest.raises(Failed, match="too long"):
        peer.monitor.ask("x")
    assert len(peer.monitor._buffer) <= qmp.MAX_LINE + 65536
    peer.monitor.close()
    thread.join()


def test_the_end(peer: Peer) -> None:
    peer.say(GREETING, {"return": {}})
    peer.socket.shutdown(socket.SHUT_WR)
    with pytest.raises(Failed, match="QEMU has closed its monitor"):
        peer.monitor.ask("x")
    with pytest.raises(Failed, match="QEMU has closed its monitor"):
        peer.monitor.events()


def test_events_without_an_end_are_no_answer() -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        monitor = Monitor(ours, 0.2)

        def flood() -> None:
            try:
                while True:
                    theirs.sendall(b'{"event": "E"}\n' * 1000)
            except OSError:
                pass

        thread = threading.Thread(target=flood)
        thread.start()
        with pytest.raises(Failed, match=r"QEMU has not answered within 200ms"):
            monitor.ask("x")
        with pytest.raises(Failed, match=r"QEMU has not answered within 200ms"):
            monitor.wait("F")
        assert len(monitor.events()) <= 256
        monitor.close()
        thread.join()


def test_silence() -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        monitor = Monitor(ours, 0.05)
        with pytest.raises(Failed, match=r"QEMU has not answered within 50ms"):
            monitor.ask("x")
        monitor.close()


def test_a_second_greeting_is_no_reason_to_look_for_ever(peer: Peer) -> None:
    peer.say(GREETING, {"return": {}}, {"return": {}})
    peer.monitor.ask("query-status")
    peer.say(GREETING, {"event": "STOP"})
    assert peer.monitor.events() == [Event("STOP", {})]
    assert not peer.monitor._buffer


def test_an_answer_that_comes_too_late_is_none_to_the_next_question(peer: Peer) -> None:
    peer.say(GREETING, {"return": {}}, {"return": 1})
    assert peer.monitor.ask("x") == 1
    peer.monitor.timeout = 0.01
    with pytest.raises(Failed, match="has not answered within 10ms"):
        peer.monitor.ask("y")
    peer.monitor.timeout = 5
    peer.say({"return": "of y"}, {"return": "of z"}, {"return": "of w"})
    assert [peer.monitor.ask("z"), peer.monitor.ask("w")] == ["of z", "of w"]
