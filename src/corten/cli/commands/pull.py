"""corten pull: get an image from a registry."""

from __future__ import annotations

from corten.cli import pulling
from corten.cli.command import Command
from corten.cli.errors import CommandError
from corten.cli.flags import BOOL, STRING, flag
from corten.cli.output import STDOUT, out

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.cli.flags import Flags
    from corten.cli.session import Session


def run(session: Session, flags: Flags) -> int:
    reference, every, quiet = flags.words[0], flags.on("all-tags"), flags.on("quiet")
    repository, tag = pulling.split(reference)
    if repository != reference and not tag:
        raise CommandError("invalid reference format")
    if every and tag:
        raise CommandError("tag can't be used with --all-tags/-a")
    if not every and not tag:
        reference = f"{repository}:{pulling.DEFAULT_TAG}"
        if not quiet:
            out(f"Using default tag: {pulling.DEFAULT_TAG}")
    pulling.pull(session, reference, STDOUT, flags.text("platform"), every, quiet)
    out(canonical(reference))
    return 0


def canonical(reference: str) -> str:
    """The reference with its registry and namespace written out: docker.io/library/busybox:latest."""
    first, slash, _ = reference.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost" or first != first.lower()):
        return reference
    return f"docker.io/{reference}" if slash else f"docker.io/library/{reference}"


COMMAND = Command(
    run,
    "[OPTIONS] NAME[:TAG|@DIGEST]",
    "Get an image from a registry",
    (
        flag("all-tags", BOOL, "Get every tag of the repository", "a"),
        flag("platform", STRING, "Platform of the image (os/arch/variant)"),
        flag("quiet", BOOL, "Show no progress", "q"),
    ),
    least=1,
    most=1,
)
