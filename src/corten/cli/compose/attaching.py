"""`up` in the foreground: the output of all containers until they have ended, or until Ctrl-C stops them."""

from __future__ import annotations

import queue

from corten.cli import signals
from corten.cli.compose.performing import perform
from corten.cli.compose.printing import Attachment, Logs, Printer
from corten.cli.output import err
from corten.client import containers
from corten.client.errors import ApiError
from corten.compose.execute.news import News
from corten.compose.observed import Container, Observed, project_containers
from corten.compose.plan.down import stop
from corten.compose.plan.graph import Drawing
from corten.compose.plan.operations import Signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType
    from typing import Any

    from corten.cli.compose.context import Compose
    from corten.client.api import Client
    from corten.compose.model import Project

    Json = dict[str, Any]

INTERRUPTED = 130
_ENDING = (signals.NUMBERS["INT"], signals.NUMBERS["TERM"], signals.NUMBERS["HUP"])


class Attached:
    """`services` are those whose output is shown. `abort` is "", "exit" or "failure": what ends all; `code_of` the
    service whose exit code is ours. `lasting`: it goes on when all have ended, because others may come."""

    def __init__(
        self, compose: Compose, project: Project, services: set[str], printer: Printer, timestamps: bool = False
    ) -> None:
        self.compose = compose
        self.project = project
        self.services = services
        self.printer = printer
        self.timestamps = timestamps
        self.abort = ""
        self.code_of = ""
        self.seconds: int | None = None
        self.lasting = False
        self._inbox: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
        self._names: dict[str, str] = {}  # of what runs, by id
        self._shown: dict[str, bool] = {}  # whether its output is being read, by id
        self._ended: dict[str, str] = {}  # when the last run ended, in UNIX seconds, by id
        self._between: dict[str, int] = {}  # the exit code of what is to be started again, by id
        self._news = News(compose.client, project.name, lambda event: self._inbox.put(("event", event)))

    def attach(self, client: Client, service: str, name: str, id: str) -> None:
        """Before a start, or to what runs already."""
        self._names[id] = name
        if service not in self.services:
            return
        tty = self.project.services[service].tty
        if self.timestamps:
            self._follow(client, id, "", tty)
            return
        upgraded = containers.attach(client, id, stdin=False, stdout=True, stderr=True)
        self.printer.add(self._short(name), Attachment(upgraded), tty)
        self._shown[id] = True

    def _follow(self, client: Client, id: str, since: str, tty: bool) -> None:
        query: dict[str, str | None] = {"follow": "1", "stdout": "1", "stderr": "1", "since": since or None}
        query["timestamps"] = containers.truth(self.timestamps)
        try:
            answer = containers.logs(client, id, query)
        except ApiError:
            return  # it is gone, or its driver keeps nothing to read
        self.printer.add(self._short(self._names[id]), Logs(answer), tty)
        self._shown[id] = True

    def _short(self, name: str) -> str:
        return name.removeprefix(f"{self.project.name}-")

    def listen(self) -> None:
        """Before the first start: from now on `wait` takes Ctrl-C, unless a plan that is being done does."""
        for number in _ENDING:
            signals.handle(number, self._asked)

    # ------------------------------------------------------------------------------------------------- afterwards

    def wait(self) -> int:
        """After `listen`. Until all have ended; the exit code."""
        running = {each.id for each in self._running()}
        self._names = {id: name for id, name in self._names.items() if id in running}
        code = 0
        while self._names or self.lasting:
            kind, content = self._inbox.get()
            if kind == "signal":
                return self._stop(INTERRUPTED, "Gracefully Stopping... press Ctrl+C again to force")
            if isinstance(content, Exception):
                raise content
            ended = self._take(content)
            if ended is None:
                continue
            service, code = ended
            if self.code_of and service != self.code_of and not self.abort:
                continue
            if self.abort == "exit" or (self.abort == "failure" and code):
                return self._stop(self._code(code), "Aborting on container exit...")
        self.printer.close()
        return self._code(0)

    def _code(self, first: int) -> int:
        if not self.code_of:
            return first
        found = [each for each in self._all() if each.service == self.code_of]
        if not found:
            return first
        return int(containers.inspect(self.compose.client, found[0].id)["State"].get("ExitCode") or 0)

    def _all(self) -> list[Container]:
        return project_containers(self.compose.client, self.project.name, oneoffs=False)

    def _running(self) -> list[Container]:
        return [each for each in self._all() if each.runs]

    def _take(self, event: Json) -> tuple[str, int] | None:
        """What one event says; service and exit code of a container that has ended for good."""
        actor = event.get("Actor") or {}
        id, given = str(actor.get("ID") or ""), actor.get("Attributes") or {}
        service, name = given.get("com.docker.compose.service", ""), given.get("name", "")
        action = event.get("Action")
        if given.get("com.docker.compose.oneoff") == "True":
            return None
        if action == "start":
            known = self._shown.get(id)
            self._names[id] = name
            self._between.pop(id, None)
            if not known and service in self.services:
                self._follow(self.compose.client, id, self._ended.get(id, ""), self.project.services[service].tty)
        elif action == "die" and id in self._names:
            self._shown[id] = False
            # All output of this run is from before.
            self._ended[id] = "{}.{:09d}".format(*divmod(int(event.get("timeNano") or 0), 10**9))
            code = int(given.get("exitCode") or 0)
            if service in self.services:
                self.printer.say(self._short(name), f"exited with code {code}")
            self._between[id] = code
            return self._over(id, service)
        elif action in ("stop", "kill") and id in self._names and id in self._between:
            return self._over(id, service)  # between two starts it does not die once more
        elif action == "destroy":
            self._names.pop(id, None)
        return None

    def _over(self, id: str, service: str) -> tuple[str, int] | None:
        if self._comes_again(id):
            return None
        del self._names[id]
        return service, self._between.pop(id)

    def _comes_again(self, id: str) -> bool:
        """By its restart policy, or because another client restarts it."""
        try:
            state = containers.inspect(self.compose.client, id)["State"]
        except ApiError:
            return False
        return bool(state.get("Restarting") or state.get("Running"))

    def fail(self, error: Exception) -> None:
        """`wait` raises this; of use to another thread."""
        self._inbox.put(("failed", error))

    def interrupted(self) -> int:
        """Ctrl-C came while containers were being started."""
        return self._stop(INTERRUPTED, "Gracefully Stopping... press Ctrl+C again to force")

    def _stop(self, code: int, why: str) -> int:
        err(why)
        observed = Observed(containers=tuple(self._running()))
        drawing = Drawing()
        stop(drawing, observed.containers, self.seconds, why)
        try:
            perform(self.compose, self.project, observed, drawing.graph())
        except Exception:
            self._kill()
            raise
        finally:
            self._news.close()
        self.printer.close()
        return code

    def _kill(self) -> None:
        observed = Observed(containers=tuple(self._running()))
        drawing = Drawing()
        for each in observed.containers:
            drawing.add(Signal(each.name, each.id, "SIGKILL"), "Ctrl-C twice")
        perform(self.compose, self.project, observed, drawing.graph())

    def _asked(self, number: int, frame: FrameType | None) -> None:
        self._inbox.put(("signal", number))
