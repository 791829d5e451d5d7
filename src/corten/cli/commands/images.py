"""corten images: list images."""

from __future__ import annotations

from corten.cli.command import Command
from corten.cli.errors import CommandError
from corten.cli.flags import BOOL, FILTER, STRING, flag
from corten.cli.formats import listing
from corten.cli.formats.image import COLUMNS, DIGEST_COLUMNS, IMAGE, rows
from corten.client import images

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.cli.flags import Flags
    from corten.cli.session import Session


def run(session: Session, flags: Flags) -> int:
    wanted = listing.parse_filters(flags.many("filter"))
    if flags.words:
        wanted.setdefault("reference", []).append(flags.words[0])
    template = flags.text("format") if flags.on("quiet") else session.format(flags.text("format"), "imagesFormat")
    found = images.listing(session.client, flags.on("all"), wanted, flags.on("tree"))
    if flags.on("tree"):
        return _tree(found, flags)
    digests = flags.on("digests") or ".Digest" in template
    listed = [row for image in found for row in rows(image, flags.on("no-trunc"), digests)]
    columns = DIGEST_COLUMNS if flags.on("digests") else COLUMNS
    listing.show(IMAGE, listed, template, columns, quiet="ID" if flags.on("quiet") else "")
    return 0


def _tree(found: list[dict[str, object]], flags: Flags) -> int:
    """One block per image: its names, then the platforms it has."""
    for other in ("quiet", "no-trunc", "format", "digests"):
        if other in flags:
            raise CommandError(f"--{other} is not yet supported with --tree")
    from corten.cli.formats.tree import show

    show(found)
    return 0


COMMAND = Command(
    run,
    "[OPTIONS] [REPOSITORY[:TAG]]",
    "List images",
    (
        flag("all", BOOL, "Intermediate images as well", "a"),
        flag("digests", BOOL, "Show digests"),
        flag("filter", FILTER, "Only those that match (name=value)", "f"),
        flag("format", STRING, "'table', 'table TEMPLATE', 'json', or a Go template"),
        flag("no-trunc", BOOL, "Do not shorten what is shown"),
        flag("quiet", BOOL, "Only IDs", "q"),
        flag("tree", BOOL, "Show the platforms below each image"),
    ),
    most=1,
)
