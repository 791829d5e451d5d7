"""Requests as a daemon writes them, read into types; those of version 1 word for word."""

from __future__ import annotations

import json
from typing import Any

import pytest

from corten.instance.contract import (
    Changes,
    Execution,
    Export,
    Fetch,
    Layer,
    Look,
    NetworkChange,
    Plug,
    Put,
    Refresh,
    Route,
    ServeNames,
    TreeRequest,
)
from corten.supervisor import requests
from corten.supervisor.requests import Attachment

Json = dict[str, Any]

_STREAM = {"stdin": True, "stdout": True, "stderr": False, "mux": True, "early": "61", "detach_keys": "1011",
           "replay": ""}  # fmt: skip
_CLIENT = Attachment(True, True, False, True, b"a", b"\x10\x11", b"")
_PROCESS = {"args": ["sh"], "cwd": "/"}
_EXEC = {"id": "e1", "process": _PROCESS, "terminal": True, "stdin": False, "console_size": [24, 80]}
_EXECUTION = Execution("e1", _PROCESS, True, False, (24, 80))

# As `tasks.task` of version 1 writes them.
VERSION_1: list[tuple[Json, requests.Request]] = [
    ({"do": "start"}, requests.Start()),
    ({"do": "attach", "stream": _STREAM}, requests.Attach(_CLIENT)),
    ({"do": "exec", "exec": _EXEC, "stream": _STREAM}, requests.Exec(_EXECUTION, _CLIENT)),
    ({"do": "exec", "exec": _EXEC}, requests.Exec(_EXECUTION, None)),
    ({"do": "signal", "signal": 15, "all": False}, requests.Signal(15, False)),
    ({"do": "signal", "signal": 9, "all": True}, requests.Signal(9, True)),
    ({"do": "pause"}, requests.Pause()),
    ({"do": "resume"}, requests.Resume()),
    ({"do": "resize", "rows": 24, "columns": 80, "exec": None}, requests.Resize((24, 80), "")),
    ({"do": "resize", "rows": 24, "columns": 80, "exec": "e1"}, requests.Resize((24, 80), "e1")),
    ({"do": "update", "resources": {"pids": {"limit": 3}}}, requests.Update({"pids": {"limit": 3}})),
    ({"do": "pids"}, requests.Processes()),
    ({"do": "stats"}, requests.Counters()),
]


@pytest.mark.parametrize(("message", "request_"), VERSION_1)
def test_requests_of_version_1_are_understood(message: Json, request_: requests.Request) -> None:
    on_the_wire = json.loads(json.dumps({"id": 1, "until": 12.5, **message, "fds": 0}))
    decoded = requests.decode(on_the_wire)
    assert decoded == request_ and type(decoded) is type(request_)


def test_a_signal_to_an_exec_is_a_verb_that_version_1_refuses() -> None:
    """It would take {"do": "signal", "exec": ...} for a signal to the container."""
    assert requests.decode({"do": "signal exec", "exec": "e1", "signal": 9}) == requests.SignalExec("e1", 9)


def test_write_log_is_of_version_5() -> None:
    assert requests.decode({"do": "write log"}) == requests.WriteLog()


def test_reopening_a_log_and_its_format_are_of_version_6() -> None:
    assert requests.decode({"do": "reopen log"}) == requests.ReopenLog()


def test_connecting_to_a_port_is_of_version_7() -> None:
    assert requests.decode({"do": "dial", "port": 80}) == requests.Dial(80)


# As since version 3.
TREES: list[tuple[Json, TreeRequest]] = [
    ({"do": "tree look", "path": "/a"}, Look("/a")),
    ({"do": "tree fetch", "path": "/a"}, Fetch("/a")),
    ({"do": "tree put", "path": "/a", "strict": True, "owner": "bob"}, Put("/a", True, "bob")),
    ({"do": "tree export"}, Export()),
    ({"do": "tree changes"}, Changes()),
    ({"do": "tree layer"}, Layer()),
]


