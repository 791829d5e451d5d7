"""Peers that say nothing: clients in the middle of an upload, processes that are stopped. Others go on."""

from __future__ import annotations

import io
import os
import signal
import socket
import tarfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

from e2e_parts.cortend import IMAGE
from e2e_parts.patience import PATIENCE, longer
from fault_parts.fragile import Fragile, alive, until
from fault_parts.images import archive
from image_parts import tars

UPLOADS = 200
_SENT = 2 << 20  # bytes of a large upload
QUICK = 5.0  # seconds that silent peers may add, all of which are waited for ten seconds or more


def upload(daemon: Fragile, request: str, begun: bytes = b"") -> socket.socket:
    """A request whose body stops behind `begun`."""
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(PATIENCE)
    client.connect(str(daemon.socket))
    client.sendall(f"{request} HTTP/1.1\r\nHost: d\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
    if begun:
        client.sendall(f"{len(begun):x}\r\n".encode() + begun + b"\r\n")
    return client


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        if alive(pid):
            os.kill(pid, signal.SIGCONT)


def one_more(daemon: Fragile, id: str) -> None:
    """A request, and a command in a container."""
    assert daemon.get("/_ping") and daemon.inside(id, "true") == (0, "")


def removed(daemon: Fragile, id: str) -> tuple[int, Any]:
    return daemon.ask("DELETE", f"/containers/{id}?force=1")


def large_member(name: str = "large") -> bytes:
    """The beginning of a tar with a file of 8 MB."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        member = tarfile.TarInfo(f"blobs/sha256/{name}")
        member.size = 8 << 20
        tar.addfile(member, io.BytesIO(bytes(8 << 20)))
    return buffer.getvalue()[:_SENT]


def test_two_hundred_uploads_that_stop_keep_nothing_else_waiting(daemon: Fragile, beside: Fragile) -> None:
    """Beside them a container has as many files, of the same size, as the uploads leave in the other one."""
    image, ids = archive("small", [tars.file("x", b"x")]), {}
    files = f"for each in $(seq {UPLOADS // 6}); do head -c {_SENT} /dev/zero > /tmp/$each; done; "
    for each, made in ((daemon, ""), (beside, files)):
        id = ids[each] = each.run("sh", "-c", f"{made}echo said; sleep 1000")
        until(lambda: each.output(id) == "said\n", "its output")  # noqa: B023
        assert each.ask("POST", "/images/load", image)[0] == 200
    id = ids[daemon]
    requests: tuple[tuple[str, Callable[[str], bytes]], ...] = (
        ("POST /images/load", lambda name: b""),
        ("POST /images/load", large_member),
        ("POST /images/create?fromSrc=-", lambda name: b"x" * 600),
        (f"PUT /containers/{id}/archive?path=/tmp", lambda name: b""),
        # Files of their own: in one place they wait for the removal of one another's, and unlink(2) for the disk.
        (f"PUT /containers/{id}/archive?path=/tmp", large_member),
        ("POST /containers/create", lambda name: b"{"),
    )
    before = len(os.listdir(f"/proc/{daemon.pid}/fd"))
    with ExitStack() as clients:
        for at in range(UPLOADS):
            request, begun = requests[at % len(requests)]
            clients.enter_context(upload(daemon, request, begun(f"large{at}")))
        until(lambda: len(os.listdir(f"/proc/{daemon.pid}/fd")) >= before + UPLOADS, "all are connected")
        works: tuple[tuple[str, Callable[[Fragile], Any]], ...] = (
            ("logs", lambda of: of.output(ids[of])),
            ("images", lambda of: of.get("/images/json")),
            ("df", lambda of: of.get("/system/df")),
            ("load", lambda of: of.ask("POST", "/images/load", image)),
            ("commit", lambda of: of.ask("POST", f"/commit?container={ids[of]}&repo=kept")),
        )
        for what, work in works:
            took, found = longer(partial(work, daemon), partial(work, beside))
            assert took < QUICK and found, (what, took)
    until(lambda: len(os.listdir(f"/proc/{daemon.pid}/fd")) <= before, "their descriptors are given back")


def test_more_loads_than_there_may_be_are_refused_and_nothing_else(daemon: Fragile) -> None:
    part = large_member()
    with ExitStack() as clients:
        begun = [clients.enter_context(upload(daemon, "POST /images/load", part)) for _ in range(256)]
        threads = f"/proc/{daemon.pid}/task"
        until(lambda: len(os.listdir(threads)) >= 256, "all are being read")
        status, answer = daemon.ask("POST", "/images/load", archive("late", [tars.file("x", b"x")]))
        assert status == 503 and "256 loads and imports are under way" in answer["message"]
        assert daemon.get("/images/json")
        begun[0].close()
        until(
            lambda: daemon.ask("POST", "/images/load", archive("late", [tars.file("x", b"x")]))[0] == 200,
            "there is room for another",
        )


def test_a_stopped_supervisor_and_many_clients_delay_no_other_request(daemon: Fragile, beside: Fragile) -> None:
    id, others = daemon.run("cat", OpenStdin=True), {each: each.run("sleep", "1000") for each in (daemon, beside)}
    before = len(os.listdir(f"/proc/{daemon.pid}/fd"))
    with stopped(daemon.supervisor(id)), ExitStack() as clients:
        for _ in range(350):
            client = clients.enter_context(socket.socket(socket.AF_UNIX))
            client.connect(str(daemon.socket))
            head = f"POST /containers/{id}/attach?stream=1&stdin=1&stdout=1 HTTP/1.1\r\nHost: d\r\nUpgrade: tcp\r\n"
            client.sendall(f"{head}Connection: Upgrade\r\nContent-Length: 0\r\n\r\n".encode() + b"x" * 2000)
        until(lambda: len(os.listdir(f"/proc/{daemon.pid}/fd")) >= before + 350, "all are connected")
        took, _ = longer(partial(one_more, daemon, others[daemon]), partial(one_more, beside, others[beside]))
        assert took < QUICK
        assert daemon.state(id)["Running"] and len(daemon.containers()) == 2
        clients.pop_all().close()
    assert daemon.inside(id, "true") == (0, "")


def test_what_a_stopped_supervisor_is_asked_is_answered(daemon: Fragile, beside: Fragile) -> None:
    """One clear error after ten seconds, to all at once; a client that attaches is hung up on."""
    id, other = daemon.run("cat", OpenStdin=True), beside.run("sleep", "1000")
    asked = ("POST stop", "POST kill", "POST pause", "GET top", "GET stats?stream=0&one-shot=1", "POST resize?h=1&w=1")
    with stopped(daemon.supervisor(id)), ExitStack() as opened:

        def ask() -> None:
            attached = opened.enter_context(daemon.attach(id))
            connections = []
            for method, what in map(str.split, asked):
                connection = opened.enter_context(daemon.connection())
                connection.request(method, f"/containers/{id}/{what}")
                connections.append(connection)
            for what, connection in zip(asked, connections):
                answer = connection.getresponse()
                text = answer.read().decode()
                assert answer.status in (409, 503), (what, answer.status, text)
                assert "cannot reach the supervisor" in text, (what, answer.status, text)
            assert attached.recv(1) == b""

        took, _ = longer(ask, partial(one_more, beside, other))
        assert took < 15
        assert daemon.state(id)["Running"]
    until(lambda: daemon.inside(id, "true") == (0, ""), "it is reached again")


def test_a_container_whose_supervisor_is_stopped_can_be_removed(daemon: Fragile, beside: Fragile) -> None:
    id = daemon.run("sh", "-c", "sleep 1000 & wait")
    supervisor, first = daemon.supervisor(id), daemon.state(id)["Pid"]
    with stopped(supervisor):
        took, (status, answer) = longer(lambda: removed(daemon, id), lambda: removed(beside, beside.run("sleep", "9")))
        assert status == 204, answer
        assert took < 15
        until(lambda: not alive(supervisor) and not alive(first), "the end of its processes")
    assert daemon.outcome("echo", "next") == (0, "next\n")


def fill_queue(daemon: Fragile, id: str, held: ExitStack) -> None:
    """Connections to a stopped supervisor until it can be given no more."""
    directory = os.open(daemon.exec / "containers" / id, os.O_PATH)
    held.callback(os.close, directory)
    while True:
        connection = held.enter_context(socket.socket(socket.AF_UNIX))
        connection.setblocking(False)
        try:
            connection.connect(f"/proc/self/fd/{directory}/supervisor.sock")
        except BlockingIOError:
            return


def test_a_supervisor_that_takes_no_connection_from_a_new_daemon(daemon: Fragile, beside: Fragile) -> None:
    """Its container is there, honest answers are given, and it is reached when it goes on."""
    other = beside.run("sleep", "1000")
    id = daemon.run("sh", "-c", "trap 'exit 7' TERM; while :; do sleep 0.1; done")
    supervisor = daemon.supervisor(id)
    with ExitStack() as held:
        with stopped(supervisor):
            fill_queue(daemon, id, held)
            daemon.kill()
            daemon.start()
            assert daemon.state(id)["Running"]
            for what in ("stop", "kill", "pause"):
                ask = partial(daemon.ask, "POST", f"/containers/{id}/{what}")
                took, (status, answer) = longer(ask, partial(one_more, beside, other))
                assert (status, took < 15) == (503, True) and "cannot reach the supervisor" in answer["message"]
        held.close()
        until(lambda: daemon.ask("POST", f"/containers/{id}/pause")[0] == 204, "it is reached again")
    assert daemon.ask("POST", f"/containers/{id}/unpause")[0] == 204
    assert daemon.inside(id, "true") == (0, "")
    assert daemon.ask("POST", f"/containers/{id}/stop")[0] == 204
    assert daemon.wait(id)["ExitCode"] == 7


def test_a_container_whose_adoption_failed_can_be_removed(daemon: Fragile, beside: Fragile) -> None:
    id = daemon.run("sh", "-c", "sleep 1000 & wait")
    supervisor, first = daemon.supervisor(id), daemon.state(id)["Pid"]
    with stopped(supervisor), ExitStack() as held:
        fill_queue(daemon, id, held)
        daemon.kill()
        daemon.start()
        took, (status, answer) = longer(lambda: removed(daemon, id), lambda: removed(beside, beside.run("sleep", "9")))
        assert (status, took < 15) == (204, True), answer
        until(lambda: not alive(supervisor) and not alive(first), "the end of its processes")
        assert daemon.ask("GET", f"/containers/{id}/json")[0] == 404


def test_a_supervisor_that_ends_before_it_is_reached(daemon: Fragile) -> None:
    """Its container's end is recorded by the daemon that could not reach it."""
    id = daemon.run("sleep", "1000")
    supervisor = daemon.supervisor(id)
    with stopped(supervisor), ExitStack() as held:
        fill_queue(daemon, id, held)
        daemon.kill()
        daemon.start()
        os.kill(supervisor, signal.SIGKILL)
        assert daemon.wait(id)["ExitCode"] == 137


def test_a_stopped_launcher_delays_no_other_request(daemon: Fragile, beside: Fragile) -> None:
    id, other = daemon.run("sleep", "1000"), beside.run("sleep", "1000")
    with stopped(daemon.launcher), ExitStack() as clients:
        for _ in range(400):  # more than its socket takes
            client = clients.enter_context(socket.socket(socket.AF_UNIX))
            client.connect(str(daemon.socket))
            client.sendall(f"GET /containers/{id}/archive?path=/etc HTTP/1.1\r\nHost: d\r\n\r\n".encode())
        took, _ = longer(partial(one_more, daemon, id), partial(one_more, beside, other))
        assert took < QUICK
        clients.pop_all().close()
    assert daemon.outcome("echo", "on") == (0, "on\n")
    assert any(IMAGE in tag for image in daemon.get("/images/json") for tag in image["RepoTags"])
