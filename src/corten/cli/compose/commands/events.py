"""corten compose events: what happens to a project's containers, as it happens."""

from __future__ import annotations

from corten.cli.compose.context import Command
from corten.cli.flags import BOOL, STRING, flag
from corten.cli.output import out
from corten.cli.times import go_nano, timestamp
from corten.client import quickjson, system
from corten.compose import labels

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from corten.cli.compose.context import Compose
    from corten.cli.flags import Flags

    Json = dict[str, Any]


def run(compose: Compose, flags: Flags) -> int:
    since, until = flags.text("since"), flags.text("until")
    wanted = {"label": [labels.of_project(compose.name)], "type": ["container"]}
    answer = system.events(
        compose.client,
        timestamp(since, "since") if since else "",
        timestamp(until, "until") if until else "",
        wanted,
    )
    for event in answer.documents():
        given = (event.get("Actor") or {}).get("Attributes") or {}
        service = given.get(labels.SERVICE, "")
        if given.get(labels.ONEOFF) == "True" or (flags.words and service not in flags.words):
            continue
        out(_document(event, service, given) if flags.on("json") else _line(event, given))
    return 0


def _own(given: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in given.items() if not name.startswith("com.docker.compose.")}


def _time(event: Json) -> str:
    return go_nano(int(event.get("timeNano") or int(event.get("time") or 0) * 10**9))


def _local(event: Json) -> str:
    """As Docker Compose has it before a line: local time, microseconds."""
    day, _, rest = _time(event).partition("T")
    return f"{day} {rest[:15]}"


def _document(event: Json, service: str, given: dict[str, str]) -> str:
    return quickjson.dumps(
        {
            "action": event.get("Action", ""),
            "attributes": dict(sorted(_own(given).items())),
            "id": (event.get("Actor") or {}).get("ID", ""),
            "service": service,
            "time": _time(event),
            "type": "container",
        }
    )


def _line(event: Json, given: dict[str, str]) -> str:
    attributes = ", ".join(f"{name}={value}" for name, value in sorted(_own(given).items()))
    return f"{_local(event)} container {event.get('Action', '')} {event['Actor']['ID']} ({attributes})"


COMMAND = Command(
    run,
    "[OPTIONS] [SERVICE...]",
    "Show what happens to containers",
    (
        flag("json", BOOL, "One JSON object a line"),
        flag("since", STRING, "Those since this time as well"),
        flag("until", STRING, "Up to this time"),
    ),
)
