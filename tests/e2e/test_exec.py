"""exec and attach, without a terminal."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import IO

import pytest

from e2e_parts import guests
from e2e_parts.clients import Client
from e2e_parts.cortend import IMAGE, Cortend
from e2e_parts.patience import PATIENCE, until


@pytest.fixture
def running(docker: Client) -> Iterator[str]:
    docker("run", "-d", "--name", "target", "-e", "OWN=1", "-w", "/tmp", IMAGE, "sleep", "1000")
    yield "target"


def test_exec(every: Client, running: str) -> None:
    done = every("exec", running, "sh", "-c", "echo out; echo err >&2; exit 9", code=9)
    assert (done.out, done.err) == ("out\n", "err\n")


def test_exec_input_with_half_close(cli: Client, running: str) -> None:
    text = "y" * 500_000
    assert cli("exec", "-i", running, "sh", "-c", "wc -c; echo late", input=text).out.split() == ["500000", "late"]
    assert cli("exec", running, "cat", input=text).out == ""


def test_exec_flags(cli: Client, running: str) -> None:
    flags = ["-e", "NEW=2", "-u", "1000:1000", "-w", "/etc"]
    out = cli.out("exec", *flags, running, "sh", "-c", "echo $OWN $NEW $(id -u):$(id -g) $(pwd)")
    assert out == "1 2 1000:1000 /etc"
    assert cli.out("exec", running, "pwd") == "/tmp"
    status = "grep CapEff /proc/self/status"
    assert cli.out("exec", running, "sh", "-c", status).endswith("a80425fb")
    assert not cli.out("exec", "--privileged", running, "sh", "-c", status).endswith("a80425fb")


def test_exec_is_in_the_containers_namespaces_and_cgroup(cli: Client, running: str) -> None:
    for kind in ("mnt", "pid", "net", "ipc", "uts", "cgroup"):
        script = f"readlink /proc/1/ns/{kind}; readlink /proc/self/ns/{kind}"
        first, second = cli.out("exec", running, "sh", "-c", script).split()
        assert first == second, kind
    script = "md5sum < /proc/1/cgroup; md5sum < /proc/self/cgroup"
    first, second = cli.out("exec", running, "sh", "-c", script).splitlines()
    assert first == second
    assert cli.out("exec", running, "sh", "-c", "ls /proc/self/fd | wc -l") == "4"


def test_exec_into_a_container_that_is_just_ending(daemon: Cortend) -> None:
    """It runs, or the container does not: nothing of how that is taken down is an answer."""
    answers: list[tuple[int, str]] = []

    def enter_again_and_again(id: str) -> None:
        with daemon.connection() as http:
            while True:
                status, made = http.ask("POST", f"/containers/{id}/exec", {"Cmd": ["true"]})
                if status == 201:
                    status, made = http.ask("POST", f"/exec/{made['Id']}/start", {"Detach": True})
                answers.append((status, str(made)))
                if status != 200:
                    return

    for command in (["sleep", "1000"], ["sleep", "0.3"]) * guests.times(daemon, 4, 1):
        status, made = daemon.ask("POST", "/containers/create", {"Image": IMAGE, "Cmd": command})
        assert status == 201
        assert daemon.ask("POST", f"/containers/{made['Id']}/start")[0] == 204
        with ThreadPoolExecutor(3) as clients:
            working = [clients.submit(enter_again_and_again, made["Id"]) for _ in range(3)]
            if command[1] == "1000":
                daemon.ask("POST", f"/containers/{made['Id']}/kill")
        for each in working:
            each.result()
    refused = [text for status, text in answers if status != 200]
    assert {status for status, _ in answers} <= {200, 409} and all("is not running" in text for text in refused)


def test_exec_that_cannot_start(cli: Client, running: str) -> None:
    done = cli("exec", running, "no-such-program", code=127)
    assert "not found" in done.err + done.out
    cli("exec", running, "/etc/passwd", code=126)
    cli("exec", "-w", "/nosuch", running, "true", code=126)
    cli("exec", "-u", "nosuch", running, "true", code=126)
    assert "nosuch" in cli("exec", "nosuch", "true", code=1).err
    cli("stop", "-t", "0", running)
    assert "not running" in cli("exec", running, "true", code=1).err


def test_exec_in_the_background(cli: Client, running: str) -> None:
    assert cli.out("exec", "-d", running, "sh", "-c", "sleep 0.05; touch /tmp/done") == ""
    cli("exec", running, "sh", "-c", "until test -e /tmp/done; do sleep 0.01; done")


def test_exec_by_the_api(docker: Client, daemon: Cortend, running: str) -> None:
    with daemon.connection() as http:
        status, made = http.ask("POST", f"/containers/{running}/exec", {"Cmd": ["sh", "-c", "exit 4"]})
        assert status == 201
        assert http.ask("GET", f"/exec/{made['Id']}/json")[1]["Running"] is False
        assert http.ask("POST", f"/exec/{made['Id']}/start", {"Detach": True})[0] == 200
        shown = until(
            lambda: http.ask("GET", f"/exec/{made['Id']}/json")[1],
            lambda shown: shown["ExitCode"] is not None and not shown["Running"],
        )
        assert shown["ExitCode"] == 4
        assert http.ask("POST", f"/exec/{made['Id']}/start", {"Detach": True})[0] == 409
        assert http.ask("POST", "/exec/nosuch/start", {})[0] == 404


def test_an_exec_ends_with_its_container(docker: Client, running: str) -> None:
    process = docker.popen("exec", running, "sh", "-c", "echo up; sleep 1000")
    assert process.stdout is not None and process.stdout.readline() == b"up\n"
    docker("kill", running)
    assert process.wait(PATIENCE) == 137


def test_many_execs_at_once(corten: Client, running: str) -> None:
    processes = [corten.popen("exec", running, "sh", "-c", f"sleep 0.1; echo {number}") for number in range(12)]
    assert [process.stdout.read() for process in processes if process.stdout] == [b"%d\n" % n for n in range(12)]
    assert [process.wait(PATIENCE) for process in processes] == [0] * 12


def test_attach(cli: Client) -> None:
    script = "while read line; do echo got $line; test $line = end && exit 8; done"
    cli("run", "-d", "-i", "--name", "listener", IMAGE, "sh", "-c", script)
    first, second = cli.popen("attach", "listener"), cli.popen("attach", "--no-stdin", "listener")
    assert first.stdin is not None and first.stdout is not None and second.stdout is not None

    def both_are_there() -> bool:
        assert first.stdin is not None and second.stdout is not None
        first.stdin.write(b"a\n")
        first.stdin.flush()
        return second.stdout in _readable(second.stdout)

    until(both_are_there)
    first.stdin.write(b"end\n")
    first.stdin.flush()
    assert first.wait(PATIENCE) == second.wait(PATIENCE) == 8
    assert first.stdout.read().endswith(b"got end\n") and second.stdout.read().endswith(b"got end\n")
    assert "stopped container" in cli("attach", "listener", code=1).err
    assert "nosuch" in cli("attach", "nosuch", code=1).err


def _readable(stream: IO[bytes]) -> list[IO[bytes]]:
    import select

    return select.select([stream], [], [], 0.1)[0]


def test_stdin_stays_open_for_the_next_client(docker: Client) -> None:
    docker("create", "-i", "--name", "keep", IMAGE, "sh", "-c", "read a; read b; echo $a $b")
    docker("start", "keep")
    done = docker("attach", "keep", input="one\ntwo\n")
    assert done.out == "one two\n"


#: What dockerd 20.10 sends, by Tty of create and by Tty of start: each stream's text where there are frames.
FRAMING: dict[tuple[bool, bool], bytes | dict[int, bytes]] = {
    (False, False): {1: b"out\n", 2: b"err\n"},
    (False, True): b"out\n",
    (True, False): {1: b"out\r\nerr\r\n"},
    (True, True): b"out\r\nerr\r\n",
}


@pytest.mark.parametrize(("created", "started"), FRAMING)
@pytest.mark.parametrize("version", ["1.41", "1.45"])
def test_the_start_says_how_the_stream_is_framed(
    daemon: Cortend, running: str, version: str, created: bool, started: bool
) -> None:
    command = ["sh", "-c", "echo out; echo err >&2"]
    body = {"Cmd": command, "AttachStdout": True, "AttachStderr": True, "Tty": created}
    status, made = daemon.ask("POST", f"/v{version}/containers/{running}/exec", body)
    assert status == 201
    head, _, stream = hijacked(daemon, f"/v{version}/exec/{made['Id']}/start", {"Tty": started}).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 101 ")
    kind = b"multiplexed" if version == "1.45" and not started else b"raw"
    assert b"application/vnd.docker.%s-stream" % kind in head
    assert (stream if started else unframed(stream)) == FRAMING[created, started]


def unframed(stream: bytes) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    while stream:
        number, size = stream[0], int.from_bytes(stream[4:8], "big")
        found[number] = found.get(number, b"") + stream[8 : 8 + size]
        stream = stream[8 + size :]
    return found


def hijacked(daemon: Cortend, path: str, body: object) -> bytes:
    """All that comes back on the connection."""
    data = json.dumps(body).encode()
    upgrade = "Connection: Upgrade\r\nUpgrade: tcp"
    head = f"POST {path} HTTP/1.1\r\nHost: docker\r\nContent-Type: application/json\r\n{upgrade}\r\n"
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(PATIENCE)
        sock.connect(str(daemon.socket))
        sock.sendall(f"{head}Content-Length: {len(data)}\r\n\r\n".encode() + data)
        return b"".join(iter(lambda: sock.recv(65536), b""))
