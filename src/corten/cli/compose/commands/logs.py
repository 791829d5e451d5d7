"""corten compose logs: what the containers of services have written."""

from __future__ import annotations

import queue

from corten.cli.compose.choosing import chosen
from corten.cli.compose.context import Command
from corten.cli.compose.printing import Logs, Printer
from corten.cli.flags import BOOL, INT, STRING, flag
from corten.client import containers
from corten.client.errors import ApiError
from corten.compose.execute.news import News
from corten.compose.observed import Container

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from corten.cli.compose.context import Compose
    from corten.cli.flags import Flags
    from corten.client.api import Query


#: What ends a container. Between two starts there is no "die".
_ENDS = ("die", "stop", "kill", "destroy")


def run(compose: Compose, flags: Flags) -> int:
    from corten.cli.times import timestamp

    found = chosen(compose, flags.words)
    if flags.number("index"):
        found = [each for each in found if each.number == flags.number("index")]
    query: Query = {
        "since": timestamp(flags.text("since"), "since") if flags.text("since") else None,
        "stderr": "1",
        "stdout": "1",
        "tail": flags.text("tail"),
        "timestamps": containers.truth(flags.on("timestamps")),
        "until": timestamp(flags.text("until"), "until") if flags.text("until") else None,
    }
    width = max((len(_short(compose, each)) for each in found), default=0)
    colour = compose.colour and not flags.on("no-color")
    prefix = not flags.on("no-log-prefix")
    if flags.on("follow"):
        return _follow(compose, found, query, Printer(prefix, colour, width), set(flags.words))
    printer = Printer(prefix, colour, width)
    for each in found:
        _add(compose, printer, each, query)
        printer.idle.wait()
    printer.close()
    return 0


def _short(compose: Compose, container: Container) -> str:
    return container.name.removeprefix(f"{compose.name}-")


def _add(compose: Compose, printer: Printer, container: Container, query: Query) -> None:
    client = compose.client
    try:
        tty = bool(containers.inspect(client, container.id)["Config"].get("Tty"))
        answer = containers.logs(client, container.id, query)
    except ApiError as error:
        if error.status == 404:  # it is gone
            return
        raise
    printer.add(_short(compose, container), Logs(answer), tty)


def _follow(compose: Compose, found: list[Container], query: Query, printer: Printer, services: set[str]) -> int:
    """Until all have ended; what is started meanwhile is followed as well."""
    inbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
    news = News(compose.client, compose.name, inbox.put)
    running = {each.id for each in found if each.runs and _runs(compose, each.id)}  # it may have ended before `news`
    for each in found:
        _add(compose, printer, each, {**query, "follow": "1"})
    while running:
        event = inbox.get()
        if isinstance(event, Exception):
            raise event
        actor = event.get("Actor") or {}
        id, given = str(actor.get("ID") or ""), actor.get("Attributes") or {}
        service = given.get("com.docker.compose.service", "")
        if given.get("com.docker.compose.oneoff") == "True" or (services and service not in services):
            continue
        if event.get("Action") == "start" and id not in running:
            running.add(id)
            begun = Container(id, given.get("name", ""), service)
            _add(compose, printer, begun, {**query, "follow": "1", "since": str(event.get("time") or ""), "tail": None})
        elif event.get("Action") in _ENDS and id in running and not _runs(compose, id):
            running.discard(id)
    news.close()
    printer.close()
    return 0


def _runs(compose: Compose, id: str) -> bool:
    try:
        state = containers.inspect(compose.client, id)["State"]
    except ApiError:
        return False
    return bool(state.get("Running") or state.get("Restarting"))


COMMAND = Command(
    run,
    "[OPTIONS] [SERVICE...]",
    "Show the output of containers",
    (
        flag("follow", BOOL, "Go on with new output as it comes", "f"),
        flag("index", INT, "Of the container with this number"),
        flag("no-color", BOOL, "No colours"),
        flag("no-log-prefix", BOOL, "Without the names of containers"),
        flag("since", STRING, "From this time on (2013-01-02T13:23:37Z, or 42m for 42 minutes ago)"),
        flag("tail", STRING, "This many lines from the end of each", "n", default="all"),
        flag("timestamps", BOOL, "Show when each line was written", "t"),
        flag("until", STRING, "Up to this time"),
    ),
)
