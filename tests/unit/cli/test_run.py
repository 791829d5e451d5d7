"""run, create, exec, start, attach and wait: the order of requests, exit codes, streams."""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from corten.cli import output, waiting
from unit.cli.scripted import UPGRADED, Daemon, Request, frame, reply, stream

Corten = Callable[..., tuple[int, str, str]]
ID = "c" * 64


def script(daemon: Daemon, output: bytes = b"", code: int = 0, headers: dict[str, str] | None = None) -> None:
    """A container that writes `output` once it is started, then ends with `code`."""

    def attach(_request: Request, connection: socket.socket) -> None:
        connection.sendall(UPGRADED + output)
        connection.shutdown(socket.SHUT_WR)

    daemon.on("POST /containers/create", reply(201, {"Id": ID, "Warnings": []}))
    daemon.on(f"POST /containers/{ID}/attach", attach)
    daemon.on(f"POST /containers/{ID}/wait", reply(200, {"StatusCode": code, "Error": None}))
    daemon.on(f"POST /containers/{ID}/start", reply(204, None, headers))


def test_attach_and_wait_come_before_start(daemon: Daemon, corten: Corten) -> None:
    script(daemon, frame(1, b"out\n") + frame(2, b"err\n"), 3)
    assert corten("run", "--name", "n", "busybox", "sh", "-c", "x") == (3, "out\n", "err\n")
    assert daemon.named()[0] == "POST /containers/create"
    assert set(daemon.named()[1:3]) == {f"POST /containers/{ID}/attach", f"POST /containers/{ID}/wait"}
    assert daemon.named()[3] == f"POST /containers/{ID}/start"
    assert daemon.request("POST /containers/create").query == "name=n"
    assert daemon.request(f"POST /containers/{ID}/wait").query == "condition=next-exit"


def test_removal_is_waited_for(daemon: Daemon, corten: Corten) -> None:
    script(daemon)
    assert corten("run", "--rm", "busybox")[0] == 0
    assert daemon.request(f"POST /containers/{ID}/wait").query == "condition=removed"
    assert daemon.request("POST /containers/create").json()["HostConfig"]["AutoRemove"] is True


def test_in_the_background_the_id_is_printed(daemon: Daemon, corten: Corten) -> None:
    script(daemon)
    assert corten("run", "-d", "busybox") == (0, ID + "\n", "")
    assert daemon.named() == ["POST /containers/create", f"POST /containers/{ID}/start"]


def test_what_a_long_start_waits_for_is_said(daemon: Daemon, corten: Corten, monkeypatch: pytest.MonkeyPatch) -> None:
    """And a start that is quick, or waits for nothing that the daemon knows of, is as before."""
    monkeypatch.setattr(waiting, "SILENCE", 0.01)
    script(daemon)
    asked, said = threading.Event(), threading.Event()

    def inspect(_request: Request, connection: socket.socket) -> None:
        connection.sendall(reply(200, {"Id": ID, "Waiting": "a guest boots"} if asked.is_set() else {"Id": ID}))
        asked.set()

    def shown(text: str) -> None:
        output.err(text)
        said.set()

    def start(_request: Request, connection: socket.socket) -> None:
        assert said.wait(60)
        connection.sendall(reply(204))

    monkeypatch.setattr(waiting, "err", shown)
    daemon.on(f"GET /containers/{ID}/json", inspect)
    daemon.on(f"POST /containers/{ID}/start", start)
    code, out, err = corten("run", "-d", "busybox")
    assert (code, out) == (0, ID + "\n") and err == f"corten: {ID[:12]} waits: a guest boots\n"


def test_a_missing_image_is_pulled_once(daemon: Daemon, corten: Corten) -> None:
    script(daemon)
    created = []

    def create(_request: Request, connection: socket.socket) -> None:
        created.append(1)
        missing = reply(404, {"message": "No such image: host:5/img:latest"})
        connection.sendall(reply(201, {"Id": ID}) if len(created) > 1 else missing)

    daemon.on("POST /containers/create", create)
    daemon.on("POST /images/create", stream({"status": "Pulling from img", "id": "latest"}, {"status": "Status: done"}))
    code, out, err = corten("run", "host:5/img")
    assert (code, out) == (0, "")
    assert err == "Unable to find image 'host:5/img:latest' locally\nlatest: Pulling from img\nStatus: done\n"
    assert daemon.request("POST /images/create").query == "fromImage=host%3A5%2Fimg&tag=latest"
    assert len(created) == 2


