"""A build's events on a terminal or in a log, as BuildKit shows them.

view = view("auto", STDERR)
made = follow(conversation.documents(), view)
"""

from __future__ import annotations

import time
from binascii import a2b_base64  # `base64` brings re along

from corten.cli.errors import CommandError, UsageError
from corten.cli.output import err, out, visible, write_all
from corten.cli.terminal import is_terminal, size
from corten.client import quickjson
from corten.units.sizes import human_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any, Protocol

    Json = dict[str, Any]

    class View(Protocol):
        def show(self, document: Json) -> None: ...

        def end(self) -> None:
            """Show the last of it; nothing is shown after that."""


_LAST = 20  # lines of output that are shown of a failed step
_ROWS = 6  # of a running step's output on a terminal
HINT = "To look around in the state before this step: corten build --debug-shell"
_KEPT = 64  # lines of output that are kept of each step


def view(kind: str, fd: int) -> View:
    """Raises UsageError for an unknown one."""
    match kind:
        case "quiet" | "none":
            return Quiet()
        case "rawjson":
            return RawJson()
        case "plain":
            return Plain(fd)
        case "tty":
            return Terminal(fd)
        case "auto":
            return Terminal(fd) if is_terminal(fd) else Plain(fd)
    raise UsageError(f"invalid progress mode {kind}")


def follow(documents: Iterable[Json], shown: View, hint: str = HINT) -> Json:
    """What the daemon said of the result, at the end. `hint` is what can be done about a step that failed.

    Raises CommandError when the build failed.
    """
    made: Json = {}
    rows = Rows()
    try:
        for document in documents:
            if detail := document.get("errorDetail"):
                shown.end()
                if text := failure(detail, rows, hint):
                    err(text)
                raise CommandError(f"ERROR: failed to build: failed to solve: {detail.get('message')}")
            if document.get("error"):
                raise CommandError(f"ERROR: failed to build: {document['error']}")
            made = document.get("aux") or made
            rows.take(document)
            shown.show(document)
    finally:
        shown.end()
    if not made:
        raise CommandError("ERROR: the daemon ended the build without a result")
    if rows.warnings and not isinstance(shown, Quiet):
        err(warned(rows.warnings))
    return made


class Row:
    """One vertex: its number in the order of beginnings, and what it has said."""

    __slots__ = ("cached", "completed", "error", "lines", "name", "number", "rest", "started", "statuses")

    def __init__(self, number: int, name: str) -> None:
        self.number = number
        self.name = name
        self.started = self.completed = 0.0
        self.cached = False
        self.error = ""
        self.lines: list[tuple[float, str]] = []
        self.rest = b""
        self.statuses: dict[str, Json] = {}

    def said(self, data: bytes, at: float) -> list[tuple[float, str]]:
        """The whole lines that came with this."""
        *whole, self.rest = (self.rest + data).split(b"\n")
        fresh = [(at - self.started, _clean(line)) for line in whole]
        self.lines = (self.lines + fresh)[-_KEPT:]
        return fresh

    def flush(self) -> list[tuple[float, str]]:
        """The last line, when it has no end."""
        return self.said(b"\n", time.time()) if self.rest else []

    @property
    def seconds(self) -> float:
        return (self.completed or time.time()) - self.started if self.started else 0.0


class Rows:
    """All vertices by digest, as far as they have begun."""

    def __init__(self) -> None:
        self.by_digest: dict[str, Row] = {}
        self.planned: set[str] = set()
        self.warnings: list[Json] = []

    def take(self, document: Json) -> None:
        for vertex in document.get("vertexes") or ():
            self.planned.add(vertex["digest"])
            if vertex.get("started"):
                row = self.by_digest.setdefault(vertex["digest"], Row(len(self.by_digest) + 1, vertex["name"]))
                row.started = row.started or moment(vertex["started"])
                row.completed = moment(vertex["completed"]) if vertex.get("completed") else 0.0
                row.cached, row.error = bool(vertex.get("cached")), vertex.get("error") or ""
        self.warnings += document.get("warnings") or ()
        for status in document.get("statuses") or ():
            if row_of := self.by_digest.get(status["vertex"]):
                row_of.statuses[status["id"]] = status
        for log in document.get("logs") or ():
            if row_of := self.by_digest.get(log["vertex"]):
                row_of.said(a2b_base64(log["data"]), moment(log["timestamp"]))


class Quiet:
    def show(self, document: Json) -> None:
        return

    def end(self) -> None:
        return


class RawJson:
    """Each event as it came."""

    def show(self, document: Json) -> None:
        if not document.get("aux"):
            out(quickjson.dumps(document))

    def end(self) -> None:
        return


