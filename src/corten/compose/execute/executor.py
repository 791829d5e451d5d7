"""Runs a graph: ready steps are done by threads, each with a client of its own; this thread only decides.

What arrives in one queue: a step that is done or has failed, an event of the engine, the state of a container that is
waited for, a signal. A step that waits holds no thread: its container is looked at once, and again after each event of
it. After the first failure nothing more begins; what runs is let end, and the failure is raised.
"""

from __future__ import annotations

import queue
import threading
import time

from corten.client import containers
from corten.compose.execute.conditions import Failed, Met, tells, verdict
from corten.compose.execute.news import News
from corten.compose.plan.operations import Await
from corten.compose.refusals import Refused
from corten.errors import CortenError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from corten.client.api import Client
    from corten.compose.execute.reports import Report
    from corten.compose.plan.graph import Graph, Step
    from corten.compose.plan.operations import Operation

    Json = dict[str, Any]
    Do = Callable[[Client, Operation], None]

THREADS = 16  # at once, unless --parallel says otherwise
INTERRUPTED = 130


class Executor:
    """`do` does one operation that is no wait; `id_of` is the id of a container that an operation names."""

    def __init__(
        self,
        client: Client,
        project: str,
        do: Do,
        id_of: Callable[[str], str],
        report: Report,
        parallel: int = 0,
        wait_seconds: float = 0,
    ) -> None:
        self._client = client
        self._project = project
        self._do = do
        self._id_of = id_of
        self._report = report
        self._parallel = parallel if parallel > 0 else THREADS
        self._deadline = time.monotonic() + wait_seconds if wait_seconds else None
        self._inbox: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
        self._jobs: queue.SimpleQueue[Callable[[Client], None] | None] = queue.SimpleQueue()
        self._threads = 0
        self._busy = 0
        self._awaited: dict[str, list[Step]] = {}  # by the container's id
        self._failure: Exception | None = None

    def interrupt(self) -> None:
        """Begin nothing more; of use in a handler of a signal."""
        self._inbox.put(("signal", None))

    def run(self, graph: Graph) -> None:
        """Raises what the first step that fails raises, Refused with 130 after `interrupt`."""
        left = {step.number: set(step.needs) for step in graph}
        dependents: dict[int, list[Step]] = {}
        for step in graph:
            for need in step.needs:
                dependents.setdefault(need, []).append(step)
        news = None
        if any(isinstance(step.operation, Await) and not step.operation.met for step in graph):
            news = News(self._client, self._project, lambda event: self._inbox.put(("event", event)))
        try:
            for step in graph:
                if not step.needs:
                    self._begin(step)
            while self._busy or (self._awaited and self._failure is None):
                done = self._next()
                if done is None:
                    continue
                for step in dependents.get(done.number, ()):
                    left[step.number].discard(done.number)
                    if not left[step.number]:
                        self._begin(step)
        finally:
            for _ in range(self._threads):
                self._jobs.put(None)
            if news is not None:
                news.close()
        if self._failure is not None:
            raise self._failure

    # ------------------------------------------------------------------------------------------------- decisions

    def _begin(self, step: Step) -> None:
        if self._failure is not None:
            return
        operation = step.operation
        if isinstance(operation, Await):
            self._report.event(operation.object, operation.name, operation.doing)
            if operation.met:
                self._report.event(operation.object, operation.name, operation.done)
                self._busy += 1
                self._inbox.put(("done", step))
                return
            self._awaited.setdefault(self._id_of(operation.ref), []).append(step)
            self._look(self._id_of(operation.ref))
            return
        self._job(lambda client: self._perform(client, step))

    def _next(self) -> Step | None:
        """Take one message; the step that is done by it."""
        try:
            left = None if self._deadline is None else max(0.0, self._deadline - time.monotonic())
            kind, content = self._inbox.get(timeout=left)
        except queue.Empty:
            self._fail(Refused("timeout waiting for the containers to be running or healthy (--wait-timeout)"))
            self._deadline = None
            return None
        match kind:
            case "done":
                self._busy -= 1
                step: Step = content
                return step
            case "failed":
                self._busy -= 1
                self._fail(content)
            case "state":
                self._busy -= 1
                return self._judge(*content)
            case "event":
                self._take(content)
            case "signal":
                self._fail(Refused("", INTERRUPTED))
        return None

    def _fail(self, error: Exception) -> None:
        if self._failure is None:
            self._failure = error

    def _take(self, event: Json | Exception) -> None:
        if isinstance(event, Exception):
            if self._awaited:
                self._fail(event)
            return
        id = str((event.get("Actor") or {}).get("ID") or event.get("id") or "")
        if id in self._awaited and tells(str(event.get("Action") or event.get("status") or "")):
            self._look(id)

    def _look(self, id: str) -> None:
        def ask(client: Client) -> None:
            try:
                self._inbox.put(("state", (id, containers.inspect(client, id).get("State") or {})))
            except (CortenError, OSError) as error:
                self._inbox.put(("failed", error))

        self._job(ask)

    def _judge(self, id: str, state: Json) -> Step | None:
        """Of all that wait for this container the first whose condition is met; others are looked at again."""
        for step in self._awaited.get(id, ()):
            operation = step.operation
            assert isinstance(operation, Await)
            found = verdict(operation, state)
            if isinstance(found, Failed):
                self._report.event(operation.object, operation.name, "Error")
                if operation.required:
                    self._fail(Refused(found.why))
                    return None
                self._report.warning(f'optional dependency "{operation.service}" failed to start: {found.why}')
            elif isinstance(found, Met):
                self._report.event(operation.object, operation.name, operation.done)
            else:
                continue
            self._awaited[id].remove(step)
            if self._awaited[id]:
                self._look(id)
            else:
                del self._awaited[id]
            return step
        return None

    # --------------------------------------------------------------------------------------------------- threads

    def _job(self, job: Callable[[Client], None]) -> None:
        self._busy += 1
        self._jobs.put(job)
        if self._threads < min(self._parallel, self._busy):
            self._threads += 1
            threading.Thread(target=self._work, daemon=True).start()

    def _work(self) -> None:
        client = self._client.another()
        try:
            while (job := self._jobs.get()) is not None:
                job(client)
        finally:
            client.close()

    def _perform(self, client: Client, step: Step) -> None:
        try:
            operation = step.operation
            if operation.doing:
                self._report.event(operation.object, operation.name, operation.doing)
            self._do(client, operation)
        except Exception as error:  # of any kind: it is raised again in the thread that waits
            self._inbox.put(("failed", error))
            return
        self._inbox.put(("done", step))
