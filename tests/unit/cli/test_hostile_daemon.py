"""A daemon whose answers are none of its API's: one clear error, no traceback, and no orders to the terminal."""

from __future__ import annotations

import json
import os
import pty
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest

from corten.cli import jobs
from corten.cli.buildprogress import Plain, Terminal
from corten.cli.gotemplate.documents import one
from corten.cli.output import visible
from corten.cli.progress import Screen
from corten.client import address, api, connection
from unit.cli.scripted import Daemon, Request, reply, stream
from unit.cli.terminals import written

Corten = Callable[..., tuple[int, str, str]]
WRONG: tuple[Any, ...] = (
    None,
    0,
    "x",
    [],
    [None],
    [[]],
    [1],
    {"Id": []},
    [{"Id": 1, "Names": 1, "Created": "x"}],
    True,
)
ASKED = {
    "ps -a": "GET /containers/json",
    "images": "GET /images/json",
    "history x": "GET /images/x/history",
    "top c": "GET /containers/c/top",
    "diff c": "GET /containers/c/changes",
    "volume ls": "GET /volumes",
    "network ls": "GET /networks",
    "secret ls": "GET /stored-secrets",
    "vm ls -a": "GET /vms/json",
    "vm inspect m": "GET /vms/m/json",
    "vm snapshot ls m": "GET /vms/m/snapshots",
    "vm addresses m": "GET /vms/m/addresses",
    "vm exec m true": "POST /vms/m/exec",
    "vm clone m n": "POST /vms/m/clone",
    "vm update m --memory 1g": "POST /vms/m/update",
    "vm wait m": "POST /vms/m/wait",
    "vm ssh m": "GET /vms/m/json",
    "pod ls": "GET /pods/json",
    "pod logs p": "GET /pods/json",
    "system df": "GET /system/df",
    "info": "GET /info",
    "version": "GET /version",
    "port c": "GET /containers/c/json",
    "rmi x": "DELETE /images/x",
    "commit c": "POST /commit",
    "volume create v": "POST /volumes/create",
    "image prune -f": "POST /images/prune",
    "create x": "POST /containers/create",
    "load -i /dev/null": "POST /images/load",
}


@pytest.mark.parametrize("command", ASKED, ids=lambda text: text.replace(" ", "-").replace("/", "."))
def test_answers_of_other_types(command: str, daemon: Daemon, corten: Corten) -> None:
    for wrong in WRONG:
        daemon.on(ASKED[command], reply(200, wrong))
        code, _, err = corten(*command.split())
        assert "Traceback" not in err and (code == 0 or len(err.splitlines()) in (1, 2)), (wrong, err)


def test_what_was_wrong_is_said(daemon: Daemon, corten: Corten) -> None:
    daemon.on("GET /containers/json", reply(200, [1]))
    code, out, err = corten("ps")
    assert (code, out) == (1, "") and err.startswith("cannot use the daemon's answer: ") and "TypeError" in err
    code, _, err = corten("--debug", "ps")
    assert code == 1 and "Traceback" in err


@pytest.mark.parametrize(
    "text",
    [b'[{"Created":NaN}]', b'[{"Created":1e999}]', b'[{"Created":-Infinity}]', b"[" * 100_000],
    ids=["nan", "overflow", "infinity", "deep"],
)
def test_numbers_and_depths_that_json_has_not(text: bytes, daemon: Daemon, corten: Corten) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(text)
    daemon.on("GET /containers/json", head + text)
    code, out, err = corten("ps")
    assert (code, out) == (1, "") and err.startswith("the daemon's answer is not JSON") and len(err.splitlines()) == 1


@pytest.mark.parametrize("level", ["[%s]", '{"a":%s}'], ids=["list", "object"])
def test_depths_that_json_has(level: str, daemon: Daemon, corten: Corten) -> None:
    """An error in one line, or the answer: what is deep enough to be read may be too deep to be shown."""
    deep = "1"
    for depth in range(1, 990):
        deep = level % deep
        if depth % 90 == 0:
            text = f'{{"Id":"x","Config":{deep}}}'.encode()
            head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(text)
            daemon.on("GET /info", head + text)
            for shown in ("{{.}}", "{{json .}}", "{{.Config}}"):
                code, _, err = corten("info", "-f", shown)
                assert "Traceback" not in err and len(err.splitlines()) == (code != 0)


