"""Errors between processes: each class arrives as itself, from whichever helper, and across versions."""

from __future__ import annotations

import errno
import json
import os
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from corten import errors
from corten.error_codec import decode, encode
from corten.errors import CortenError, Failed, StartFailed
from corten.network.bridges import BridgeGone
from corten.runtime.messages import ChildFailed
from corten.supervisor import clone, namespaces, trees, wire, workers
from corten.tasks import answers

CLASSES = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, CortenError)]
NAMED = [kind for kind in CLASSES if kind is not CortenError]
Json = dict[str, Any]


def sent(error: BaseException) -> Json:
    body: Json = json.loads(json.dumps(encode(error)))
    return body


def test_there_are_thirteen_classes() -> None:
    assert len(NAMED) == 13


@pytest.mark.parametrize("kind", NAMED)
def test_each_class_arrives_as_itself(kind: type[CortenError]) -> None:
    error = decode(sent(kind("a text")))
    assert type(error) is kind and str(error) == "a text"


@pytest.mark.parametrize("code", [125, 126, 127])
def test_a_failed_start_keeps_its_exit_code(code: int) -> None:
    for error in (StartFailed("no such program", code), ChildFailed("execve", "no such program", code)):
        arrived = decode(sent(error))
        assert type(arrived) is StartFailed and arrived.exit_code == code and str(arrived) == str(error)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.ENOENT, errno.EACCES, errno.EROFS])
def test_a_failed_system_call_keeps_number_and_text(number: int) -> None:
    arrived = decode(sent(OSError(number, os.strerror(number))))
    assert isinstance(arrived, type(OSError(number, ""))) and arrived.errno == number
    assert arrived.strerror == os.strerror(number)
    arrived = decode(sent(OSError(number, os.strerror(number), b"/a/file")))
    assert isinstance(arrived, OSError) and arrived.strerror == f"{os.strerror(number)}: /a/file"
    assert decode(sent(arrived)).args == arrived.args, "passed on by a process in between"


def test_a_class_of_another_room_arrives_as_the_one_above_it() -> None:
    assert type(decode(sent(BridgeGone("it is gone")))) is Failed


def test_a_class_of_a_later_version_arrives_as_the_nearest_known() -> None:
    later = {"kind": "Quota", "text": "no more", "code": 125, "errno": 0, "bases": ["Limit", "Exhausted"]}
    assert type(decode(later)) is errors.Exhausted
    assert type(decode({**later, "bases": ["Limit"]})) is Failed
    assert type(decode({**later, "bases": ["StartFailed"], "code": 126})) is StartFailed


def test_what_is_no_error_of_ours_is_what_the_reader_says() -> None:
    body = sent(KeyError("bundle"))
    assert type(decode(body)) is Failed and "bundle" in str(decode(body))
    assert type(decode(body, StartFailed)) is StartFailed
    assert str(decode(sent(ValueError()))) == "ValueError", "an error without a text has its class's name"


# As `supervisor.failures.describe` of version 1 writes them: supervisors that wrote these may be running.
VERSION_1: list[tuple[Json, type[Exception], str]] = [
    ({"kind": "ChildFailed", "text": "exec: \"x\": executable file not found", "code": 127, "errno": 2},
     StartFailed, "exec: \"x\": executable file not found"),
    ({"kind": "NotFound", "text": "control group /a does not exist", "code": 125, "errno": 0},
     errors.NotFound, "control group /a does not exist"),
    ({"kind": "IsADirectoryError", "text": "Is a directory: /log", "code": 125, "errno": 21},
     IsADirectoryError, "[Errno 21] Is a directory: /log"),
    ({"kind": "ValueError", "text": "the container has no control group", "code": 125, "errno": 0},
     Failed, "the container has no control group"),
    ({"kind": "Unsupported", "text": "no freezer", "code": 125, "errno": 0}, errors.Unsupported, "no freezer"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "kind", "text"), VERSION_1)
