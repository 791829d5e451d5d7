"""corten compose top: the processes of a project's containers."""

from __future__ import annotations

from corten.cli.columns import align
from corten.cli.compose.choosing import chosen
from corten.cli.compose.context import Command
from corten.cli.output import out
from corten.client import containers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.cli.compose.context import Compose
    from corten.cli.flags import Flags


def run(compose: Compose, flags: Flags) -> int:
    titles: list[str] = []
    rows = []
    for each in chosen(compose, flags.words, everything=False):
        table = containers.top(compose.client, each.id, [])
        titles += [title for title in table["Titles"] if title not in titles]
        for process in table.get("Processes") or ():
            row = dict(zip(table["Titles"], process, strict=False))
            rows.append((each.service, str(each.number), row))
    if rows:
        lines = [["SERVICE", "#", *titles]]
        lines += [[service, number, *(row.get(title, "-") for title in titles)] for service, number, row in rows]
        out(align("\n".join("\t".join(line) for line in lines), 4, 2))
    return 0


COMMAND = Command(run, "[SERVICE...]", "List the processes of containers")
