"""Progress streams: bars that move on a terminal, one line per step elsewhere."""

from __future__ import annotations

from corten.cli.output import visible, write_all
from corten.cli.terminal import is_terminal, size
from corten.client.api import checked
from corten.units.sizes import human_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from corten.client.api import Json

BAR = 50
# Narrower terminals show numbers without a bar.
BAR_MINIMUM_WIDTH = 110


def show(documents: Iterable[Json], fd: int, on_aux: Callable[[Json], None] | None = None) -> None:
    """Show a stream until it ends. Raises StreamError for an error in it, after everything before it was shown."""
    screen = Screen(fd)
    for document in documents:
        checked(document)
        if document.get("aux") is not None:
            if on_aux is not None:
                on_aux(document["aux"])
            continue
        screen.show(document)


class Screen:
    """The lines on show: each id with progress keeps its line, and is rewritten there."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._terminal = is_terminal(fd)
        self._lines: dict[str, int] = {}

    def show(self, document: Json) -> None:
        name = visible(str(document.get("id") or ""), self._fd)
        moving = document.get("progressDetail") is not None or bool(document.get("progress"))
        text = ""
        up = 0
        if name and moving:
            if name not in self._lines:
                self._lines[name] = len(self._lines)
                text += "\n" if self._terminal else ""
            up = len(self._lines) - self._lines[name]
        else:
            self._lines = {}
        if self._terminal and up:
            text += f"\x1b[{up}A"
        line = self._line(document, name)
        if line is None:
            return
        text += line
        if self._terminal and name and up:
            text += f"\x1b[{up}B"
        write_all(self._fd, text.encode("utf-8", "surrogateescape"))

    def _line(self, document: Json, name: str) -> str | None:
        detail = document.get("progressDetail")
        status = visible(str(document.get("status") or ""), self._fd)
        amount = bar(detail, size(self._fd)[1] if self._terminal else 0) if detail is not None else ""
        label = f"{name}: " if name else ""
        if self._terminal and not document.get("stream") and detail is not None:
            return f"\x1b[2K\r{label}{status} {amount}\r"
        if amount:
            return None
        if document.get("stream"):
            return f"{label}{document['stream']}"
        return f"{label}{status}\n"


def bar(detail: Json, width: int) -> str:
    """ "[====>    ]  1.5MB/3MB"; empty while nothing is known."""
    current, total = detail.get("current") or 0, detail.get("total") or 0
    units = detail.get("units") or ""
    if current <= 0 and total <= 0:
        return ""
    if total <= 0:
        return f"{current} {units}" if units else f"{human_size(current):>8}"
    filled = min(BAR, int(current / total * 100) // 2)
    box = f"[{'=' * filled}>{' ' * (BAR - filled)}] " if width > BAR_MINIMUM_WIDTH else ""
    if detail.get("hidecounts"):
        return box
    if units:
        return box + (f"{current}/{total} {units}" if current <= total else f"{current} {units}")
    numbers = f"{human_size(current):>8}"
    return box + (numbers if current > total else f"{numbers}/{human_size(total)}")
