"""What a guest says, as it may be after root in it has replaced the agent."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corten.errors import Corrupt, NotFound, StartFailed
from corten.tasks import guest_ps
from corten.vm import answers
from corten.vm.answers import Answer, Exited, Hello, Reply, Worked, read, shaped

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(st.text(max_size=5), below, max_size=3),
    max_leaves=8,
)
KEYS = st.sampled_from(
    ["event", "id", "ok", "error", "stream", "status", "message", "version", "out_of_memory", "kind", "text", "cpu"]
)
EVENTS = st.sampled_from(["hello", "exit", "out of memory", "reply", "worked"])


@given(st.dictionaries(KEYS, ANYTHING | EVENTS, max_size=5))
def test_any_object_is_read_or_corrupt(message: answers.Json) -> None:
    try:
        read(message)
    except Corrupt:
        pass


@given(ANYTHING)
def test_any_counters_are_read_or_corrupt(answer: object) -> None:
    try:
        answers.counters(answer)
    except Corrupt:
        pass


def test_words() -> None:
    assert read({"event": "hello", "version": 1, "more": "is ignored"}) == Hello(1)
    assert read({"event": "exit", "stream": 3, "status": 255, "out_of_memory": False}) == Exited(3, 255, False)
    assert read({"event": "worked", "stream": 4}) == Worked(4)
    assert read({"id": 7, "ok": {"pids": [1]}}) == Answer(7, {"pids": [1]}, None)
    reply = read({"event": "reply", "stream": 1, "message": {"ok": {"name": "passwd", "mtime": -5, "evil": {}}}})
    assert reply == Reply(1, {"ok": {"name": "passwd", "mtime": -5}})


def test_errors() -> None:
    said = read({"id": 7, "error": {"kind": "StartFailed", "text": "x" * 100_000, "code": 127, "errno": 0}})
    assert isinstance(said, Answer) and isinstance(said.error, StartFailed)
    assert said.error.exit_code == 127 and len(str(said.error)) == 8192
    said = read({"id": 7, "error": {"kind": "NotFound", "text": "gone", "code": 0, "errno": 0}})
    assert isinstance(said, Answer) and isinstance(said.error, NotFound)
    said = read({"id": 7, "error": {"kind": "OSError", "text": "no such process", "errno": 3}})
    assert isinstance(said, Answer) and isinstance(said.error, ProcessLookupError)


@pytest.mark.parametrize(
    "message",
    [
        {},
        {"event": "dance"},
        {"event": ["hello"]},
        {"event": "hello"},
        {"event": "hello", "version": True},
        {"event": "exit", "stream": 0, "status": 256, "out_of_memory": False},
        {"event": "exit", "stream": 0, "status": -1, "out_of_memory": False},
        {"event": "exit", "stream": -1, "status": 0, "out_of_memory": False},
        {"event": "exit", "stream": 0, "status": 0},
        {"event": "exit", "stream": 0, "status": 0.5, "out_of_memory": False},
        {"event": "reply", "stream": 1},
        {"event": "reply", "stream": 1, "message": {}},
        {"event": "reply", "stream": 1, "message": {"ok": {}, "error": {}}},
        {"event": "reply", "stream": 1, "message": {"ok": {"size": "large"}}},
        {"event": "reply", "stream": 1, "message": {"ok": {"size": 2**64}}},
        {"id": 1},
        {"id": "1", "ok": {}},
        {"id": 1, "error": "no"},
        {"id": 1, "error": {"kind": 5}},
    ],
    ids=str,
)
def test_what_no_agent_says(message: answers.Json) -> None:
    with pytest.raises(Corrupt):
        read(message)


def test_counters_are_what_every_client_reads() -> None:
    """One whose stream it cannot read is an error of all that it shows."""
    given = {
        "cpu": {"usage": {"total": -1, "percpu": [3, -3]}},
        "memory": {"raw": {"an\x1b[2Jon\ud800": -(1 << 63)}},
        "pids": {"current": -1, "limit": (1 << 64) - 1},
        "blkio": {"ioServicedRecursive": [{"major": -1, "op": "Re\nad", "value": 7}]},
        "interfaces": {"eth0\a": {"rx_bytes": -5}},
    }
    assert answers.counters(given) == {
        "cpu": {"usage": {"total": 0, "percpu": [3, 0]}},
        "memory": {"raw": {"an?[2Jon?": 0}},
        "pids": {"current": 0, "limit": (1 << 64) - 1},
        "blkio": {"ioServicedRecursive": [{"major": 0, "op": "Re?ad", "value": 7}]},
        "interfaces": {"eth0?": {"rx_bytes": 0}},
    }


def test_counters_have_their_sections() -> None:
    counted = {"cpu": {"usage": {"total": 5}}, "memory": {"raw": {"anon": 1}}, "pids": {"current": 1}, "blkio": {}}
    assert answers.counters({**counted, "evil": [1]}) == counted
    with pytest.raises(Corrupt, match="without blkio"):
        answers.counters({"cpu": {}, "memory": {}, "pids": {}})
    with pytest.raises(Corrupt, match="str in the place of int"):
        answers.counters({**counted, "pids": {"current": "many"}})


def test_no_number_is_none() -> None:
    assert shaped({"cpu": float("nan")}, {"cpu": float}) == {"cpu": 0.0}
    assert shaped({"cpu": float("inf")}, {"cpu": float}) == {"cpu": 0.0}
    assert shaped({"cpu": 3}, {"cpu": float}) == {"cpu": 3}


def test_a_text_can_be_shown_on_a_terminal_and_written_anywhere() -> None:
    said = read({"id": 7, "error": {"kind": "StartFailed", "text": "a\ud800b\n\x1b[2J\x00", "code": 4000, "errno": 0}})
    assert isinstance(said, Answer) and isinstance(said.error, StartFailed)
    assert (str(said.error), said.error.exit_code) == ("a?b??[2J?", 125)
    said = read({"event": "reply", "stream": 1, "message": {"error": {"kind": "NotFound", "text": "\ud800"}}})
    assert isinstance(said, Reply) and said.message["error"]["text"] == "?"
    assert answers.warnings({"warnings": ["a\nb", *["more"] * 1000]})[:2] == ("a?b", "more")
    assert len(answers.warnings({"warnings": ["more"] * 1000})) == 64


def test_an_error_says_something() -> None:
    said = read({"id": 7, "error": {"kind": "Conflict", "text": ""}})
    assert isinstance(said, Answer) and str(said.error) == "it failed, and did not say why"


def test_a_table_has_times_that_are_dates() -> None:
    numbers = dict.fromkeys(("group", "session", "gid", "nice", "priority", "threads", "size", "resident"), -1)
    texts = {"terminal": "\ud800", "state": "S\n", "name": "\x1b", "command": "\x1b[2J\ud800"}
    row = {"pid": -1, "parent": 2**64 - 1, "user": 0, "share": 1e19, **numbers, **texts}
    (early, late) = answers.table(
        {"processes": [{**row, "cpu": -1e19, "started": -1e19}, {**row, "cpu": 1e19, "started": 1e19}, {"pid": 1}]}
    )
    assert (early["cpu"], early["started"]) == (0, 0)
    assert time.localtime(late["started"]).tm_year < 10_000
    assert (late["terminal"], late["command"]) == ("?", "?[2J?")
    assert (late["state"], late["name"], late["share"]) == ("S?", "?", 100)
    for columns in (["-ef"], ["aux"], ["-o", ",".join(guest_ps.COLUMNS)]):
        assert len(guest_ps.parse(columns).table([early, late], time.time()).rows) == 2
