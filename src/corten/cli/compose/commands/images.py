"""corten compose images: the images of a project's containers."""

from __future__ import annotations

import time

from corten.cli import pulling
from corten.cli.columns import align
from corten.cli.compose.choosing import chosen
from corten.cli.compose.context import Command
from corten.cli.errors import CommandError
from corten.cli.flags import BOOL, STRING, flag
from corten.cli.formats.listing import short_id
from corten.cli.output import out
from corten.cli.times import parse_moment
from corten.client import images, quickjson
from corten.client.errors import ApiError
from corten.units.durations import human_duration
from corten.units.sizes import human_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from corten.cli.compose.context import Compose
    from corten.cli.flags import Flags
    from corten.compose.observed import Container

    Json = dict[str, Any]


def run(compose: Compose, flags: Flags) -> int:
    if flags.text("format") not in ("", "table", "json"):
        raise CommandError(f"unsupported format {flags.text('format')!r}: must be table or json")
    found = sorted(chosen(compose, flags.words), key=lambda each: each.name)
    known = {id: _inspected(compose, id) for id in {str(each.listed.get("ImageID")) for each in found}}
    if flags.on("quiet"):
        for id in sorted(known):
            out(id.removeprefix("sha256:"))
        return 0
    rows = [_row(each, known[str(each.listed.get("ImageID"))]) for each in found]
    if flags.text("format") == "json":
        out(quickjson.dumps(rows))
        return 0
    lines = [["CONTAINER", "REPOSITORY", "TAG", "PLATFORM", "IMAGE ID", "SIZE", "CREATED"]]
    lines += [
        [
            row["ContainerName"],
            row["Repository"] or "<none>",
            row["Tag"] or "<none>",
            row["Platform"],
            short_id(row["ID"]),
            human_size(row["Size"], 3),
            f"{human_duration(time.time() - row['Seconds'])} ago" if row["Seconds"] > 0 else "N/A",
        ]
        for row in rows
    ]
    out(align("\n".join("\t".join(line) for line in lines), 20, 1))
    return 0


def _inspected(compose: Compose, id: str) -> Json:
    try:
        return images.inspect(compose.client, id)
    except ApiError as error:
        if error.status != 404:
            raise
        return {"Id": id}


def _row(container: Container, image: Json) -> Json:
    tags = image.get("RepoTags") or [""]
    repository, tag = pulling.split(tags[0])
    tagged = str((image.get("Metadata") or {}).get("LastTagTime") or "")
    created = tagged if tagged and not tagged.startswith("0001-") else str(image.get("Created") or "")
    try:
        seconds = parse_moment(created)[0]
    except ValueError:
        seconds = 0
    platform = "/".join(str(image[key]) for key in ("Os", "Architecture", "Variant") if image.get(key))
    return {
        "ID": image.get("Id", ""),
        "ContainerName": container.name,
        "Repository": repository,
        "Tag": tag,
        "Platform": platform,
        "Size": image.get("Size") or 0,
        "Created": created,
        "Seconds": seconds,
    }


COMMAND = Command(
    run,
    "[OPTIONS] [SERVICE...]",
    "List the images of containers",
    (flag("format", STRING, "table or json"), flag("quiet", BOOL, "Only IDs", "q")),
)
