"""The classic builder's stream, made of the events of a graph: every instruction in the order of the Dockerfile.

    Step 2/3 : RUN make
     ---> Running in 1f0c...
    (what it says)
    Removing intermediate container 1f0c...
     ---> 7a3b...

What a step says on its standard error is red. Steps run side by side; what one of them says is kept until its turn.
The ids are no images: nothing is kept of a step but its layer. That of the last line is the image's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from corten.build.contract import ClassicText, Event, Log, RunStep, Trace, Vertex
from corten.build.plan.graph import Line, Step
from corten.build.plan.keys import digest

MOST = 2 << 20  # bytes of what a step says that are kept until its turn


class ClassicStream:
    """Put around a trace: it gets all events, and the lines in between."""

    def __init__(self, lines: Sequence[Line], trace: Trace) -> None:
        self._lines = lines
        self._trace = trace
        self._at = 0  # the line that is shown
        self._ids: dict[int, str] = {}  # of the lines that were shown, by their identity
        self._begun = False
        self._running = False
        self._vertices: dict[str, Vertex] = {}
        self._kept: dict[str, list[Log]] = {}
        self._sizes: dict[str, int] = {}  # bytes kept of each
        self._failed = False

    def __call__(self, event: Event) -> None:
        self._trace(event)
        match event:
            case Vertex():
                self._vertices[event.digest] = event
                self._go_on()
            case Log():
                self._keep(event)
                self._go_on()

    def _keep(self, log: Log) -> None:
        size = self._sizes.get(log.vertex, 0)
        if size > MOST:
            return
        self._sizes[log.vertex] = size + len(log.data)
        if self._sizes[log.vertex] > MOST:
            log = replace(log, data=f"[output clipped: more than {MOST} bytes before its turn]\n".encode())
        self._kept.setdefault(log.vertex, []).append(log)

    def warn(self, empty: Sequence[tuple[int, str]]) -> None:
        """Of instructions in whose midst an empty line stands: the last line of each, and its text."""
        if empty:
            found = "".join(f"[WARNING]: Empty continuation line found in:\n    {text}\n" for _, text in empty)
            last = "[WARNING]: Empty continuation lines will become errors in a future release.\n"
            self._say(_red(found + last))

    def begin(self) -> None:
        self._go_on()

    def _go_on(self) -> None:
        """Show what can be shown."""
        while self._at < len(self._lines) and not self._failed:
            line = self._lines[self._at]
            if not self._begun:
                self._say(f"Step {self._at + 1}/{len(self._lines)} : {line.text}")
                self._say("\n")  # in a message of its own, as clients that look for the line expect (testcontainers)
                self._begun = True
            if line.step is not None and not self._shown(line.step):
                return
            self._ids[id(line)] = self._id(line)
            if self._at + 1 < len(self._lines):
                self._say(f" ---> {self._ids[id(line)]}\n")
            self._at, self._begun, self._running = self._at + 1, False, False

    def _id(self, line: Line) -> str:
        if line.below is not None:  # a stage begins with what the other one ended with
            return self._ids[id(line.below)]
        if line.base is not None and line.base.image is not None:
            return line.base.image.id.removeprefix("sha256:")[:12]
        return _short(line.text, self._at)

    def _shown(self, step: Step) -> bool:
        """Show what a step has said so far; whether that is all."""
        name, runs = step.digest, isinstance(step.work, RunStep)
        vertex = self._vertices.get(name)
        if vertex is None or not vertex.started:
            return False
        if vertex.completed and vertex.cached:
            self._say(" ---> Using cache\n")
            return True
        container = _short(name, self._at)
        if runs and not self._running:
            self._say(f" ---> Running in {container}\n")
            self._running = True
        self._sizes.pop(name, None)
        for log in self._kept.pop(name, ()):
            text = log.data.decode("utf-8", "replace")
            self._say(_red(text) if log.stream == 2 else text)
        if vertex.error:
            self._failed = True
            return False
        if runs and vertex.completed:
            self._say(f"Removing intermediate container {container}\n")
        return bool(vertex.completed)

    def end(self, id: str, names: Sequence[str]) -> None:
        """The last lines. `names` in their familiar form."""
        short = id.removeprefix("sha256:")[:12]
        self._say(f" ---> {short}\n")
        self._trace(ClassicText(f"Successfully built {short}\n", id))
        for name in names:
            self._say(f"Successfully tagged {name}\n")

    def _say(self, text: str) -> None:
        self._trace(ClassicText(text))


def _red(text: str) -> str:
    """As standard error is shown."""
    return f"\x1b[91m{text}\x1b[0m"


def _short(*parts: object) -> str:
    return digest("classic", *parts).removeprefix("sha256:")[:12]