def test_errors_of_version_1_are_understood(body: Json, kind: type[Exception], text: str) -> None:
    error = decode(body)
    assert type(error) is kind and str(error) == text
    assert getattr(error, "exit_code", body["code"]) == body["code"]


def as_version_1_reads(body: Json) -> CortenError:
    """`tasks.task._failure` of version 1, word for word: a daemon that may be started again after an update."""
    known = ("Conflict", "Exhausted", "Failed", "Invalid", "NotFound", "Unsupported")
    kind, text, code = body.get("kind", ""), str(body.get("text", "")), int(body.get("code", 125))
    if kind in known:
        found: CortenError = getattr(errors, kind)(text)
        return found
    return StartFailed(text, code)


def test_version_1_understands_these_errors() -> None:
    found = as_version_1_reads(sent(ChildFailed("execve", "no such program", 127)))
    assert type(found) is StartFailed and found.exit_code == 127
    assert type(as_version_1_reads(sent(errors.Conflict("it runs")))) is errors.Conflict
    assert str(as_version_1_reads(sent(OSError(errno.EISDIR, "Is a directory", "/log")))) == "Is a directory: /log"


def _of_clone(ours: socket.socket, theirs: socket.socket, error: Exception) -> Json:
    def work(_: list[int]) -> tuple[Json, list[int]]:
        raise error

    try:
        clone.in_child(work)
    except Exception as passed_on:
        return encode(passed_on)
    finally:
        clone.collect()
    raise AssertionError("it did not raise")


def _of_worker(ours: socket.socket, theirs: socket.socket, error: Exception) -> Json:
    return _in_child(ours, theirs, lambda: workers._answer(theirs, _raising(error)))


def _of_tree(ours: socket.socket, theirs: socket.socket, error: Exception) -> Json:
    return _in_child(ours, theirs, lambda: trees._serve(theirs, _raising(error), None))


def _of_namespaces(ours: socket.socket, theirs: socket.socket, error: Exception) -> Json:
    def work() -> None:
        namespaces._answer(theirs, _generated(error))

    return _in_child(ours, theirs, work)


def _generated(error: Exception) -> Iterator[int]:
    raise error
    yield 0


def _raising(error: Exception) -> Callable[[], Any]:
    def work() -> Any:
        raise error

    return work


def _in_child(ours: socket.socket, theirs: socket.socket, work: Callable[[], None]) -> Json:
    pid = os.fork()
    if pid == 0:
        work()
        os._exit(0)
    decoder = wire.Decoder()
    while (frame := decoder.next()) is None:
        assert wire.receive(ours, decoder)
    os.waitpid(pid, 0)
    error: Json = frame[0]["error"]
    return error


@pytest.mark.parametrize("helper", [_of_clone, _of_worker, _of_tree, _of_namespaces])
@pytest.mark.parametrize("kind", NAMED)
def test_from_every_helper(kind: type[CortenError], helper: Callable[..., Json]) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        arrived = answers.failure(helper(ours, theirs, kind("a text")))
    assert type(arrived) is kind and str(arrived) == "a text"


@pytest.mark.parametrize("error", [Failed("a\ud800b"), OSError(errno.ENOENT, "gone", b"/a\xff"), ValueError("a\udcff")])
def test_a_text_that_is_no_unicode_can_be_written_all_the_same(error: Exception) -> None:
    """As a record, an answer, and a line for a client. A name of a file may be any bytes."""
    assert "\N{REPLACEMENT CHARACTER}" in encode(error)["text"]
    assert str(decode({"kind": "Failed", "text": "a\ud800\U0001f600"})) == "a\N{REPLACEMENT CHARACTER}\U0001f600"


def test_an_exit_code_is_one() -> None:
    failed = decode({"kind": "StartFailed", "text": "a text", "code": 256})
    assert isinstance(failed, StartFailed) and failed.exit_code == 125
