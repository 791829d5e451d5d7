"""corten tag: give an image another name."""

from __future__ import annotations

from corten.cli import pulling
from corten.cli.command import Command
from corten.cli.errors import CommandError
from corten.client import images

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.cli.flags import Flags
    from corten.cli.session import Session


def run(session: Session, flags: Flags) -> int:
    source, target = flags.words
    repository, tag = pulling.split(target)
    if "@" in target:
        raise CommandError("refusing to create a tag with a digest reference")
    images.tag(session.client, source, repository, tag or pulling.DEFAULT_TAG)
    return 0


COMMAND = Command(run, "SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]", "Give an image another name", least=2, most=2)
