"""What a guest says, read in one place. Root in a guest may have replaced its agent: whatever is not of the shape that
is expected is Corrupt, numbers have their range and texts their length, and nothing that was not expected is kept.

A shape is int, str or bool for a value; a dict with the keys that there may be ("*" for any) and their shapes; a list
with the shape of its items.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from corten import error_codec
from corten.errors import Corrupt, CortenError

Json = dict[str, Any]
Shape = type | dict[str, "Shape"] | list["Shape"]

_LONGEST = 8192  # characters of a text
_LARGEST, _SMALLEST = (1 << 64) - 1, -(1 << 63)
_MOST_WARNINGS = 64
_MOST_SECONDS = 1 << 36  # since the epoch, and of processor time: a date of the fourth millennium

_ERROR: Shape = {"kind": str, "text": str, "code": int, "errno": int, "bases": [str]}
_LIMIT: Shape = {"limit": int, "usage": int, "max": int, "failcnt": int}
_STATUS: Shape = {"name": str, "size": int, "mode": int, "mtime": int, "linkTarget": str, "left_out": int}
_SHOWN = frozenset(("name", "size", "mode", "mtime", "linkTarget"))
COUNTERS: Shape = {  # `runtime.cgroups.stats`
    "cpu": {
        "usage": {"total": int, "user": int, "kernel": int, "percpu": [int]},
        "throttling": {"periods": int, "throttledPeriods": int, "throttledTime": int},
    },
    "memory": {
        "cache": int, "usage": _LIMIT, "swap": _LIMIT, "kernel": _LIMIT, "kernelTCP": _LIMIT, "raw": {"*": int},
    },
    "pids": {"current": int, "limit": int},
    "blkio": {"*": [{"major": int, "minor": int, "op": str, "value": int}]},
    "hugetlb": {"*": {"usage": int, "max": int, "failcnt": int}},
    "version": int,
    "interfaces": {"*": {"*": int}},  # by name: rx_bytes and its like, as of `Task.interface_counters`
}  # fmt: skip
_SECTIONS = frozenset(("cpu", "memory", "pids", "blkio"))
ROW: dict[str, Shape] = {  # of a table of processes, see `Instance.table`
    "pid": int, "parent": int, "group": int, "session": int, "user": int, "gid": int, "cpu": float, "started": float,
    "terminal": str, "state": str, "nice": int, "priority": int, "threads": int, "size": int, "resident": int,
    "share": float, "name": str, "command": str,
}  # fmt: skip
TABLE: Shape = {"processes": [ROW]}


class Hello(NamedTuple):
    version: int


class Answer(NamedTuple):
    """To the request with this number. `ok` has no known shape yet (`shaped`)."""

    number: int
    ok: Any
    error: CortenError | OSError | None


class Exited(NamedTuple):
    """The process of that stream, and all that it wrote has come before this."""

    stream: int
    status: int
    out_of_memory: bool


class OutOfMemory(NamedTuple):
    pass


class Reply(NamedTuple):
    """Of work about a tree: {"ok": ...} or {"error": ...}."""

    stream: int
    message: Json


class Worked(NamedTuple):
    """The work with this stream has ended."""

    stream: int


Said = Hello | Answer | Exited | OutOfMemory | Reply | Worked


def read(message: Json) -> Said:
    """Corrupt for what no agent says."""
    if "event" not in message:
        return _answer(message)
    match message["event"]:
        case "hello":
            return Hello(_number(message, "version", 1 << 31))
        case "exit":
            status, oom = _number(message, "status", 255), message.get("out_of_memory")
            return Exited(_stream(message), status, shaped(oom, bool))
        case "out of memory":
            return OutOfMemory()
        case "reply":
            return Reply(_stream(message), _reply(message.get("message")))
        case "worked":
            return Worked(_stream(message))
    raise Corrupt("an event that no agent sends")


def _answer(message: Json) -> Answer:
    number = _number(message, "id", 1 << 62)
    if "error" in message:
        return Answer(number, None, error_codec.decode(_error(message["error"])))
    if "ok" not in message:
        raise Corrupt("an answer with neither a result nor an error")
    return Answer(number, message["ok"], None)


def _reply(message: object) -> Json:
    found: Json = shaped(message, {"ok": _STATUS, "error": _ERROR})
    if len(found) != 1:
        raise Corrupt("a reply with neither a result nor an error")
    return {"error": _error(found["error"])} if "error" in found else found


def check_status(found: Json) -> None:
    """Corrupt for what is not all that is asked about a file, and for a mode that clients have no room for."""
    if missing := _SHOWN - found.keys():
        raise Corrupt(f"the status of a file without {', '.join(sorted(missing))}")
    if not 0 <= found["mode"] < 1 << 32:
        raise Corrupt("the status of a file with a mode of more than 32 bits")


def _error(body: object) -> Json:
    """As `error_codec` reads it: with a text of one line in which nothing controls a terminal, never empty."""
    found: Json = shaped(body, _ERROR)
    return {**found, "text": printable(found.get("text", "")) or "it failed, and did not say why"}


def printable(text: str) -> str:
    """With a question mark for each character that is none to be shown, lone surrogates among them."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def counters(answer: object) -> Json:
    """What a group has used, with the sections that a reader counts on. None is negative: clients read them all as
    unsigned, and one that fails at a guest's shows no other container's."""
    found: Json = shaped(answer, COUNTERS)
    if missing := _SECTIONS - found.keys():
        raise Corrupt(f"counters without {', '.join(sorted(missing))}")
    return {key: _counted(value) for key, value in found.items()}


