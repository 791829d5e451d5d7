"""What is said while a plan is done, on STDERR: as lines, as one picture on a terminal, as JSON, or not at all."""

from __future__ import annotations

import threading

from corten.cli.errors import UsageError
from corten.cli.output import STDERR, err, visible, write_all
from corten.cli.terminal import is_terminal, size
from corten.client import quickjson
from corten.compose.execute.reports import Silent

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.compose.execute.reports import Report

_ENDS = frozenset(
    "Created Started Stopped Removed Healthy Exited Running Recreated Restarted Paused Unpaused Killed Pulled Built "
    "Skipped Pushed".split()
)
_GREEN, _RED, _BLUE, _PLAIN = "\x1b[32m", "\x1b[31m", "\x1b[34m", "\x1b[0m"


def report(kind: str, dry_run: bool = False) -> Report:
    """`kind` is auto, tty, plain, json or quiet. Raises UsageError for another one."""
    match kind:
        case "quiet":
            return Silent()
        case "plain":
            return Lines(dry_run)
        case "json":
            return Documents(dry_run)
        case "tty":
            return Picture(dry_run)
        case "auto" | "":
            return Picture(dry_run) if is_terminal(STDERR) else Lines(dry_run)
    raise UsageError(f"unsupported --progress value {quickjson.quote(kind)}")


def warn(text: str) -> None:
    err(f"WARNING: {text}")


class Lines:
    def __init__(self, dry_run: bool = False) -> None:
        self._mark = " DRY-RUN MODE - " if dry_run else ""

    def event(self, kind: str, name: str, status: str) -> None:
        if status:
            err(f"{self._mark} {kind} {name}  {status}")

    def warning(self, text: str) -> None:
        warn(text)


class Documents:
    def __init__(self, dry_run: bool = False) -> None:
        self._dry_run = dry_run

    def event(self, kind: str, name: str, status: str) -> None:
        if status:
            document: dict[str, object] = {"id": f"{kind} {name}", "status": status}
            if self._dry_run:
                document["dry-run"] = True
            err(quickjson.dumps(document))

    def warning(self, text: str) -> None:
        err(quickjson.dumps({"level": "warning", "msg": text}))


class Picture:
    """A line for each thing, drawn again over the last picture; as plain lines where it is longer than the terminal."""

    def __init__(self, dry_run: bool = False) -> None:
        self._lock = threading.Lock()
        self._lines = Lines(dry_run)
        self._rows: dict[str, str] = {}
        self._drawn = 0

    def event(self, kind: str, name: str, status: str) -> None:
        if not status:
            return
        with self._lock:
            self._rows[f"{kind} {name}"] = status
            height, width = size(STDERR)
            if len(self._rows) + 2 > height:
                self._lines.event(kind, name, status)
                self._drawn = 0
                return
            self._draw(width)

    def _draw(self, width: int) -> None:
        up = f"\x1b[{self._drawn}A" if self._drawn else ""
        done = sum(status in _ENDS for status in self._rows.values())
        lines = [f"[+] {done}/{len(self._rows)}"]
        room = max((len(name) for name in self._rows), default=0)
        for name, status in self._rows.items():
            colour = _GREEN if status in _ENDS else _RED if status == "Error" else _BLUE
            text = visible(f" {name.ljust(room)}  ", STDERR)[: max(width - len(status) - 1, 1)]
            lines.append(f"{text}{colour}{status}{_PLAIN}")
        write_all(STDERR, (up + "".join(f"\x1b[2K{line}\n" for line in lines)).encode("utf-8", "surrogateescape"))
        self._drawn = len(lines)

    def warning(self, text: str) -> None:
        with self._lock:
            warn(text)
            self._drawn = 0