class Plain:
    """For logs: `#3 0.512 a line of output`, one vertex after the other as far as that can be."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._rows: dict[str, Row] = {}
        self._last = 0
        self._ended = False

    def show(self, document: Json) -> None:
        if self._ended:
            return
        for vertex in document.get("vertexes") or ():
            if vertex.get("started"):
                self._vertex(vertex)
        for log in document.get("logs") or ():
            if row := self._rows.get(log["vertex"]):
                self._lines(row, row.said(a2b_base64(log["data"]), moment(log["timestamp"])))
        for status in document.get("statuses") or ():
            row = self._rows.get(status["vertex"])
            if row is not None and status.get("completed") and status["id"] not in row.statuses:
                row.statuses[status["id"]] = status
                amount = f" {human_size(status['current'])}" if status.get("current") else ""
                self._say(row, f"{status['id']}{amount} done")

    def _vertex(self, vertex: Json) -> None:
        row = self._rows.get(vertex["digest"])
        if row is None:
            row = self._rows[vertex["digest"]] = Row(len(self._rows) + 1, vertex["name"])
            row.started = moment(vertex["started"])
            self._say(row, row.name)
        if not vertex.get("completed") or row.completed:
            return
        row.completed = moment(vertex["completed"])
        self._lines(row, row.flush())
        if vertex.get("error"):
            self._say(row, f"ERROR: {vertex['error']}" if vertex["error"] != "context canceled" else "CANCELED")
        else:
            self._say(row, "CACHED" if vertex.get("cached") else f"DONE {row.seconds:.1f}s")

    def _lines(self, row: Row, lines: list[tuple[float, str]]) -> None:
        for at, line in lines:
            self._say(row, f"{at:.3f} {line}")

    def _say(self, row: Row, text: str) -> None:
        gap = "\n" if self._last not in (0, row.number) else ""
        name = f"#{row.number} {row.name}\n" if gap and text != row.name else ""
        self._last = row.number
        shown = visible(f"{gap}{name}#{row.number} {text}\n", self._fd)
        write_all(self._fd, shown.encode("utf-8", "surrogateescape"))

    def end(self) -> None:
        self._ended = True


class Terminal:
    """For people at a terminal: a line for each vertex, rewritten in place, with the last output of those that run."""

    _EVERY = 0.08  # seconds between two pictures

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._rows = Rows()
        self._began = time.time()
        self._drawn = 0
        self._last = 0.0
        self._ended = False

    def show(self, document: Json) -> None:
        self._rows.take(document)
        if not self._ended and time.monotonic() - self._last >= self._EVERY:
            self._draw(final=False)

    def end(self) -> None:
        if not self._ended:
            self._ended = True
            self._draw(final=True)

    def _draw(self, final: bool) -> None:
        self._last = time.monotonic()
        height, width = size(self._fd)
        rows = list(self._rows.by_digest.values())
        done = sum(1 for row in rows if row.completed)
        word = " FINISHED" if final and done == len(rows) else ""
        lines = [f"[+] Building {time.time() - self._began:.1f}s ({done}/{len(self._rows.planned)}){word}"]
        for row in rows:
            lines += self._row(row, width or 80)
        if not final and height and len(lines) > height - 1:
            lines = [lines[0], *lines[-(height - 2) :]]
        up = f"\x1b[{self._drawn}A" if self._drawn else ""
        text = "".join(f"\x1b[2K{visible(line, self._fd)[: width or None]}\n" for line in lines)
        extra = self._drawn - len(lines)
        text += "\x1b[2K\n" * max(0, extra) + (f"\x1b[{extra}A" if extra > 0 else "")
        self._drawn = len(lines)
        write_all(self._fd, (up + text).encode("utf-8", "surrogateescape"))

    def _row(self, row: Row, width: int) -> list[str]:
        mark = "ERROR " if row.error else "CACHED " if row.cached else ""
        mark = "CANCELED " if row.error == "context canceled" else mark
        right = f"{row.seconds:.1f}s"
        left = f" => {mark}{row.name}"
        room = max(1, width - len(right) - 2)
        lines = [f"{left[:room]:<{room}} {right}"]
        if row.completed:
            return lines
        for status in [each for each in row.statuses.values() if not each.get("completed")][-_ROWS:]:
            total = f" / {human_size(status['total'])}" if status.get("total") else ""
            lines.append(f" => => {status['id']} {human_size(status.get('current') or 0)}{total}")
        return lines + [f" => => # {line}" for _, line in row.lines[-_ROWS:]]


def failure(detail: Json, rows: Rows, hint: str) -> str:
    """What a failed step was, its last output, and the lines of the Dockerfile with a pointer."""
    parts = []
    row = rows.by_digest.get(detail.get("vertex") or "")
    if row is not None:
        row.flush()
        said = "".join(f"\n{at:.3f} {line}" for at, line in row.lines[-_LAST:])
        parts.append(f"------\n > {row.name}:{said}\n------")
    if ranges := detail.get("ranges"):
        parts.append(boxed(str(detail.get("dockerfile") or ""), ranges, str(detail.get("filename") or "Dockerfile")))
    if detail.get("code") and hint:
        parts.append(hint)
    return "\n".join(parts)


def warned(warnings: list[Json]) -> str:
    """What the Dockerfile's checks say."""
    lines = [f"\n {len(warnings)} warning{'s' if len(warnings) > 1 else ''} found:"]
    for each in warnings:
        place = "".join(f" (line {where['start']['line']})" for where in (each.get("range") or ())[:1])
        lines.append(f" - {a2b_base64(each['short']).decode()}{place}")
    return "\n".join(lines)


def boxed(text: str, ranges: list[list[int]], filename: str) -> str:
    """The lines around a place, as buildx shows them."""
    lines = text.splitlines()
    first, last = ranges[0][0], max(end for _, end in ranges)
    shown = range(max(1, first - 2), min(len(lines), last + 2) + 1)
    marked = {number for begin, end in ranges for number in range(begin, end + 1)}
    rows = [f"{number:>4} | {'>>>' if number in marked else '   '} {lines[number - 1]}" for number in shown]
    rule = "-" * 20
    return "\n".join([f"{filename}:{first}", rule, *rows, rule])


def moment(text: str) -> float:
    """RFC 3339 to seconds since the epoch."""
    from corten.cli import times

    return times.utc(text)


def _clean(line: bytes) -> str:
    """Without what would move the cursor: only the last of what a program has written over itself."""
    text = line.decode("utf-8", "surrogateescape").rstrip("\r").rpartition("\r")[2]
    return "".join(char if char == "\t" or (char >= " " and char != "\x7f") else "" for char in text)
