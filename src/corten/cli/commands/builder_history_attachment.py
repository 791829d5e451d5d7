"""corten builder history attachment: what was attested of a build."""

from __future__ import annotations

from corten.cli.command import Command
from corten.cli.output import out
from corten.client import builds

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.cli.flags import Flags
    from corten.cli.session import Session

_SHORT = {"sbom": "https://spdx.dev/Document", "provenance": "https://slsa.dev/provenance/"}


def run(session: Session, flags: Flags) -> int:
    ref, kind = (*flags.words, "")[:2]
    out(builds.attached(session.client, ref, _SHORT.get(kind, kind)).decode())
    return 0


COMMAND = Command(
    run,
    "REF [sbom | provenance | TYPE]",
    "Show what was attested of a build",
    (),
    least=1,
    most=2,
)
