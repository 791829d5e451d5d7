"""corten events: what happens in the engine, as it happens."""

from __future__ import annotations

import time

from corten.cli.again import again
from corten.cli.command import Command
from corten.cli.flags import FILTER, STRING, flag
from corten.cli.formats.listing import parse_filters
from corten.cli.output import out
from corten.cli.times import go_nano, timestamp
from corten.client import system
from corten.client.errors import Broken

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from corten.cli.flags import Flags
    from corten.cli.session import Session
    from corten.client.api import Answer, Client, Json


def run(session: Session, flags: Flags) -> int:
    render = _renderer(flags.text("format"))
    since, until = flags.text("since"), flags.text("until")
    client = session.client
    begin = timestamp(since, "since") if since else ""
    end = timestamp(until, "until") if until else ""
    filters = parse_filters(flags.many("filter"))
    newest = time.time_ns()
    answer = system.events(client, begin, end, filters)
    while True:
        try:
            for event in answer.documents():
                newest, begin = event.get("timeNano", newest), ""
                out(render(event))
            return 0
        except Broken as lost:  # the next daemon's events, of whose beginning as well
            behind = begin or "{}.{:09d}".format(*divmod(newest + 1, 10**9))
            answer = _again(client, behind, end, filters, lost)


def _again(client: Client, since: str, until: str, wanted: dict[str, list[str]], lost: Broken) -> Answer:
    return again(lambda: system.events(client, since, until, wanted), lost)


def _renderer(template: str) -> Callable[[Json], str]:
    if not template:
        return line
    from corten.cli.gotemplate.documents import one

    return lambda event: one(template, _fields(event))


def _fields(event: Json) -> Json:
    """The event under the names that templates use; its JSON stays the daemon's."""
    from corten.cli.formats.typed import struct

    names = {"Status": "status", "ID": "id", "From": "from", "Scope": "scope", "Time": "time", "TimeNano": "timeNano"}
    return struct(event, "*events.Message", {name: event.get(field, "") for name, field in names.items()})


def line(event: Json) -> str:
    """TIME TYPE ACTION ID (name=value, ...)"""
    shown = ""
    if event.get("timeNano"):
        shown = go_nano(event["timeNano"]) + " "
    elif event.get("time"):
        shown = go_nano(event["time"] * 10**9) + " "
    actor = event.get("Actor") or {}
    shown += f"{event.get('Type', '')} {event.get('Action', '')} {actor.get('ID', '')}"
    attributes = actor.get("Attributes") or {}
    if attributes:
        shown += " (" + ", ".join(f"{name}={attributes[name]}" for name in sorted(attributes)) + ")"
    return shown


COMMAND = Command(
    run,
    "[OPTIONS]",
    "Show what happens in the engine",
    (
        flag("filter", FILTER, "Only those that match (name=value)", "f"),
        flag("format", STRING, "'json', or a Go template"),
        flag("since", STRING, "Those since this time as well"),
        flag("until", STRING, "Up to this time"),
    ),
    most=0,
)