def test_an_error_in_the_pull_is_the_end(daemon: Daemon, corten: Corten) -> None:
    daemon.on("POST /containers/create", reply(404, {"message": "No such image: img:1"}))
    daemon.on("POST /images/create", stream({"errorDetail": {"message": "denied"}, "error": "denied"}))
    code, _, err = corten("run", "img:1")
    assert code == 125
    assert err == "Unable to find image 'img:1' locally\ncorten: denied.\nSee 'corten run --help'.\n"


def test_never_pulling_means_no_such_image(daemon: Daemon, corten: Corten) -> None:
    daemon.on("POST /containers/create", reply(404, {"message": "No such image: img:1"}))
    code, _, err = corten("run", "--pull", "never", "img:1")
    assert (code, err) == (125, "corten: Error response from daemon: No such image: img:1.\nSee 'corten run --help'.\n")


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ('exec: "nope": executable file not found in $PATH', 127),
        ("exec: /x: no such file or directory", 127),
        ('exec: "/etc": permission denied', 126),
        ("port is already allocated", 125),
        ("Are you trying to mount a directory onto a file (or vice-versa)?", 125),
        ("it has a full stop.", 125),
    ],
)
def test_a_refused_start_has_dockers_exit_codes(daemon: Daemon, corten: Corten, message: str, code: int) -> None:
    script(daemon)
    daemon.on(f"POST /containers/{ID}/start", reply(400, {"message": message}))
    found, out, err = corten("run", "--rm", "busybox")
    assert (found, out) == (code, "")
    sentence = message if message[-1] in ".?" else f"{message}."
    assert err == f"corten: Error response from daemon: {sentence}\nSee 'corten run --help'.\n"


def test_a_name_in_use_is_125(daemon: Daemon, corten: Corten) -> None:
    daemon.on("POST /containers/create", reply(409, {"message": "Conflict."}))
    assert corten("run", "busybox")[0] == 125
    assert corten("create", "busybox")[:2] == (1, "")


def test_warnings_are_shown(daemon: Daemon, corten: Corten) -> None:
    script(daemon)
    daemon.on("POST /containers/create", reply(201, {"Id": ID, "Warnings": ["no swap"]}))
    assert corten("run", "busybox")[2] == "WARNING: no swap\n"


def test_the_id_file_is_written_or_not_left_behind(daemon: Daemon, corten: Corten, tmp_path: Path) -> None:
    script(daemon)
    path = tmp_path / "cid"
    assert corten("create", "--cidfile", str(path), "busybox")[0] == 0
    assert path.read_text() == ID
    assert "container ID file found" in corten("run", "--cidfile", str(path), "busybox")[2]
    daemon.on("POST /containers/create", reply(500, {"message": "x"}))
    assert corten("run", "--cidfile", str(tmp_path / "other"), "busybox")[0] == 125
    assert not (tmp_path / "other").exists()


def test_timing_is_a_table_of_both_sides(daemon: Daemon, corten: Corten) -> None:
    script(daemon, headers={"X-Corten-Timing": json.dumps({"network namespace": 0.0012})})
    _, _, err = corten("run", "--rm", "--timing", "busybox")
    lines = [line.split("  ") for line in err.splitlines()]
    assert any(line[1] == "network namespace" and "1.20" in err for line in lines if len(line) > 1)
    assert "client start-up" in err and "daemon, inside create and start" in err


def test_timing_without_the_header_comes_from_inspect(daemon: Daemon, corten: Corten) -> None:
    script(daemon)
    daemon.on(f"GET /containers/{ID}/json", reply(200, {"Id": ID, "Timing": {"mounts": 0.5}}))
    assert "500.00" in corten("run", "--timing", "busybox")[2]


