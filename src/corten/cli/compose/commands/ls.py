"""corten compose ls: the projects of an engine."""

from __future__ import annotations

from collections import Counter

from corten.cli.columns import table
from corten.cli.compose.context import Command
from corten.cli.errors import CommandError
from corten.cli.flags import BOOL, LIST, STRING, flag
from corten.cli.output import out
from corten.client import containers, quickjson
from corten.compose import labels

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.cli.compose.context import Compose
    from corten.cli.flags import Flags


def run(compose: Compose, flags: Flags) -> int:
    if flags.text("format") not in ("table", "json"):
        raise CommandError(f"unsupported format {flags.text('format')!r}: must be table or json")
    wanted = []
    for text in flags.many("filter"):
        name, equals, value = text.partition("=")
        if name != "name" or not equals:
            raise CommandError(f"invalid filter {text!r}: should be name=VALUE")
        wanted.append(value)
    listed = containers.listing(compose.client, flags.on("all"), wanted={"label": [labels.PROJECT, labels.HASH]})
    states: dict[str, Counter[str]] = {}
    files: dict[str, dict[str, None]] = {}
    for each in listed:
        given = each.get("Labels") or {}
        name = given[labels.PROJECT]
        states.setdefault(name, Counter())[str(each.get("State"))] += 1
        files.setdefault(name, {})[given.get(labels.CONFIG_FILES, "N/A")] = None
    names = [name for name in sorted(states) if not wanted or any(part in name for part in wanted)]
    if flags.on("quiet"):
        for name in names:
            out(name)
        return 0
    rows = [
        [name, ", ".join(f"{state}({count})" for state, count in sorted(states[name].items())), ",".join(files[name])]
        for name in names
    ]
    if flags.text("format") == "json":
        out(quickjson.dumps([{"Name": row[0], "Status": row[1], "ConfigFiles": row[2]} for row in rows]))
        return 0
    out(table(["NAME", "STATUS", "CONFIG FILES"], rows))
    return 0


COMMAND = Command(
    run,
    "[OPTIONS]",
    "List projects",
    (
        flag("all", BOOL, "Those without a container that runs as well", "a"),
        flag("filter", LIST, "Only those that match (name=PART)"),
        flag("format", STRING, "table or json", default="table"),
        flag("quiet", BOOL, "Only names", "q"),
    ),
    most=0,
)
