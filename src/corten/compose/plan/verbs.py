"""Plans of the commands that change what containers do and not what they are: from labels alone, without files."""

from __future__ import annotations

from corten.compose import labels
from corten.compose.observed import PAUSED, Container
from corten.compose.plan.down import needs_of, stop, stop_and_remove
from corten.compose.plan.graph import Drawing, Graph
from corten.compose.plan.operations import READY, STARTED, Await, Pause, Restart, Signal, Start, Unpause
from corten.compose.plan.order import ordered

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence


def _by_service(containers: Iterable[Container]) -> dict[str, list[Container]]:
    found: dict[str, list[Container]] = {}
    for each in containers:
        found.setdefault(each.service, []).append(each)
    return found


def _waits(containers: Iterable[Container]) -> dict[str, tuple[str, bool]]:
    """Condition and restart of each service that these depend on."""
    found = {}
    for each in containers:
        for text in each.labels.get(labels.DEPENDS_ON, "").split(","):
            name, _, rest = text.partition(":")
            condition, _, restart = rest.partition(":")
            if name:
                found[name] = (condition or STARTED, restart == "true")
    return found


def start(containers: Sequence[Container], wait: bool = False) -> Graph:
    """Those that do not run, each behind the conditions of what it depends on."""
    drawing = Drawing()
    services = _by_service(containers)
    started: dict[str, list[int]] = {}
    awaited: dict[tuple[str, str], int] = {}
    for name in ordered(needs_of(services)):
        needs: list[int] = []
        for other, (condition, _) in _waits(services[name]).items():
            if other not in services:
                continue
            if condition == STARTED:
                needs += started[other]
                continue
            for each in services[other]:
                key = (each.id, condition)
                if key not in awaited:
                    step = Await(other, each.name, each.id, condition)
                    awaited[key] = drawing.add(step, f"{name} depends on {other}: {condition}", started[other])
                needs.append(awaited[key])
        started[name] = [
            drawing.add(Start(name, each.name, each.id), f"it is {each.state}", needs)
            for each in services[name] if not each.runs
        ]  # fmt: skip
        for each in services[name] if wait else ():
            drawing.add(Await(name, each.name, each.id, READY), "it was asked for (--wait)", started[name])
    return drawing.graph()


def stopping(containers: Sequence[Container], seconds: int | None) -> Graph:
    drawing = Drawing()
    stop(drawing, containers, seconds, "stop")
    return drawing.graph()


def restart(
    containers: Sequence[Container], named: Sequence[str], seconds: int | None, dependents: bool = True
) -> Graph:
    """The named services, or all; and those that ask to be restarted with them (depends_on: restart)."""
    drawing = Drawing()
    services = _by_service(containers)
    causes = {name: "restart" for name in services if not named or name in named}
    needs = needs_of(services)
    order = ordered(needs)
    for name in order if dependents else ():
        for other, (_, restarts) in _waits(services[name]).items():
            if restarts and other in causes and name not in causes:
                causes[name] = f"{other} is restarted"
    done: dict[str, list[int]] = {}
    for name in order:
        behind = [step for other in needs[name] for step in done.get(other, ())]
        if name not in causes:
            done[name] = behind
            continue
        done[name] = [
            drawing.add(Restart(name, each.name, each.id, seconds), causes[name], behind) for each in services[name]
        ]
    return drawing.graph()


def kill(containers: Sequence[Container], signal: str) -> Graph:
    return _each(containers, lambda each: Signal(each.name, each.id, signal) if each.runs else None, "kill")


def pause(containers: Sequence[Container]) -> Graph:
    return _each(
        containers, lambda each: Pause(each.name, each.id) if each.runs and each.state != PAUSED else None, "pause"
    )


def unpause(containers: Sequence[Container]) -> Graph:
    return _each(containers, lambda each: Unpause(each.name, each.id) if each.state == PAUSED else None, "unpause")


def _each(
    containers: Sequence[Container], make: Callable[[Container], Signal | Pause | Unpause | None], why: str
) -> Graph:
    drawing = Drawing()
    for each in containers:
        if (operation := make(each)) is not None:
            drawing.add(operation, why)
    return drawing.graph()


def remove(containers: Sequence[Container], volumes: bool, seconds: int | None = None) -> Graph:
    drawing = Drawing()
    stop_and_remove(drawing, containers, seconds, "rm", volumes)
    return drawing.graph()
