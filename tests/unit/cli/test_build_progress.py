"""Events of a build as they are shown."""

from __future__ import annotations

import base64
import os
import pty
from collections.abc import Iterator
from typing import Any

import pytest

from corten.cli import buildprogress
from corten.cli.errors import CommandError, UsageError
from unit.cli.terminals import written

T = "2024-01-01T00:00:0"


def vertex(name: str, started: float = 0, completed: float = 0, **more: Any) -> dict[str, Any]:
    times = {key: f"{T}{value}Z" for key, value in (("started", started), ("completed", completed)) if value}
    return {"vertexes": [{"digest": name, "name": name, **times, **more}]}


def log(name: str, text: str, at: float) -> dict[str, Any]:
    data = base64.b64encode(text.encode()).decode()
    return {"logs": [{"vertex": name, "stream": 1, "data": data, "timestamp": f"{T}{at}Z"}]}


EVENTS = [
    vertex("a"),
    vertex("b"),
    vertex("a", 1.0),
    log("a", "one\ntw", 1.5),
    vertex("b", 1.0),
    log("a", "o\n\x1b[1mbold\rlast\n", 2.0),
    vertex("b", 1.0, 1.0, cached=True),
    log("a", "no end", 2.0),
    vertex("a", 1.0, 3.0),
    {"aux": {"ID": "sha256:1"}},
]
PLAIN = """#1 a
#1 0.500 one

#2 b

#1 a
#1 1.000 two
#1 1.000 last

#2 b
#2 CACHED

#1 a
"""


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reader, writer = os.pipe()
    yield reader, writer
    os.close(reader)
    os.close(writer)


def test_plain(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    assert buildprogress.follow(EVENTS, buildprogress.view("auto", writer)) == {"ID": "sha256:1"}
    shown = os.read(reader, 1 << 16).decode()
    assert shown.startswith(PLAIN)
    assert shown.removeprefix(PLAIN).splitlines()[0].endswith(" no end")
    assert shown.endswith("#1 DONE 2.0s\n")


def test_a_terminal() -> None:
    ours, theirs = pty.openpty()
    buildprogress.follow(EVENTS, buildprogress.view("auto", theirs))
    shown = written(ours, theirs).decode().replace("\r\n", "\n")
    os.close(ours)
    os.close(theirs)
    last = shown.rpartition("[+] Building ")[2].splitlines()
    assert last[0].endswith("s (2/2) FINISHED")
    assert last[1].startswith("\x1b[2K => a ") and last[1].endswith(" 2.0s")
    assert last[2].startswith("\x1b[2K => CACHED b ")


def test_a_failure(pipe: tuple[int, int], capfd: pytest.CaptureFixture[str]) -> None:
    detail = {"message": "m", "vertex": "a", "filename": "D", "dockerfile": "1\n2\n3\n4\n5\n6\n", "ranges": [[3, 4]]}
    events = [vertex("a", 1.0), log("a", "out\n", 1.25), {"errorDetail": detail, "error": "m"}]
    with pytest.raises(CommandError, match="ERROR: failed to build: failed to solve: m"):
        buildprogress.follow(events, buildprogress.view("quiet", pipe[1]))
    assert capfd.readouterr().err == (
        "------\n > a:\n0.250 out\n------\nD:3\n--------------------\n   1 |     1\n   2 |     2\n"
        "   3 | >>> 3\n   4 | >>> 4\n   5 |     5\n   6 |     6\n--------------------\n"
    )


def test_what_is_no_end(pipe: tuple[int, int]) -> None:
    with pytest.raises(CommandError, match="without a result"):
        buildprogress.follow([], buildprogress.view("quiet", pipe[1]))
    with pytest.raises(UsageError, match="invalid progress mode x"):
        buildprogress.view("x", 1)
