"""corten compose volumes: the volumes of a project."""

from __future__ import annotations

from corten.cli.compose.choosing import chosen
from corten.cli.compose.context import Command
from corten.cli.flags import BOOL, STRING, flag
from corten.cli.formats import listing
from corten.cli.formats.volume import COLUMNS, VOLUME
from corten.client import volumes
from corten.compose import labels

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.cli.compose.context import Compose
    from corten.cli.flags import Flags


def run(compose: Compose, flags: Flags) -> int:
    found = volumes.listing(compose.client, {"label": [labels.of_project(compose.name)]}).get("Volumes") or []
    if flags.words:
        used = {mount.name for each in chosen(compose, flags.words) for mount in each.volumes}
        found = [each for each in found if each["Name"] in used]
    found.sort(key=lambda each: listing.natural(each["Name"]))
    rows = [listing.Row(VOLUME, each) for each in found]
    listing.show(VOLUME, rows, flags.text("format"), COLUMNS, quiet="Name" if flags.on("quiet") else "")
    return 0


COMMAND = Command(
    run,
    "[OPTIONS] [SERVICE...]",
    "List volumes",
    (
        flag("format", STRING, "'table', 'table TEMPLATE', 'json', or a Go template"),
        flag("quiet", BOOL, "Only names", "q"),
    ),
)
