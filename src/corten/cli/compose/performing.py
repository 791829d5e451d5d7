"""Doing a plan on behalf of a command: shown and explained where that was asked for, interrupted by Ctrl-C."""

from __future__ import annotations

import os
from threading import current_thread, main_thread

from corten.cli import signals
from corten.cli.compose.reporting import report
from corten.cli.errors import CommandError
from corten.cli.output import out
from corten.client.errors import Broken
from corten.compose.execute.doing import Doing
from corten.compose.execute.executor import INTERRUPTED, Executor
from corten.compose.execute.running import Running
from corten.compose.plan.operations import Await
from corten.compose.refusals import Refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType, TracebackType

    from corten.cli.compose.context import Compose
    from corten.compose.execute.reports import Report
    from corten.compose.model import Project
    from corten.compose.observed import Observed
    from corten.compose.plan.graph import Graph

_ENDING = (signals.NUMBERS["INT"], signals.NUMBERS["TERM"])


class Interruptible:
    """While this is open, Ctrl-C calls these; the second one ends the program. In another thread than the first it
    does nothing: signals are the first one's.

    A Ctrl-C that comes when all is done already, so that nothing fails by it, is raised as CommandError at the end.
    """

    def __init__(self, *acts: Callable[[], None]) -> None:
        self._acts = acts
        self._former: dict[int, object] = {}
        self._was_asked = False

    def __enter__(self) -> Interruptible:
        for number in _ENDING if current_thread() is main_thread() else ():
            self._former[number] = signals.handle(number, self._asked)
        return self

    def _asked(self, number: int, frame: FrameType | None) -> None:
        self._was_asked = True
        for act in self._acts:
            act()
        for each in _ENDING:
            signals.handle(each, _end)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._former.items():
            signals.handle(number, handler if handler is not None else signals.DEFAULT)
        if self._was_asked and error is None:
            raise CommandError("", INTERRUPTED)


def _end(number: int, frame: FrameType | None) -> None:
    raise CommandError("", INTERRUPTED)


def perform(
    compose: Compose,
    project: Project,
    observed: Observed,
    graph: Graph,
    keep_volumes: bool = True,
    wait_seconds: float = 0,
    shown: Report | None = None,
    prepare: Callable[[Doing], None] = lambda doing: None,
) -> Doing:
    """`prepare` is called before anything is done. Raises CommandError, ApiError."""
    shown = shown if shown is not None else report(compose.progress, compose.dry_run)
    for text in graph.warnings:
        shown.warning(text)
    doing = Doing(project, observed, shown, keep_volumes)
    doing.running.environment = _environment(compose, project)
    prepare(doing)
    if compose.explain:
        explain(graph)
    if compose.dry_run:
        if not compose.explain:
            rehearse(graph, shown)
        return doing
    executor = Executor(compose.client, project.name, doing, doing.id_of, shown, compose.parallel, wait_seconds)
    with Interruptible(executor.interrupt, doing.end):
        try:
            executor.run(graph)
        except Refused as refused:
            raise CommandError(str(refused), refused.code) from None
        except Broken as lost:
            raise CommandError(f"{lost}; what is done stays, and the same command goes on from there") from None
    return doing


def provided(compose: Compose, project: Project) -> Project:
    """With what the programs say that provide services of it, or have the models that they use.

    Raises Refused; ComposeError for models without a runner.
    """
    provides = not compose.dry_run and any(each.provider is not None for each in project.services.values())
    if not project.models and not provides:
        return project
    running = Running(_environment(compose, project))
    shown = report(compose.progress, compose.dry_run)
    with Interruptible(running.end):
        if project.models:
            from corten.compose.execute import models

            project = models.furnished(project, shown, running, compose.dry_run)
        if provides:
            from corten.compose.execute import providers

            project = providers.provide(project, shown, running)
    return project


def _environment(compose: Compose, project: Project) -> dict[str, str]:
    """Of programs that are run for the project: with its variables, and the same engine as we have."""
    return {**os.environ, **project.environment, "DOCKER_HOST": compose.session.host}


def explain(graph: Graph) -> None:
    """Each step with its cause."""
    out(str(graph) or "nothing is to be done")


def rehearse(graph: Graph, shown: Report) -> None:
    """What would be said of each step."""
    for step in graph:
        operation = step.operation
        shown.event(operation.object, operation.name, operation.doing)
        if not isinstance(operation, Await):
            shown.event(operation.object, operation.name, operation.done)
