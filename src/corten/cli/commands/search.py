"""corten search: look for images in a registry."""

from __future__ import annotations

from corten.cli import credentials as stored
from corten.cli import userconfig
from corten.cli.command import Command
from corten.cli.flags import BOOL, FILTER, INT, STRING, flag
from corten.cli.formats import listing
from corten.cli.formats.search import COLUMNS, RESULT, RESULT_JSON
from corten.client import images

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.cli.flags import Flags
    from corten.cli.session import Session


def run(session: Session, flags: Flags) -> int:
    term = flags.words[0]
    credentials = stored.header(session.config, userconfig.registry_of(term))
    wanted = listing.parse_filters(flags.many("filter"))
    found = images.search(session.client, term, flags.number("limit"), wanted, credentials)
    found.sort(key=lambda one: -int(one.get("star_count") or 0))
    shape = RESULT_JSON if flags.text("format") == "json" else RESULT
    rows = [listing.Row(shape, one, flags.on("no-trunc")) for one in found]
    listing.show(shape, rows, flags.text("format"), COLUMNS)
    return 0


COMMAND = Command(
    run,
    "[OPTIONS] TERM",
    "Search a registry for images",
    (
        flag("filter", FILTER, "Only those that match (is-official=true, stars=3)", "f"),
        flag("format", STRING, "'table', 'table TEMPLATE', 'json', or a Go template"),
        flag("limit", INT, "At most so many"),
        flag("no-trunc", BOOL, "Show whole descriptions"),
    ),
    least=1,
    most=1,
)