@pytest.mark.parametrize(("message", "request_"), TREES)
def test_requests_about_a_tree(message: Json, request_: TreeRequest) -> None:
    assert requests.encode_tree(request_) == message
    decoded = requests.decode(json.loads(json.dumps({"id": 1, **message, "fds": 2})))
    assert decoded == request_ and type(decoded) is type(request_)


def test_interfaces() -> None:
    attach = requests.decode({"do": "attach interface", "name": "eth0"})
    assert attach == requests.AttachInterface("eth0") and type(attach) is requests.AttachInterface
    detach = requests.decode({"do": "detach interface", "name": "eth0"})
    assert detach == requests.DetachInterface("eth0") and type(detach) is requests.DetachInterface


# As since version 6.
NETWORKS: list[tuple[Json, NetworkChange]] = [
    (
        {"do": "plug interface", "name": "eth1", "mac": "02:42:0a:00:00:02", "mtu": 0, "addresses": ["10.0.0.2/8"],
         "gateways": ["10.0.0.1"]},
        Plug("eth1", "02:42:0a:00:00:02", 0, ("10.0.0.2/8",), ("10.0.0.1",)),
    ),
    ({"do": "route", "name": "eth1", "gateways": ["fe80::1"]}, Route("eth1", ("fe80::1",))),
    ({"do": "serve names"}, ServeNames()),
    ({"do": "refresh files"}, Refresh()),
]  # fmt: skip


@pytest.mark.parametrize(("message", "change"), NETWORKS)
def test_changes_of_a_network(message: Json, change: NetworkChange) -> None:
    assert json.loads(json.dumps(requests.encode_network(change))) == message
    decoded = requests.decode({"id": 1, **message, "fds": 1})
    assert decoded == change and type(decoded) is type(change)


@pytest.mark.parametrize("message", [{}, {"do": "dance"}, {"do": ["start"]}, {"do": "signal", "signal": "x"}])
def test_what_is_no_request_is_refused(message: Json) -> None:
    with pytest.raises(ValueError):
        requests.decode(message)


@pytest.mark.parametrize(
    "message", [{"do": "attach"}, {"do": "exec"}, {"do": "resize", "rows": 1}, {"do": "tree look"}]
)
def test_what_lacks_a_key_is_refused(message: Json) -> None:
    with pytest.raises(KeyError):
        requests.decode(message)


def test_an_instance_to_be_made() -> None:
    message = {
        "do": "create", "id": "c1", "bundle": "/b", "spill": "/s", "run": "/r", "rootfs": [{"type": "overlay"}],
        "log": {"path": "/b/log", "max_size": 1000, "max_file": 3, "attrs": '{"a": 1}'},
        "terminal": True, "open_stdin": True, "stdin_once": False, "console_size": [24, 80],
        "runtime": "/sbin/runc", "runtime_args": ["-x"],
        "cgroup": "/a/c1", "clone_namespaces": ["pid"], "streams": [_STREAM], "filter": True, "fds": 2,
    }  # fmt: skip
    assert requests.decode_create(message) == requests.Create(
        run="/r", bundle="/b", spill="/s", id="c1", runtime="/sbin/runc", runtime_args=("-x",),
        rootfs=({"type": "overlay"},), cgroup="/a/c1", clone_namespaces=("pid",), terminal=True,
        log=requests.Log("/b/log", 1000, 3, '{"a": 1}'),
        open_stdin=True, stdin_once=False, size=(24, 80), has_filter=True, clients=(_CLIENT,),
    )  # fmt: skip


def test_what_is_left_out_of_it() -> None:
    made = requests.decode_create({"do": "create", "bundle": "/b", "run": "/r"})
    assert (made.runtime, made.rootfs, made.clone_namespaces, made.clients) == ("corten", (), None, ())
    assert made.spill == "/b"
    assert made.log == requests.Log("", 0, 1, "") and made.size == (0, 0)
    assert not (made.terminal or made.open_stdin or made.stdin_once or made.has_filter)
    empty = requests.decode_create({"bundle": "/b", "run": "/r", "clone_namespaces": [], "log": None, "streams": None})
    assert empty.clone_namespaces == (), "not None: the first process may be cloned, into none"