def test_an_image_s_texts_of_tabs(daemon: Daemon, corten: Corten) -> None:
    row = {"Id": "x", "Created": 0, "CreatedBy": "\t", "Size": 0, "Comment": "\t" * 5000 + "end"}
    daemon.on("GET /images/x/history", reply(200, [row, row]))
    code, out, err = corten("history", "--no-trunc", "x")
    assert (code, err) == (0, "") and out.count("end") == 2


def test_lone_surrogates(daemon: Daemon, corten: Corten) -> None:
    daemon.on("GET /containers/c/changes", reply(200, [{"Path": "/a\udcffb\ud800\U0001f600", "Kind": 1}]))
    assert corten("diff", "c") == (0, "A /a\ufffdb\ufffd\U0001f600\n", "")


def test_answers_without_end(daemon: Daemon, corten: Corten, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "MAX_BODY", 1 << 20)
    monkeypatch.setattr(api, "MAX_LINE", 1 << 20)
    daemon.on("GET /containers/json", reply(200, "x" * (2 << 20)))
    assert corten("ps") == (1, "", "the daemon's answer is larger than 1048576 bytes\n")
    daemon.on("GET /events", stream("x" * (2 << 20)))
    assert corten("events") == (1, "", "the daemon's answer has a line of more than 1048576 bytes\n")


@contextmanager
def terminal() -> Iterator[tuple[int, int]]:
    ours, theirs = pty.openpty()
    try:
        yield ours, theirs
    finally:
        os.close(ours)
        os.close(theirs)


def test_control_characters_are_seen_on_a_terminal_and_not_obeyed() -> None:
    text = "a\x1b]0;title\x07\tb\n\x9b2J\x7f\u00e9\r"
    with terminal() as (ours, theirs):
        assert visible(text, theirs) == "a\\x1b]0;title\\x07\tb\n\\x9b2J\\x7f\u00e9\\x0d"
        Screen(theirs).show({"status": "Pulling\x1b[2J", "id": "x\x1b[2J"})
        assert written(ours, theirs) == b"x\\x1b[2J: Pulling\\x1b[2J\r\n"
    read, write = os.pipe()
    assert visible(text, write) == text  # programs get what there is
    os.close(read)
    os.close(write)


def test_templates_keep_their_own_control_characters(monkeypatch: pytest.MonkeyPatch) -> None:
    """`--format $'\\e[31m{{.Name}}'` is what users colour with."""
    monkeypatch.setattr(os, "isatty", lambda fd: True)
    assert one("\x1b[31m{{.Name}}", {"Name": "\x1b[2J"}) == "\x1b[31m\\x1b[2J"
    assert json.loads(one("{{json .}}", {"Name": "\x1b"})) == {"Name": "\x1b"}


def test_names_of_a_build_s_steps_give_no_orders() -> None:
    vertex = {"digest": "a", "name": "RUN \x1b[2J", "started": "2020-01-01T00:00:00Z"}
    with terminal() as (ours, theirs):
        Plain(theirs).show({"vertexes": [vertex]})
        assert written(ours, theirs) == b"#1 RUN \\x1b[2J\r\n"
        build = Terminal(theirs)
        build.show({"vertexes": [vertex]})
        build.end()
        assert b"RUN \\x1b[2J" in written(ours, theirs)


def test_words_outside_of_tables_give_no_orders(
    daemon: Daemon, corten: Corten, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "isatty", lambda fd: True)
    text = "Loaded image: \u00e9\x1b[2J\n"
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n"
    pieces = b"".join(b"1\r\n%c\r\n" % byte for byte in text.encode())
    daemon.on("POST /images/load", head + pieces + b"0\r\n\r\n")
    assert corten("load", "-i", "/dev/null") == (0, "Loaded image: \u00e9\\x1b[2J\n", "")
    daemon.on("GET /networks/n/audit", reply(200, [{"From": "outside", "Obstacles": ["a\x1b[2J"]}]))
    _, _, err = corten("network", "audit", "n")
    assert "pass a\\x1b[2J as well" in err and "\x1b" not in err


