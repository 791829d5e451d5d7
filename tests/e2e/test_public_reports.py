"""What public bug reports of other engines do, and no other test does: the answers are dockerd's."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from e2e_parts.clients import Client
from e2e_parts.cortend import IMAGE, Cortend
from e2e_parts.http import hijack
from e2e_parts.patience import until
from fault_parts.fragile import frames

SCRIPT = b"seq 1 5000; echo the end >&2; exit 7\n"


def heard(sock: socket.socket) -> list[tuple[int, str]]:
    with sock:
        return frames(b"".join(iter(lambda: sock.recv(1 << 16), b"")))


@pytest.mark.parametrize("first", ["attach", "start"])
def test_a_script_by_standard_input(daemon: Cortend, first: str) -> None:
    """GitLab's runner: what it pipes into a shell comes whole, and the end of it ends the container."""
    flags = ("OpenStdin", "StdinOnce", "AttachStdin", "AttachStdout", "AttachStderr")
    body = {"Image": IMAGE, "Cmd": ["sh"], **dict.fromkeys(flags, True)}
    id = daemon.ask("POST", "/containers/create", body)[1]["Id"]
    if first == "start":
        assert daemon.ask("POST", f"/containers/{id}/start")[0] == 204
    stream = hijack(daemon.socket, f"/containers/{id}/attach?stream=1&stdin=1&stdout=1&stderr=1")
    if first == "attach":
        assert daemon.ask("POST", f"/containers/{id}/start")[0] == 204
    stream.sendall(SCRIPT)
    stream.shutdown(socket.SHUT_WR)
    said = heard(stream)
    assert "".join(text for kind, text in said if kind == 1) == "".join(f"{n}\n" for n in range(1, 5001))
    assert "".join(text for kind, text in said if kind == 2) == "the end\n"
    assert daemon.ask("POST", f"/containers/{id}/wait")[1]["StatusCode"] == 7


@pytest.fixture
def running(docker: Client) -> Iterator[str]:
    docker("run", "-d", "--name", "target", IMAGE, "sleep", "1000")
    yield "target"


def test_an_exec_of_which_the_input_is_empty(cli: Client, running: str) -> None:
    for _ in range(3):
        assert cli.out("exec", "-i", running, "sh", "-c", "cat; echo over", input="") == "over"


def test_input_alone(cli: Client) -> None:
    """`-a stdin`: what the program says is in the log only, and the client ends with it."""
    done = cli("run", "-i", "-a", "stdin", "--name", "alone", IMAGE, "sh", "-c", "cat; exit 4", input="text\n", code=4)
    assert done.out == ""
    assert cli.out("logs", "alone") == "text"


def test_the_size_of_an_exec_s_terminal(daemon: Cortend, running: str) -> None:
    """It can be said with the start, and after it while the exec runs."""
    body = {"Cmd": ["sh", "-c", "stty size; read x; stty size"], "Tty": True, "AttachStdout": True, "AttachStdin": True}
    id = daemon.ask("POST", f"/containers/{running}/exec", body)[1]["Id"]
    assert daemon.ask("POST", f"/exec/{id}/resize?h=5&w=6")[0] == 409
    with daemon.connection() as connection:
        connection.request(
            "POST", f"/exec/{id}/start", b'{"Tty":true,"ConsoleSize":[37,91]}', {"Content-Type": "application/json"}
        )
        connection.sock.settimeout(60)
        said = b""
        while b"\r\n\r\n" not in said or not said.endswith(b"\r\n"):
            said += connection.sock.recv(1 << 16)
        while b"37 91" not in said:
            said += connection.sock.recv(1 << 16)
        assert daemon.ask("POST", f"/exec/{id}/resize?h=31&w=7")[0] in (200, 201)
        connection.sock.sendall(b"\n")
        while b"31 7" not in said:
            said += connection.sock.recv(1 << 16)
    until(lambda: not daemon.get(f"/exec/{id}/json")["Running"])
    assert daemon.ask("POST", f"/exec/{id}/resize?h=5&w=6")[0] == 409