def test_input_goes_in_and_is_half_closed(
    daemon: Daemon, corten: Corten, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    script(daemon)

    def echo(_request: Request, connection: socket.socket) -> None:
        connection.sendall(UPGRADED)
        data = b""
        while part := connection.recv(65536):
            data += part
        connection.sendall(frame(1, b"%d bytes\n" % len(data)))
        connection.shutdown(socket.SHUT_WR)

    daemon.on(f"POST /containers/{ID}/attach", echo)
    source = tmp_path / "in"
    source.write_bytes(b"x" * 3_000_000)
    kept = os.dup(0)
    with source.open("rb") as file:
        os.dup2(file.fileno(), 0)
    try:
        assert corten("run", "-i", "busybox", "cat") == (0, "3000000 bytes\n", "")
    finally:
        os.dup2(kept, 0)
        os.close(kept)


def test_a_terminal_needs_a_terminal(daemon: Daemon, corten: Corten) -> None:
    with open(os.devnull) as nothing:
        kept = os.dup(0)
        os.dup2(nothing.fileno(), 0)
    try:
        assert corten("run", "-it", "busybox") == (1, "", "the input device is not a TTY\n")
    finally:
        os.dup2(kept, 0)
        os.close(kept)
    assert daemon.named() == []


def test_detached_and_attached_contradict(corten: Corten) -> None:
    code, _, err = corten("run", "-d", "-a", "stdout", "busybox")
    assert (code, err.split("\n")[0]) == (
        125,
        "corten: conflicting options: cannot specify both --attach and --detach.",
    )


def test_exec_answers_the_commands_exit_code(daemon: Daemon, corten: Corten) -> None:
    daemon.on("GET /containers/box/json", reply(200, {"Id": ID}))
    daemon.on("POST /containers/box/exec", reply(201, {"Id": "e1"}))

    def start(_request: Request, connection: socket.socket) -> None:
        connection.sendall(UPGRADED + frame(1, b"hi\n"))
        connection.shutdown(socket.SHUT_WR)

    daemon.on("POST /exec/e1/start", start)
    daemon.on("GET /exec/e1/json", reply(200, {"ExitCode": 7, "Running": False}))
    assert corten("exec", "-e", "A=1", "-u", "me", "box", "ls", "-l") == (7, "hi\n", "")
    sent = daemon.request("POST /containers/box/exec").json()
    assert (sent["Cmd"], sent["Env"], sent["User"]) == (["ls", "-l"], ["A=1"], "me")


def test_exec_in_the_background_does_not_wait(daemon: Daemon, corten: Corten) -> None:
    daemon.on("GET /containers/box/json", reply(200, {"Id": ID}))
    daemon.on("POST /containers/box/exec", reply(201, {"Id": "e1"}))
    daemon.on("POST /exec/e1/start", reply(200))
    assert corten("exec", "-d", "box", "ls") == (0, "", "")
    assert daemon.request("POST /exec/e1/start").json() == {"Detach": True, "Tty": False}


def test_start_goes_on_after_a_failure(daemon: Daemon, corten: Corten) -> None:
    daemon.on("POST /containers/a/start", reply(204))
    daemon.on("POST /containers/b/start", reply(404, {"message": "No such container: b"}))
    daemon.on("POST /containers/c/start", b"HTTP/1.1 304 Not Modified\r\n\r\n")
    code, out, err = corten("start", "a", "b", "c")
    assert (code, out) == (1, "a\nc\n")
    assert err == "Error response from daemon: No such container: b\nError: failed to start containers: b\n"


def test_start_attached_answers_the_exit_code(daemon: Daemon, corten: Corten) -> None:
    script(daemon, frame(1, b"again\n"), 4)
    daemon.on("GET /containers/box/json", reply(200, {"Id": ID, "Config": {"Tty": False}, "HostConfig": {}}))
    assert corten("start", "-a", "box") == (4, "again\n", "")


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"Running": False}, "You cannot attach to a stopped container, start it first\n"),
        ({"Running": True, "Paused": True}, "You cannot attach to a paused container, unpause it first\n"),
    ],
)
def test_attach_says_what_to_do_first(daemon: Daemon, corten: Corten, state: dict[str, bool], message: str) -> None:
    daemon.on("GET /containers/box/json", reply(200, {"Id": ID, "State": state, "Config": {}}))
    assert corten("attach", "box") == (1, "", message)


def test_wait_prints_exit_codes(daemon: Daemon, corten: Corten) -> None:
    daemon.on("POST /containers/a/wait", reply(200, {"StatusCode": 137}))
    daemon.on("POST /containers/b/wait", reply(404, {"message": "No such container: b"}))
    assert corten("wait", "a", "b") == (1, "137\n", "Error response from daemon: No such container: b\n")
