"""Questions on the terminal, or to whatever standard input is."""

from __future__ import annotations

import os

from corten.cli.errors import CommandError
from corten.cli.output import out
from corten.units.booleans import parse_bool

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from corten.cli.compose.context import Compose
    from corten.compose.model import Project
    from corten.compose.variables.used import Variable

_LONGEST = 256  # bytes of an answer


def agreed(question: str, default: bool = False) -> bool:
    """The answer to a question; what stands there when nothing is said, and no where nothing can be."""
    out(question, end="")
    answer = b""
    while len(answer) < _LONGEST and not answer.endswith(b"\n") and (byte := os.read(0, 1)):
        answer += byte
    word = answer.decode("utf-8", "replace").strip().lower()
    if not word:
        return default and answer.endswith(b"\n")
    if word in ("y", "yes", "n", "no"):
        return word.startswith("y")
    try:
        return parse_bool(word)
    except ValueError:
        return False


def ask_of_programs(compose: Compose, project: Project | None, yes: bool, models: bool = True) -> None:
    """Before a project with parts that are not of this machine has programs run here. They find its files in their
    working directory: a shell among them would run one. Raises CommandError when the answer is no."""
    if yes or project is None or not compose.outer.fetched:
        return
    services = project.services.values()
    programs = [f"  - {each.provider.type} for service {each.name}" for each in services if each.provider]
    if models:
        programs += [f"  - docker-model for model {name}" for name in sorted(project.models)]
    if programs:
        out("\nWarning: This Compose project is, or includes, what comes from elsewhere, and has programs run here:")
        out("\n".join(programs))
        _go_on("Do you want to continue? [y/N]: ")


def ask_of_remote(compose: Compose, project: Project, yes: bool, given: Sequence[str] = ()) -> None:
    """Before a project that is not of this machine is run: what it includes, and what it makes of our variables.

    `given` are NAME=VALUE of the command line. Raises CommandError when the answer is no.
    """
    if not compose.dry_run:
        ask_of_programs(compose, project, yes)
    first = next(iter(compose.outer.flags.many("file")), "")
    if not first or first not in compose.outer.fetched:
        return
    included = [place for place in compose.outer.fetched if place not in compose.outer.flags.many("file")]
    if included and not yes:
        out("\nWarning: This Compose project includes files from remote sources:")
        out("\n".join(f"  - {place}" for place in included))
        out("\nRemote includes could potentially be malicious. Make sure you trust the source.")
        _go_on("Do you want to continue? [y/N]: ")
    if compose.progress not in ("quiet", "json"):
        out(f'Your compose stack "{first}" is stored in "{project.working_dir}"')
    if yes:
        return
    from corten.compose.variables.used import variables

    used = variables(compose.outer.model(interpolate=False, resolve_env=False).tree)
    if used:
        out("\nFound the following variables in configuration:")
        out(_table(used, given))
        _go_on("\nDo you want to proceed with these variables? [Y/n]: ", default=True)


def _go_on(question: str, default: bool = False) -> None:
    if not agreed(question, default):
        raise CommandError("operation cancelled by user")


def _table(used: Sequence[Variable], given: Sequence[str]) -> str:
    from corten.cli.columns import align

    known = {name: value for name, equals, value in (text.partition("=") for text in given) if equals}
    rows = [["VARIABLE", "VALUE", "SOURCE", "REQUIRED", "DEFAULT"]]
    for each in used:
        if each.name in known:
            value, source = known[each.name], "command-line"
        elif each.name in os.environ:
            value, source = os.environ[each.name], "environment"
        elif each.default:
            value, source = each.default, "compose file"
        else:
            value, source = "<unset>", "none"
        rows.append([each.name, value, source, "yes" if each.required else "no", each.default])
    return align("\n".join("\t".join(row) for row in rows), minimum=0, padding=3)