def test_a_size_that_is_sent_at_the_answer_s_first_byte(daemon: Cortend, running: str) -> None:
    """Before the answer has been read, which the start waits for: a size that is lost is not sent again."""
    body = {
        "Cmd": ["sh", "-c", "until stty size | grep '31 7'; do sleep 0.02; done"],
        "Tty": True,
        "AttachStdout": True,
    }
    id = daemon.ask("POST", f"/containers/{running}/exec", body)[1]["Id"]
    with daemon.connection() as connection:
        connection.request("POST", f"/exec/{id}/start", b'{"Tty":true}', {"Content-Type": "application/json"})
        until(lambda: connection.sock.recv(9, socket.MSG_PEEK), lambda head: head.startswith(b"HTTP/1.1 "))
        assert daemon.ask("POST", f"/exec/{id}/resize?h=31&w=7")[0] in (200, 201)
        said = b""
        while piece := connection.sock.recv(1 << 16):
            said += piece
    assert said.endswith(b"31 7\r\n")


def test_requests_while_it_waits_for_its_restart(daemon: Cortend, docker: Client) -> None:
    docker("run", "-d", "--name", "again", "--restart", "always", IMAGE, "false")

    def waits() -> bool:
        state = daemon.get("/containers/again/json")
        return bool(
            state["State"]["Status"] == "restarting" and state["RestartCount"] >= 6
        )  # the next one is seconds away

    until(waits)
    status, answer = daemon.ask("POST", "/containers/again/exec", {"Cmd": ["true"]})
    assert (status, "is restarting, wait until the container is running" in answer["message"]) == (409, True)
    status, answer = daemon.ask("DELETE", "/containers/again")
    assert (status, "container is restarting: stop the container before" in answer["message"]) == (409, True)
    assert daemon.ask("POST", "/containers/again/update", {"Memory": 64 << 20, "MemorySwap": 128 << 20})[0] == 200
    assert daemon.ask("POST", "/containers/again/pause")[0] == 409
    assert daemon.ask("POST", "/containers/again/stop")[0] == 204
    state = daemon.get("/containers/again/json")["State"]
    assert (state["Status"], state["ExitCode"], state["Restarting"]) == ("exited", 1, False)
    assert daemon.ask("DELETE", "/containers/again")[0] == 204


def free_pair() -> int:
    """A port that is free, as the next one is."""
    for port in range(21_000, 31_000, 2):
        with socket.socket() as one, socket.socket() as two:
            try:
                one.bind(("127.0.0.1", port))
                two.bind(("127.0.0.1", port + 1))
            except OSError:
                continue
            return port
    raise AssertionError("no port is free")


def test_a_range_of_ports_for_several_containers(docker: Client) -> None:
    """Each gets the next one of the range that is free; none is left for the third."""
    first = free_pair()
    for number in range(3):
        wanted = f"127.0.0.1:{first}-{first + 1}:80"
        done = docker("run", "-d", "--name", f"r{number}", "-p", wanted, IMAGE, "sleep", "1000", code=None)
        assert (done.code == 0) == (number < 2), done.err
    ports = [docker.out("port", f"r{number}", "80") for number in range(2)]
    assert ports == [f"127.0.0.1:{first}", f"127.0.0.1:{first + 1}"]
    assert "all ports are allocated" in done.err


def test_a_health_check_that_hangs(docker: Client) -> None:
    """It is killed when its time is over, and counts as failed."""
    check = ["--health-cmd", "sleep 2345", "--health-interval", "100ms", "--health-timeout", "200ms"]
    docker("run", "-d", "--name", "slow", *check, "--health-retries", "2", IMAGE, "sleep", "1000")
    state = "{{.State.Health.Status}} {{range .State.Health.Log}}{{.ExitCode}} {{end}}"
    until(lambda: docker.out("inspect", "--format", state, "slow").startswith("unhealthy -1 -1"))
    said = docker.out("inspect", "--format", "{{(index .State.Health.Log 0).Output}}", "slow")
    assert "exceeded timeout (200ms)" in said
    until(lambda: docker.out("top", "slow", "-o", "pid,args").count("sleep 2345") <= 1)  # those of before were killed
