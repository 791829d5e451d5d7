"""The help pages: of the program, of a group, of one command."""

from __future__ import annotations

from corten.cli import table
from corten.cli.output import err, out

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from corten.cli.command import Command
    from corten.cli.flags import Flag

WIDTH = 100


def show(path: str, global_flags: Sequence[Flag]) -> int:
    """Print the page for `path` ("" is the program); the exit code."""
    if not path:
        out(_program(global_flags))
    elif path in table.GROUPS:
        out(_group(path))
    elif path == "compose" or path.startswith("compose "):
        from corten.cli.compose import entry, usage

        return usage.show(path.removeprefix("compose").strip(), entry.FLAGS)
    else:
        found = table.find(path)
        if found is None:
            return refuse(path)
        module = __import__(f"corten.cli.commands.{found.module}", fromlist=["COMMAND"])
        out(_command(path, found, module.COMMAND))
    return 0


def refuse(path: str) -> int:
    """Say that there is no such command, and what to do instead where that is known; the exit code."""
    hint = table.ABSENT.get(path.partition(" ")[0])
    if hint is None:
        err(f"corten: '{path}' is not a corten command.\nSee 'corten --help'")
    else:
        err(f"corten: '{path}' is not a corten command: {hint}")
    return 1


def _program(global_flags: Sequence[Flag]) -> str:
    plain = sorted((entry.paths[0], entry.short) for entry in table.entries() if " " not in entry.paths[0])
    groups = [(name, short) for name, short in table.GROUPS.items() if " " not in name and _members(name)]
    return "\n".join(
        [
            "Usage:  corten [OPTIONS] COMMAND",
            "",
            "A container engine that speaks Docker's API",
            "",
            "Commands:",
            *pairs_shown(plain),
            "",
            "Management commands:",
            *pairs_shown(groups),
            "",
            "Options:",
            *flags_shown(global_flags),
            "",
            "Run 'corten COMMAND --help' for more about a command.",
        ]
    )


def _group(name: str) -> str:
    lines = [f"Usage:  corten {name} COMMAND", "", table.GROUPS[name], "", "Commands:", *pairs_shown(_members(name))]
    return "\n".join([*lines, "", f"Run 'corten {name} COMMAND --help' for more about a command."])


def _members(group: str) -> list[tuple[str, str]]:
    """(name, what it does) of a group's commands, each once."""
    found = {}
    for entry in table.entries():
        spelling = next((path for path in entry.paths if path.startswith(f"{group} ")), None)
        if spelling is not None:
            found[spelling.removeprefix(f"{group} ")] = entry.short
    return sorted(found.items())


def _command(path: str, entry: table.Entry, command: Command) -> str:
    lines = [f"Usage:  corten {path} {command.usage}", "", command.short]
    if len(entry.paths) > 1:
        lines += ["", "Aliases:", "  " + ", ".join(f"corten {one}" for one in entry.paths)]
    if visible := sorted((one for one in command.flags if not one.hidden), key=lambda one: one.name):
        lines += ["", "Options:", *flags_shown(visible)]
    return "\n".join(lines)


def pairs_shown(pairs: Sequence[tuple[str, str]]) -> list[str]:
    width = max((len(name) for name, _ in pairs), default=0)
    return [f"  {name.ljust(width)}   {short}" for name, short in pairs]


def flags_shown(flags: Sequence[Flag]) -> list[str]:
    heads = [(_head(one), _described(one)) for one in flags if not one.hidden]
    width = max((len(head) for head, _ in heads), default=0)
    lines = []
    for head, text in heads:
        first, *rest = _wrapped(text, WIDTH - width - 3)
        lines.append(f"{head.ljust(width)}   {first}")
        lines += [" " * (width + 3) + line for line in rest]
    return lines


def _head(one: Flag) -> str:
    short = f"-{one.short}, " if one.short else "    "
    return f"  {short}--{one.name} {one.kind.name}".rstrip()


def _described(one: Flag) -> str:
    if one.default in (one.kind.zero, None) or one.kind.many:
        return one.usage
    shown = f'"{one.default}"' if isinstance(one.default, str) else str(one.default).lower()
    return f"{one.usage} (default {shown})"


def _wrapped(text: str, width: int) -> list[str]:
    lines = [""]
    for word in text.split():
        if lines[-1] and len(lines[-1]) + 1 + len(word) > width:
            lines.append(word)
        else:
            lines[-1] = f"{lines[-1]} {word}".strip()
    return lines
