"""The rows of `ps`."""

from __future__ import annotations

import time

from corten.cli.formats.listing import Row, Shape, ellipsis, short_id
from corten.cli.times import go_time
from corten.client import quickjson
from corten.units.durations import human_duration
from corten.units.sizes import human_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

COMMAND_WIDTH, MOUNT_WIDTH = 20, 15
COLUMNS = ("ID", "Image", "Command", "RunningFor", "Status", "Ports", "Names")


def _id(row: Row) -> str:
    identity: str = row.data["Id"]
    return identity if row.full else short_id(identity)


def _names(row: Row) -> str:
    names = [name.removeprefix("/") for name in row.data.get("Names") or ()]
    if not row.full:
        # A name with a slash in it is how a link is called inside another container.
        names = [name for name in names if "/" not in name]
    return ",".join(names)


def _image(row: Row) -> str:
    image: str = row.data.get("Image") or ""
    if not image:
        return "<no image>"
    if row.full:
        return image
    if short_id(row.data.get("ImageID") or "") == short_id(image):
        return short_id(image)
    name, at, _ = image.partition("@")
    return name if at and ":" in name.rpartition("/")[2] else image


def _command(row: Row) -> str:
    command = row.data.get("Command") or ""
    return quickjson.quote(command if row.full else ellipsis(command, COMMAND_WIDTH))


def _running_for(row: Row) -> str:
    return human_duration(time.time() - row.data["Created"]) + " ago"


def _size(row: Row) -> str:
    own = human_size(row.data.get("SizeRw") or 0, 3)
    virtual = row.data.get("SizeRootFs") or 0
    return f"{own} (virtual {human_size(virtual, 3)})" if virtual > 0 else own


def labels_text(labels: dict[str, str] | None) -> str:
    return ",".join(sorted(f"{name}={value}" for name, value in (labels or {}).items()))


def _mounts(row: Row) -> str:
    names = [mount.get("Name") or mount.get("Source") or "" for mount in row.data.get("Mounts") or ()]
    return ",".join(name if row.full else ellipsis(name, MOUNT_WIDTH) for name in names)


def _local_volumes(row: Row) -> str:
    return str(sum(1 for mount in row.data.get("Mounts") or () if mount.get("Driver") == "local"))


def _networks(row: Row) -> str:
    return ",".join((row.data.get("NetworkSettings") or {}).get("Networks") or {})


def _platform(row: Row) -> Any:
    return (row.data.get("ImageManifestDescriptor") or {}).get("platform")


def join_host_port(address: str, port: str) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def ports_text(ports: list[dict[str, Any]]) -> str:
    """ "0.0.0.0:80->80/tcp, 90-92/tcp": neighbours that map to themselves are drawn together."""
    ordered = sorted(
        ports,
        key=lambda port: (
            port["PrivatePort"],
            port.get("IP") or "",
            port.get("PublicPort") or 0,
            port.get("Type") or "",
        ),
    )
    open_groups: dict[tuple[str, str], list[int]] = {}
    shown, mapped = [], []
    for port in ordered:
        inside, address, kind = port["PrivatePort"], port.get("IP") or "", port.get("Type") or ""
        if address and port.get("PublicPort") != inside:
            mapped.append(f"{join_host_port(address, str(port.get('PublicPort') or 0))}->{inside}/{kind}")
            continue
        group = open_groups.get((address, kind))
        if group is not None and inside == group[1] + 1:
            group[1] = inside
            continue
        if group is not None:
            shown.append(_group_text(address, kind, group))
        open_groups[address, kind] = [inside, inside]
    shown += [_group_text(address, kind, group) for (address, kind), group in open_groups.items()]
    return ", ".join(shown + mapped)


def _group_text(address: str, kind: str, group: list[int]) -> str:
    text = str(group[0]) if group[0] == group[1] else f"{group[0]}-{group[1]}"
    return f"{join_host_port(address, text)}->{text}/{kind}" if address else f"{text}/{kind}"


CONTAINER = Shape(
    "ContainerContext",
    {
        "ID": _id,
        "Names": _names,
        "Image": _image,
        "Command": _command,
        "CreatedAt": lambda row: go_time(row.data["Created"]),
        "RunningFor": _running_for,
        "Ports": lambda row: ports_text(row.data.get("Ports") or []),
        "State": lambda row: row.data.get("State") or "",
        "Status": lambda row: row.data.get("Status") or "",
        "Size": _size,
        "Labels": lambda row: labels_text(row.data.get("Labels")),
        "LocalVolumes": _local_volumes,
        "Mounts": _mounts,
        "Networks": _networks,
        "Platform": _platform,
    },
    {
        "ID": "CONTAINER ID",
        "Names": "NAMES",
        "Image": "IMAGE",
        "Command": "COMMAND",
        "CreatedAt": "CREATED AT",
        "RunningFor": "CREATED",
        "Ports": "PORTS",
        "State": "STATE",
        "Status": "STATUS",
        "Size": "SIZE",
        "Labels": "LABELS",
        "LocalVolumes": "LOCAL VOLUMES",
        "Mounts": "MOUNTS",
        "Networks": "NETWORKS",
        "Platform": "PLATFORM",
    },
    {"Label": lambda row, name: (row.data.get("Labels") or {}).get(name, "")},
)
