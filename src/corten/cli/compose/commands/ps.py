"""corten compose ps: the containers of a project."""

from __future__ import annotations

from corten.cli.compose.choosing import check_services
from corten.cli.compose.context import Command
from corten.cli.compose.formats import SERVICE_COLUMNS, SERVICE_CONTAINER
from corten.cli.errors import CommandError
from corten.cli.flags import BOOL, LIST, STRING, flag
from corten.cli.formats import listing
from corten.cli.output import out
from corten.client import containers
from corten.compose.observed import Container, project_containers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.cli.compose.context import Compose
    from corten.cli.flags import Flags

_STATES = ("paused", "restarting", "removing", "running", "dead", "created", "exited")


def run(compose: Compose, flags: Flags) -> int:
    states = flags.many("status")
    for text in flags.many("filter"):
        name, equals, value = text.partition("=")
        if name != "status" or not equals:
            raise CommandError(
                f"unknown filter {name}" if equals else "arguments to --filter should be in form KEY=VAL"
            )
        states.append(value)
    for state in states:
        if state not in _STATES:
            raise CommandError(f"unknown status {state!r}: must be one of {', '.join(_STATES)}")
    check_services(compose, flags.words)
    every = flags.on("all") or bool(states)
    found = project_containers(compose.client, compose.name, everything=every, oneoffs=flags.on("all"))
    found = [each for each in found if _is_meant(compose, each, flags, states)]
    found.sort(key=lambda each: each.name)
    if flags.on("quiet"):
        for each in found:
            out(each.id)
        return 0
    if flags.on("services"):
        for name in sorted({each.service for each in found}):
            out(name)
        return 0
    template = flags.text("format")
    codes = {each.id: _exit_code(compose, each) for each in found} if template.strip() not in ("", "table") else {}
    rows = [
        listing.Row(SERVICE_CONTAINER, dict(each.listed), flags.on("no-trunc"), {"code": codes.get(each.id, 0)})
        for each in found
    ]
    listing.show(SERVICE_CONTAINER, rows, template, SERVICE_COLUMNS)
    return 0


def _exit_code(compose: Compose, container: Container) -> int:
    if container.runs or container.state == "created":
        return 0
    return int(containers.inspect(compose.client, container.id)["State"].get("ExitCode") or 0)


def _is_meant(compose: Compose, container: Container, flags: Flags, states: list[str]) -> bool:
    if states and container.state not in states:
        return False
    if flags.words:
        return container.service in flags.words
    if flags.on("orphans"):
        return True
    project = compose.project_if_any()
    return project is None or container.service in project.services or container.service in project.disabled


COMMAND = Command(
    run,
    "[OPTIONS] [SERVICE...]",
    "List containers",
    (
        flag("all", BOOL, "Those that do not run, and those of `run`, as well", "a"),
        flag("filter", LIST, "Only those that match (status=STATE)"),
        flag("format", STRING, "'table', 'table TEMPLATE', 'json', or a Go template", default="table"),
        flag("no-trunc", BOOL, "Do not shorten what is shown"),
        flag("orphans", BOOL, "Those of services that the files do not have as well", default=True),
        flag("quiet", BOOL, "Only IDs", "q"),
        flag("services", BOOL, "Only the names of services"),
        flag("status", LIST, "Only those in this state"),
    ),
)
