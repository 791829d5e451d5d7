"""corten push: send an image to a registry."""

from __future__ import annotations

from corten.cli import credentials as stored
from corten.cli import progress, pulling, userconfig
from corten.cli.command import Command
from corten.cli.errors import CommandError
from corten.cli.flags import BOOL, STRING, flag
from corten.cli.output import STDOUT, out
from corten.cli.platforms import as_json
from corten.client import images
from corten.client.api import checked

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.cli.flags import Flags
    from corten.cli.session import Session


def run(session: Session, flags: Flags) -> int:
    if flags.words[0].startswith(("ssh://", "unix://")):
        from corten.cli import sending

        return sending.run(session.client, flags.words, flags.on("quiet"))
    if len(flags.words) > 1:
        raise CommandError("one image at a time is pushed to a registry; several go to an engine (ssh://, unix://)")
    reference, every, quiet = flags.words[0], flags.on("all-tags"), flags.on("quiet")
    repository, tag = pulling.split(reference)
    if every and tag:
        raise CommandError("tag can't be used with --all-tags/-a")
    if not every and not tag:
        tag = pulling.DEFAULT_TAG
        if not quiet:
            out(f"Using default tag: {tag}")
    credentials = stored.header(session.config, userconfig.registry_of(repository))
    answer = images.push(session.client, repository, tag, as_json(flags.text("platform")), credentials)
    if quiet:
        for document in answer.documents():
            checked(document)
        out(reference if tag == pulling.split(reference)[1] else f"{repository}:{tag}" if tag else repository)
    else:
        progress.show(answer.documents(), STDOUT)
    answer.close()
    return 0


COMMAND = Command(
    run,
    "[OPTIONS] NAME[:TAG] | ENGINE IMAGE...",
    "Send an image to a registry, or images to another engine (ssh://[USER@]HOST, unix:///SOCKET)",
    (
        flag("all-tags", BOOL, "Send every tag of the repository", "a"),
        flag("disable-content-trust", BOOL, "Accepted and not used", default=True, hidden=True),
        flag("platform", STRING, "This platform of it only (os/arch/variant)"),
        flag("quiet", BOOL, "Show no progress", "q"),
    ),
    least=1,
)
