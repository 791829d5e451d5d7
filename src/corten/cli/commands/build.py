"""corten build: make an image of a Dockerfile."""

from __future__ import annotations

import os

from corten.cli import building
from corten.cli.command import Command
from corten.cli.errors import CommandError
from corten.cli.flags import BOOL, BYTES, LABEL, LIST, STRING, flag, lazy
from corten.cli.output import STDERR, out

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.cli.flags import Flags
    from corten.cli.session import Session

HOSTS = lazy("list", (), "cli.options.texts", "parse_extra_host", many=True)


def run(session: Session, flags: Flags) -> int:
    from corten.cli import buildprogress
    from corten.client import builds

    source = building.source(flags.words[0], flags.text("file"))
    query = [*building.query(session, flags), ("dockerfile", source.dockerfile)]
    if source.remote:
        query.append(("remote", source.remote))
    view = buildprogress.view("quiet" if flags.on("quiet") else flags.text("progress"), STDERR)
    answer = builds.build(session.client, query, source.body, building.credentials(session.config))
    try:
        made = buildprogress.follow(answer.documents(), view)
    finally:
        answer.close()
    if flags.text("iidfile"):
        _write(flags.text("iidfile"), made)
    if flags.on("quiet"):
        out(made)
    return 0


def _write(path: str, text: str) -> None:
    try:
        with open(path, "w", encoding="ascii") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise CommandError(f"--iidfile {path}: {error.strerror}") from None


COMMAND = Command(
    run,
    "[OPTIONS] PATH | URL | -",
    "Make an image of a Dockerfile",
    (
        flag("add-host", HOSTS, "Add a host for RUN (NAME:ADDRESS)"),
        flag("attest", LIST, "What to attest of the image (type=sbom; type=provenance,mode=min)"),
        flag("build-arg", LIST, "Set a variable of the Dockerfile (NAME=VALUE, or NAME for ours)"),
        flag("file", STRING, "The Dockerfile (PATH/Dockerfile without this; - is standard input)", "f"),
        flag("iidfile", STRING, "Write the image's ID to a file"),
        flag("label", LABEL, "Set a label of the image"),
        flag("memory", BYTES, "Memory limit of each RUN", "m"),
        flag("network", STRING, "Network of RUN", default="default"),
        flag("no-cache", BOOL, "Do not use what was made before"),
        flag("no-cache-filter", LIST, "Do not use what was made before of these stages"),
        flag("platform", LIST, "Platforms of the image (os/arch/variant, several with commas)"),
        flag("progress", STRING, "How progress is shown: auto, plain, tty, rawjson or quiet", default="auto"),
        flag("provenance", STRING, "How the image was made, beside it: true, false, or mode=min or max"),
        flag("pull", BOOL, "Ask the registry for newer base images"),
        flag("quiet", BOOL, "Show only the image's ID", "q"),
        flag("sbom", STRING, "Which packages are in the image, beside it: true or false"),
        flag("shm-size", BYTES, "Size of /dev/shm in each RUN"),
        flag("tag", LIST, "Name the image (NAME:TAG)", "t"),
        flag("target", STRING, "The stage to make"),
    ),
    least=1,
    most=1,
)
