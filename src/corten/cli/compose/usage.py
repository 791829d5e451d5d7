"""The help pages of `corten compose`."""

from __future__ import annotations

from corten.cli.compose import table
from corten.cli.output import err, out
from corten.cli.usage import flags_shown, pairs_shown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from corten.cli.flags import Flag


def show(name: str, global_flags: Sequence[Flag]) -> int:
    """Print the page of a command, or of all of them for ""; the exit code."""
    if not name:
        out(_all(global_flags))
        return 0
    found = table.find(name)
    if found is None:
        return refuse(name)
    command = __import__(f"corten.cli.compose.commands.{found.module}", fromlist=["COMMAND"]).COMMAND
    lines = [f"Usage:  corten compose {name} {command.usage}", "", command.short]
    if len(found.paths) > 1:
        lines += ["", "Aliases:", "  " + ", ".join(f"corten compose {one}" for one in found.paths)]
    visible = sorted((one for one in command.flags if not one.hidden), key=lambda one: one.name)
    if visible:
        lines += ["", "Options:", *flags_shown(visible)]
    out("\n".join(lines))
    return 0


def refuse(name: str) -> int:
    err(f"corten: '{name}' is not a command of corten compose.\nSee 'corten compose --help'")
    return 1


def _all(global_flags: Sequence[Flag]) -> str:
    commands = sorted((entry.paths[0], entry.short) for entry in table.entries())
    return "\n".join(
        [
            "Usage:  corten compose [OPTIONS] COMMAND",
            "",
            "Run the services that Compose files describe",
            "",
            "Commands:",
            *pairs_shown(commands),
            "",
            "Options:",
            *flags_shown(global_flags),
            "",
            "Run 'corten compose COMMAND --help' for more about a command.",
        ]
    )
