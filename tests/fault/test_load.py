"""Clients by the hundred, clients that do not read, clients that say too much: memory, descriptors and threads stay.

CORTEN_CLIENTS says how many come and go; a night's run takes 1000.
"""

from __future__ import annotations

import hashlib
import json
import os
import resource
import socket
import time
from collections.abc import Iterable
from pathlib import Path

from fault_parts.fragile import Fragile, until

CLIENTS = int(os.environ.get("CORTEN_CLIENTS", "100"))
MEGABYTE = 1 << 20


def files(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


def threads(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/task"))


def memory(pid: int) -> int:
    """Bytes that are this process's own."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return sum(int(line.split()[1]) * 1024 for line in text.splitlines() if line.startswith("Private_"))


def measure(pids: Iterable[int]) -> dict[int, tuple[int, int]]:
    return {pid: (files(pid), memory(pid)) for pid in pids}


def same_again(before: dict[int, tuple[int, int]], growth: int = 3 * MEGABYTE) -> None:
    def settled() -> bool:
        return all(files(pid) <= count for pid, (count, _) in before.items())

    until(settled, f"descriptors are given back: {before} {measure(before)}")
    for pid, (_, held) in before.items():
        assert memory(pid) - held < growth, (pid, held, memory(pid))


def test_attach_and_drop(daemon: Fragile) -> None:
    id = daemon.run("cat", OpenStdin=True, Tty=True)

    def round_(number: int) -> None:
        for at in range(number):
            connection = daemon.attach(id)
            if at % 3 == 0:
                connection.sendall(b"some words\n")
            if at % 3 == 1:
                connection.shutdown(socket.SHUT_WR)
            connection.close()

    round_(10)
    pids = (daemon.pid, daemon.launcher, daemon.supervisor(id))
    before, tasks = measure(pids), threads(daemon.pid)
    round_(CLIENTS)
    same_again(before)
    assert threads(daemon.pid) <= tasks
    assert daemon.state(id)["Running"]


def test_clients_leave_a_supervisor_descriptors_for_the_daemon(daemon: Fragile) -> None:
    """Without one it loses the daemon's connection, and its container is ended. An exec without room says so."""
    id = daemon.run("sleep", "1000")
    supervisor = daemon.supervisor(id)
    _, hard = resource.prlimit(supervisor, resource.RLIMIT_NOFILE)
    resource.prlimit(supervisor, resource.RLIMIT_NOFILE, (80, hard))  # of which a quarter is kept
    attached = [daemon.attach(id) for _ in range(90)]
    until(lambda: files(supervisor) >= 60, "all that there is for clients is used")
    code, text = daemon.inside(id, "true")
    assert code == 126 and "Too many open files" in text
    assert daemon.ask("GET", f"/containers/{id}/top")[0] == 200
    assert daemon.state(id)["Running"]
    for connection in attached:
        connection.close()
    until(lambda: files(supervisor) < 50, "descriptors are given back")
    assert daemon.inside(id, "true") == (0, "")


def test_execs(daemon: Fragile) -> None:
    id = daemon.run("sleep", "1000")
    for _ in range(5):
        daemon.inside(id, "true")
    pids = (daemon.pid, daemon.launcher, daemon.supervisor(id))
    before = measure(pids)
    for _ in range(CLIENTS):
        assert daemon.inside(id, "true") == (0, "")
    same_again(before)
    children = Path(f"/proc/{pids[2]}/task/{pids[2]}/children")
    until(lambda: len(children.read_text().split()) <= 2, "no process that is not waited for")


def test_followers_come_and_go(daemon: Fragile) -> None:
    id = daemon.run("sh", "-c", "while :; do echo x; usleep 5000; done")
    paths = (f"/containers/{id}/logs?follow=1&stdout=1", "/events", f"/containers/{id}/stats?stream=1")

    def round_(number: int) -> None:
        for at in range(number):
            with daemon.connection() as http:
                http.request("GET", paths[at % len(paths)])
                if at % 2:
                    answer = http.getresponse()
                    if "events" not in paths[at % len(paths)]:  # there may be none
                        answer.read(1)

    round_(9)
    before = measure((daemon.pid, daemon.launcher))
    round_(CLIENTS)
    same_again(before)


def test_client_that_never_reads(daemon: Fragile) -> None:
    """The container is not held up, its log is whole, the supervisor stays small, and what was sent waits."""
    size = 50 * MEGABYTE
    write = f"read go; yes 0123456789abcdef | head -c {size}; echo; echo done >&2"
    host = {"LogConfig": {"Type": "json-file", "Config": {"max-size": "1g"}}}
    id = daemon.create("sh", "-c", write, host=host, OpenStdin=True)
    assert daemon.ask("POST", f"/containers/{id}/start")[0] == 204
    unread, starter = daemon.attach(id), daemon.attach(id, "stream=1&stdin=1")
    supervisor = daemon.supervisor(id)
    before = memory(supervisor)
    starter.sendall(b"go\n")
    most = before
    deadline = time.monotonic() + 60
    while daemon.state(id)["Running"]:
        assert time.monotonic() < deadline, "an attached client holds the container up"
        try:
            most = max(most, memory(supervisor))
        except (FileNotFoundError, ProcessLookupError):
            break
        time.sleep(0.02)
    assert most - before < 16 * MEGABYTE
    digest, length = hashlib.sha256(), 0
    with Path(daemon.inspect(id)["LogPath"]).open() as log:
        for line in log:
            record = json.loads(line)
            if record["stream"] == "stdout":
                digest.update(record["log"].encode())
                length += len(record["log"])
    wanted = (b"0123456789abcdef\n" * (size // 17 + 1))[:size] + b"\n"
    assert length == len(wanted) and digest.digest() == hashlib.sha256(wanted).digest()
    received = 0
    while piece := unread.recv(MEGABYTE):
        received += len(piece)
    assert received > size, "what a slow client has not read yet is kept for it"
    unread.close()
    starter.close()


def test_client_that_says_too_much(daemon: Fragile) -> None:
    """A container that never reads: its client is not read either, so no process holds what it would send."""
    id = daemon.run("sleep", "1000", OpenStdin=True)
    connection = daemon.attach(id)
    pids = (daemon.pid, daemon.supervisor(id))
    before = measure(pids)
    connection.settimeout(1)
    sent, piece = 0, bytes(MEGABYTE)
    try:
        while sent < 100 * MEGABYTE:
            sent += connection.send(piece)
    except TimeoutError:
        pass
    assert sent < 20 * MEGABYTE
    for pid, (_, held) in before.items():
        assert memory(pid) - held < 8 * MEGABYTE
    assert daemon.inside(id, "true") == (0, "")
    connection.close()


def test_one_endless_line(daemon: Fragile) -> None:
    """No newline, no end: the supervisor holds one piece of it at a time."""
    size = 30 * MEGABYTE
    id = daemon.run("sh", "-c", f"read go; head -c {size} /dev/zero | tr '\\0' a", OpenStdin=True)
    supervisor, connection = daemon.supervisor(id), daemon.attach(id, "stream=1&stdin=1")
    before = most = memory(supervisor)
    connection.sendall(b"go\n")
    connection.close()
    while daemon.state(id)["Running"]:
        try:
            most = max(most, memory(supervisor))
        except (FileNotFoundError, ProcessLookupError):
            break
    assert most - before < 16 * MEGABYTE
    total = 0
    logs = sorted(Path(daemon.inspect(id)["LogPath"]).parent.glob("*-json.log*"))
    for log in logs:
        with log.open() as lines:
            total += sum(len(json.loads(line)["log"]) for line in lines)
    assert total == size
