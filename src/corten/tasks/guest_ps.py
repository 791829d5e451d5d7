"""The columns of ps(1) for processes of a guest, whose kernel no ps of the host sees. Pure.

    columns = parse(["-o", "pid,args"])        # Invalid for what is not known here, by its name
    columns.table(rows, now)                   # rows of `Instance.table`

The options of procps are known that choose processes (all are shown in any case), a form (-f, u), or columns (-o).
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from corten.errors import Invalid
from corten.spec.json import Json
from corten.tasks.contract import ProcessTable

_DAY = 24 * 60 * 60

Show = Callable[[Json, float], str]  # of a row, at a time since the epoch


def _of(key: str) -> Show:
    return lambda row, _: str(row[key])


def _name(row: Json, _: float) -> str:
    return str(row["name"])[:15] or "?"


def _elapsed(row: Json, now: float) -> int:
    return max(int(now - row["started"]), 0)


def _percent(row: Json, now: float) -> float:
    return float(100 * row["cpu"] / max(now - row["started"], 1))


def _started(row: Json, now: float) -> str:
    recent = abs(now - row["started"]) < _DAY
    return time.strftime("%H:%M" if recent else "%b%d", time.localtime(row["started"]))


def _used(row: Json, _: float) -> str:
    days, rest = divmod(int(row["cpu"]), _DAY)
    return (f"{days}-" if days else "") + f"{rest // 3600:02}:{rest // 60 % 60:02}:{rest % 60:02}"


def _used_shortly(row: Json, _: float) -> str:
    return f"{int(row['cpu']) // 60}:{int(row['cpu']) % 60:02}"


def _age(row: Json, now: float) -> str:
    days, rest = divmod(_elapsed(row, now), _DAY)
    hours, minutes = divmod(rest // 60, 60)
    head = (f"{days}-" if days else "") + (f"{hours:02}:" if days or hours else "")
    return f"{head}{minutes:02}:{rest % 60:02}"


class Column(NamedTuple):
    title: str
    show: Show


_NAMES = ("user", "euser", "ruser", "uname")  # there are numbers alone: names are of a file of some image
COLUMNS: dict[str, Column] = {
    "pid": Column("PID", _of("pid")),
    "ppid": Column("PPID", _of("parent")),
    "pgid": Column("PGID", _of("group")),
    "pgrp": Column("PGRP", _of("group")),
    "sid": Column("SID", _of("session")),
    "sess": Column("SESS", _of("session")),
    "session": Column("SESS", _of("session")),
    "uid": Column("UID", _of("user")),
    "euid": Column("EUID", _of("user")),
    **{name: Column("USER" if name == "uname" else name.upper(), _of("user")) for name in _NAMES},
    "gid": Column("GID", _of("gid")),
    "egid": Column("EGID", _of("gid")),
    "comm": Column("COMMAND", _name),
    "ucomm": Column("COMMAND", _name),
    "ucmd": Column("CMD", _name),
    "args": Column("COMMAND", _of("command")),
    "command": Column("COMMAND", _of("command")),
    "cmd": Column("CMD", _of("command")),
    "tty": Column("TT", _of("terminal")),
    "tt": Column("TT", _of("terminal")),
    "tname": Column("TTY", _of("terminal")),
    "s": Column("S", lambda row, _: str(row["state"])[:1]),
    "state": Column("S", lambda row, _: str(row["state"])[:1]),
    "stat": Column("STAT", _of("state")),
    "ni": Column("NI", _of("nice")),
    "nice": Column("NI", _of("nice")),
    "pri": Column("PRI", lambda row, _: str(39 - row["priority"])),
    "nlwp": Column("NLWP", _of("threads")),
    "thcount": Column("THCNT", _of("threads")),
    "vsz": Column("VSZ", _of("size")),
    "vsize": Column("VSZ", _of("size")),
    "rss": Column("RSS", _of("resident")),
    "rssize": Column("RSS", _of("resident")),
    "rsz": Column("RSZ", _of("resident")),
    "c": Column("C", lambda row, now: str(min(int(_percent(row, now)), 99))),
    "pcpu": Column("%CPU", lambda row, now: f"{_percent(row, now):.1f}"),
    "%cpu": Column("%CPU", lambda row, now: f"{_percent(row, now):.1f}"),
    "pmem": Column("%MEM", lambda row, _: f"{row['share']:.1f}"),
    "%mem": Column("%MEM", lambda row, _: f"{row['share']:.1f}"),
    "time": Column("TIME", _used),
    "cputime": Column("TIME", _used),
    "bsdtime": Column("TIME", _used_shortly),
    "etime": Column("ELAPSED", _age),
    "etimes": Column("ELAPSED", lambda row, now: str(_elapsed(row, now))),
    "stime": Column("STIME", _started),
    "start_time": Column("START", _started),
    "bsdstart": Column("START", _started),
}

_FULL = ("uid", "pid", "ppid", "c", "stime", "tname", "time", "cmd")
_PLAIN, _BSD = ("pid", "tname", "time", "ucmd"), ("pid", "tname", "stat", "bsdtime", "command")
_BY_USER = ("user", "pid", "%cpu", "%mem", "vsz", "rss", "tname", "stat", "bsdstart", "bsdtime", "command")
_EVERY = re.compile("[eAadxw]*")  # of -X: which processes, and how wide
_EVERY_BSD = re.compile("[axw]*")
_TITLE = re.compile(r"(?:^|[,\s])([^\s,=]*)=\s*(PID\S*)")


class Columns(NamedTuple):
    columns: tuple[Column, ...]

    def table(self, rows: Iterable[Json], now: float) -> ProcessTable:
        titles = [column.title for column in self.columns]
        return ProcessTable(titles, [[column.show(row, now) for column in self.columns] for row in rows])


FULL = Columns(tuple(COLUMNS[name] for name in _FULL))


def parse(words: Sequence[str]) -> Columns:
    """The last form counts, or all columns that are asked for. Invalid."""
    form: Sequence[str] = ()
    asked: list[Column] = []
    waiting = list(words)
    while waiting:
        word = waiting.pop(0)
        option, listed = _split(word, waiting)
        if listed is not None:
            asked += _listed(listed)
        elif option in ("-f", "u"):
            form = _FULL if option == "-f" else _BY_USER
        elif not form:
            form = _PLAIN if option == "-" else _BSD
    columns = tuple(asked) or tuple(COLUMNS[name] for name in form)
    if "PID" not in [column.title for column in columns]:
        raise Invalid("couldn't find PID field in ps output")
    return Columns(columns)


def _split(word: str, waiting: list[str]) -> tuple[str, str | None]:
    """(what a word asks for: "-f", "u", or "-" and "" where it only says which processes; a list of columns)."""
    if word.startswith("--format"):
        head, equals, listed = word.partition("=")
        if head == "--format":
            return "", listed if equals else _next(word, waiting)
    dashed = word.startswith("-") and word not in ("-aux", "-auxw", "-auxww")
    letters = word.removeprefix("-")
    before, o, listed = letters.partition("o")
    rest = before.replace("f" if dashed else "u", "", 1)
    if not word.startswith("--") and letters and (_EVERY if dashed else _EVERY_BSD).fullmatch(rest):
        if o:
            return "", listed or _next(word, waiting)
        if rest != before:
            return "-f" if dashed else "u", None
        return "-" if dashed else "", None
    raise Invalid(f"ps of a guest has no option {word}: -e, -f, aux and -o with columns are known")


def _next(word: str, waiting: list[str]) -> str:
    if not waiting:
        raise Invalid(f"ps of a guest: {word} wants a list of columns")
    return waiting.pop(0)


def _listed(text: str) -> list[Column]:
    """A title is all that comes behind "=", as with procps."""
    names, equals, title = text.partition("=")
    found = [name for name in re.split(r"[,\s]+", names) if name]
    for name in found:
        if name not in COLUMNS:
            raise Invalid(f"ps of a guest has no column {name}")
    columns = [COLUMNS[name] for name in found]
    if equals and columns:
        columns[-1] = columns[-1]._replace(title=title)
    return columns


def check_titles(arguments: str) -> None:
    """Another column must not be called PID, which is what processes are found by; in dockerd.s words. Invalid."""
    for name, title in _TITLE.findall(arguments):
        if name != "pid":
            raise Invalid(f'specifying "{name}={title}" is not allowed')
