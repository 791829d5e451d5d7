"""corten version: the versions of client and engine."""

from __future__ import annotations

import time

from corten.cli import about
from corten.cli.command import Command
from corten.cli.errors import CommandError
from corten.cli.flags import STRING, flag
from corten.cli.output import err, out
from corten.client import system
from corten.client.api import MAX_VERSION
from corten.client.errors import ApiError, Unreachable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from corten.cli.flags import Flags
    from corten.cli.session import Session

# Details of a component that have their own place in the page, with their titles.
TITLES = {"ApiVersion": "API version", "GoVersion": "Go version", "GitCommit": "Git commit", "BuildTime": "Built"}
LABEL, COMPONENT_LABEL = 19, 18


def run(session: Session, flags: Flags) -> int:
    failure: Unreachable | ApiError | None = None
    server: dict[str, Any] | None = None
    negotiated = MAX_VERSION
    try:
        negotiated = session.client.version
        server = system.version(session.client)
    except (Unreachable, ApiError) as error:
        failure = error
    client = about.client(negotiated)
    try:
        out(_formatted(flags.text("format"), client, server) if flags.text("format") else _page(client, server))
    except CommandError:
        if failure is None:
            raise  # and otherwise what the template asks for is missing because there is no daemon
    if failure is not None:
        err(str(failure))
        return 1
    return 0


def _formatted(template: str, client: dict[str, Any], server: dict[str, Any] | None) -> str:
    from corten.cli.formats.typed import typed
    from corten.cli.gotemplate.documents import one

    shown = server and typed("Server", {"Experimental": False, **server})  # which is left out while it is false
    found = typed("version", {"Client": client})
    found["Server"] = shown or None
    return one(template, found)


def _page(client: dict[str, Any], server: dict[str, Any] | None) -> str:
    spoken = client["ApiVersion"]
    if spoken != client["DefaultAPIVersion"]:
        spoken += f" (downgraded from {client['DefaultAPIVersion']})"
    lines = [
        "Client:",
        _line(" Version:", client["Version"]),
        _line(" API version:", spoken),
        _line(" Python version:", about.PYTHON),
        _line(" OS/Arch:", f"{client['Os']}/{client['Arch']}"),
    ]
    if server is not None:
        lines += ["", *_server(server)]
    return "\n".join(lines)


def _line(title: str, value: str) -> str:
    return f"{title.ljust(LABEL)} {value}".rstrip()


def _server(server: dict[str, Any]) -> list[str]:
    platform = (server.get("Platform") or {}).get("Name", "")
    lines = [f"Server: {platform}".rstrip() if platform else "Server:"]
    for component in server.get("Components") or [_lone_engine(server)]:
        lines += _component(component)
    return lines


def _lone_engine(server: dict[str, Any]) -> dict[str, Any]:
    """A daemon that is too old to list its components is one itself."""
    details = {name: str(value) for name, value in server.items() if isinstance(value, str | bool)}
    return {"Name": "Engine", "Version": server.get("Version", ""), "Details": details}


def _component(component: dict[str, Any]) -> list[str]:
    details = dict(component.get("Details") or {})
    lines = [f" {component['Name']}:", _detail("Version", component.get("Version", ""))]
    if component["Name"] != "Engine":
        return lines + [_detail(name, value) for name, value in sorted(details.items())]
    if details.get("BuildTime"):
        details["BuildTime"] = ansic(details["BuildTime"])
    minimum = details.get("MinAPIVersion")
    if minimum and "ApiVersion" in details:
        details["ApiVersion"] += f" (minimum version {minimum})"
    lines += [_detail(title, details[name]) for name, title in TITLES.items() if name in details]
    lines.append(_detail("OS/Arch", f"{details.get('Os', '')}/{details.get('Arch', '')}"))
    lines.append(_detail("Experimental", details.get("Experimental", "false")))
    return lines


def ansic(moment: str) -> str:
    """2026-05-07T21:09:36.000000000+00:00 as Thu May  7 21:09:36 2026; other texts stay as they are."""
    from corten.cli.times import utc

    try:
        return time.asctime(time.gmtime(utc(f"{moment[:19]}Z")))
    except ValueError:
        return moment


def _detail(title: str, value: str) -> str:
    return f"  {(title + ':').ljust(COMPONENT_LABEL)}{value}"


COMMAND = Command(
    run,
    "[OPTIONS]",
    "Show the versions of client and engine",
    (flag("format", STRING, "'json', or a Go template", "f"),),
    most=0,
)
