"""corten builder cache rm: remove directories of cache mounts."""

from __future__ import annotations

from corten.cli.command import Command
from corten.cli.each import each
from corten.client import builds

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.cli.flags import Flags
    from corten.cli.session import Session


def run(session: Session, flags: Flags) -> int:
    return each(flags.words, lambda id: builds.remove_cache(session.client, id))


COMMAND = Command(run, "ID [ID...]", "Remove directories of cache mounts", (), least=1)
