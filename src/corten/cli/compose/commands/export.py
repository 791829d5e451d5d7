"""corten compose export: a container's file system as a tar, or the project for systemd or Kubernetes."""

from __future__ import annotations

import os

from corten.cli.commands.export import COMMAND as EXPORT
from corten.cli.compose.choosing import one
from corten.cli.compose.context import Command
from corten.cli.compose.passing import given, pass_on
from corten.cli.compose.reporting import warn
from corten.cli.errors import CommandError
from corten.cli.flags import BOOL, INT, STRING, flag
from corten.cli.output import err, out

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.cli.compose.context import Compose
    from corten.cli.flags import Flags
    from corten.compose.exports import Exported


def run(compose: Compose, flags: Flags) -> int:
    if flags.on("quadlet") and flags.on("kubernetes"):
        raise CommandError("--quadlet and --kubernetes are incompatible")
    if flags.on("quadlet"):
        from corten.compose.exports.quadlet import quadlet

        return _write(quadlet(compose.project(flags.words)), flags.text("output"))
    if flags.on("kubernetes"):
        from corten.compose.exports.kubernetes import kubernetes

        return _write(kubernetes(compose.project(flags.words)), flags.text("output"))
    if len(flags.words) != 1:
        raise CommandError("export takes one service, or --quadlet or --kubernetes for all")
    container = one(compose, flags.words[0], flags.number("index"), everything=True)
    return pass_on(compose, EXPORT, [*given(flags, "output"), container.id])


def _write(exported: Exported, directory: str) -> int:
    """Into a directory, or all to standard output, each behind its name. Raises CommandError."""
    for text in exported.warnings:
        warn(text)
    if not directory:
        out("\n".join(f"# {name}\n{text}" for name, text in sorted(exported.files.items())), end="")
        return 0
    try:
        os.makedirs(directory, exist_ok=True)
        for name, text in sorted(exported.files.items()):
            with open(os.path.join(directory, name), "w", encoding="utf-8") as file:
                file.write(text)
            err(f"wrote {os.path.join(directory, name)}")
    except OSError as error:
        raise CommandError(f"{error.filename or directory}: {error.strerror}") from None
    return 0


COMMAND = Command(
    run,
    "[OPTIONS] SERVICE\n        corten compose export --quadlet|--kubernetes [-o DIRECTORY] [SERVICE...]",
    "Write a container's file system as a tar, or the project for systemd or Kubernetes",
    (
        flag("index", INT, "Of the container with this number"),
        flag("kubernetes", BOOL, "The project as Kubernetes' manifests"),
        flag("output", STRING, "The file, or the directory, instead of standard output", "o"),
        flag("quadlet", BOOL, "The project as quadlet files for systemd and Podman"),
    ),
)
