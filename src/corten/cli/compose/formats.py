"""The rows of `compose ps`, `images`, `ls` and `volumes`."""

from __future__ import annotations

from corten.cli.formats.container import CONTAINER
from corten.cli.formats.listing import Row, Shape
from corten.compose import labels

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def _label(row: Row, name: str) -> str:
    return str((row.data.get("Labels") or {}).get(name, ""))


def _name(row: Row) -> str:
    names = [name.removeprefix("/") for name in row.data.get("Names") or ()]
    return min((name for name in names if "/" not in name), key=len, default="")


def _health(row: Row) -> str:
    status = str(row.data.get("Status") or "")
    for word in ("healthy", "unhealthy"):
        if f"({word})" in status:
            return word
    return "starting" if "(health: starting)" in status else ""


def _publishers(row: Row) -> list[dict[str, Any]]:
    return [
        {
            "URL": port.get("IP") or "",
            "TargetPort": port.get("PrivatePort") or 0,
            "PublishedPort": port.get("PublicPort") or 0,
            "Protocol": port.get("Type") or "",
        }
        for port in row.data.get("Ports") or ()
    ]


_FIELDS = {
    **CONTAINER.fields,
    "Name": _name,
    "Service": lambda row: _label(row, labels.SERVICE),
    "Project": lambda row: _label(row, labels.PROJECT),
    "Health": _health,
    "ExitCode": lambda row: row.extra.get("code", 0),
    "Publishers": _publishers,
}
SERVICE_COLUMNS = ("Name", "Image", "Command", "Service", "RunningFor", "Status", "Ports")
SERVICE_CONTAINER = Shape(
    "ContainerContext",
    _FIELDS,
    {
        **CONTAINER.headers,
        "Name": "NAME",
        "Service": "SERVICE",
        "Project": "PROJECT",
        "Health": "HEALTH",
        "ExitCode": "EXIT CODE",
        "Publishers": "PUBLISHERS",
    },
    CONTAINER.methods,
)