def _counted(found: Any) -> Any:
    if isinstance(found, dict):
        return {printable(key): _counted(value) for key, value in found.items()}
    if isinstance(found, list):
        return [_counted(value) for value in found]
    return printable(found) if isinstance(found, str) else max(found, 0)


def warnings(answer: object) -> tuple[str, ...]:
    found = shaped(answer, {"warnings": [str]}).get("warnings", ())
    return tuple(printable(text) for text in found[:_MOST_WARNINGS])


def table(answer: object) -> list[Json]:
    """Rows of `ROW` that are whole."""
    found: Json = shaped(answer, TABLE)
    return [_row(row) for row in found.get("processes", ()) if row.keys() == ROW.keys()]


def _row(row: Json) -> Json:
    texts = {key: printable(row[key]) for key in ("terminal", "state", "name", "command")}
    share = min(max(row["share"], 0), 100)
    return {**row, **texts, "share": share, **{key: min(max(row[key], 0), _MOST_SECONDS) for key in ("cpu", "started")}}


def shaped(value: object, shape: Shape) -> Any:
    """The parts of `value` that are of the shape, as deep as that. Corrupt when one that is there is something else."""
    if isinstance(shape, dict):
        if type(value) is not dict:
            raise Corrupt(f"{_kind(value)} in the place of an object")
        if "*" in shape:
            return {key[:_LONGEST]: shaped(found, shape["*"]) for key, found in value.items()}
        return {key: shaped(value[key], inner) for key, inner in shape.items() if key in value}
    if isinstance(shape, list):
        if type(value) is not list:
            raise Corrupt(f"{_kind(value)} in the place of a list")
        return [shaped(item, shape[0]) for item in value]
    return _value(value, shape)


def _value(value: object, kind: type) -> Any:
    if kind is float and type(value) in (int, float):
        return value if abs(value) <= _LARGEST else 0.0  # type: ignore[arg-type]  # no NaN: that compares false
    if type(value) is not kind:
        raise Corrupt(f"{_kind(value)} in the place of {kind.__name__}")
    if kind is str:
        return value[:_LONGEST]  # type: ignore[index]
    if kind is int and not _SMALLEST <= value <= _LARGEST:  # type: ignore[operator]
        raise Corrupt("a number of more than 64 bits")
    return value


def _kind(value: object) -> str:
    return type(value).__name__


def _number(message: Json, key: str, most: int) -> int:
    value = message.get(key)
    if type(value) is not int or not 0 <= value <= most:
        raise Corrupt(f"no {key} between 0 and {most}")
    return value


def _stream(message: Json) -> int:
    return _number(message, "stream", (1 << 32) - 1)