@pytest.mark.parametrize(
    "shown",
    [
        {"Networks": {"bridge": {"IPAddress": "-oProxyCommand=id>/tmp/x"}}, "Ports": {}},
        {"Networks": {"bridge": {"IPAddress": "172.17.0.2 -oProxyCommand=id"}}, "Ports": {}},
        {"Networks": {}, "Ports": {"22/tcp": [{"HostIp": "-oProxyCommand=id>/tmp/x", "HostPort": "22"}]}},
        {"Networks": {"bridge": {"IPAddress": "172.17.0.2"}}, "Ports": {}, "Id": "x\nProxyCommand=id"},
    ],
    ids=["address", "words", "port", "id"],
)
def test_addresses_that_ssh_would_take_for_options(
    shown: dict[str, Any], daemon: Daemon, corten: Corten, monkeypatch: pytest.MonkeyPatch
) -> None:
    run: list[list[str]] = []
    monkeypatch.setattr(os, "execvp", lambda _, words: run.append(words))
    id = shown.pop("Id", "0123456789abcdef")
    daemon.on("GET /vms/m/json", reply(200, {"Id": id, "State": {"Running": True}, "NetworkSettings": shown}))
    for command in ("vm ssh m -- true", "vm cp --ssh m:/a .", "vm ssh root@m"):
        code, out, err = corten(*command.split())
        assert (code, out, run) == (1, "", []) and "that is none" in err


def test_an_address_that_is_one(daemon: Daemon, corten: Corten, monkeypatch: pytest.MonkeyPatch) -> None:
    run: list[list[str]] = []
    monkeypatch.setattr(os, "execvp", lambda _, words: run.append(words))
    shown = {"Networks": {"bridge": {"IPAddress": "", "GlobalIPv6Address": "fd00::2"}}, "Ports": {}}
    daemon.on("GET /vms/m/json", reply(200, {"Id": "0" * 64, "State": {"Running": True}, "NetworkSettings": shown}))
    corten("vm", "ssh", "m")
    corten("vm", "cp", "--ssh", "m:/a", ".")
    assert run[0][-1] == "fd00::2" and run[1][-2:] == ["[fd00::2]:/a", "./."]


def test_a_machine_s_disks_choose_no_request_to_another_engine(daemon: Daemon, corten: Corten) -> None:
    """Of a machine that moves, the engine that it leaves says what is asked of the other one, and that may agree."""
    serial = "../../../../containers/create?name=x HTTP/1.1\r\nX: "
    described = {"name": "m", "disks": [{"serial": serial, "volume": "v"}]}
    daemon.on("GET /vms/m/migration", reply(200, described))
    daemon.on("POST /vms/incoming", reply(201, {"Id": "n"}))
    assert corten("vm", "migrate", "m", daemon.url)[0] == 1
    assert not [one for one in daemon.requests if "containers" in one.path and "%2F" not in one.path]


def test_progress_that_is_none_stops_nothing(
    daemon: Daemon, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "_LOOK", 0.01)
    answers: tuple[Any, ...] = (None, 0, [1], [{}], [{"Type": 1, "Current": "x", "Total": 1}], {"a": 1})
    with terminal() as (_, theirs), closing(api.Client(address.parse(daemon.url))) as client:
        for wrong in answers:
            daemon.on("GET /vms/m/jobs", reply(200, wrong))
            asked = len(daemon.requests)
            with jobs.shown(client, "m", theirs):
                deadline = time.monotonic() + 20
                while len(daemon.requests) < asked + 3:
                    assert time.monotonic() < deadline
                    time.sleep(0.005)
    assert "Traceback" not in capfd.readouterr().err


def test_progress_that_does_not_come_keeps_no_command_from_its_end(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "_LOOK", 0.01)
    asked, over = threading.Event(), threading.Event()

    def silent(request: Request, connection: socket.socket) -> None:
        asked.set()
        over.wait(60)

    daemon.on("GET /vms/m/jobs", silent)
    try:
        with terminal() as (_, theirs), closing(api.Client(address.parse(daemon.url))) as client:
            begun = time.monotonic()
            with jobs.shown(client, "m", theirs):
                assert asked.wait(30)
            assert time.monotonic() - begun < 50
    finally:
        over.set()
