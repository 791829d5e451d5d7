"""corten image gc: remove images by the daemon's policy, or say what would go."""

from __future__ import annotations

import time

from corten.cli.columns import table
from corten.cli.command import Command
from corten.cli.flags import BOOL, STRING, flag
from corten.cli.output import out
from corten.cli.times import parse_moment
from corten.client import images
from corten.units.durations import human_duration
from corten.units.sizes import human_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.cli.flags import Flags
    from corten.cli.session import Session
    from corten.client.api import Json

KEYS = ("keep-images", "keep-bytes", "max-age", "free-space")


def run(session: Session, flags: Flags) -> int:
    dry = flags.on("dry-run")
    answer = images.gc(session.client, dry, {key: flags.text(key) for key in KEYS if flags.text(key)})
    policy = answer["Policy"]
    if not (policy["MaxAge"] or policy["FreeBytes"] or policy["FreePercent"]):
        out("No image goes by itself: neither max-age nor free-space is set (daemon.json, image-gc)")
    does = "would go" if dry else "removed"
    rows = [_row(does, one) for one in answer["Removed"]] + [_row("stays", one) for one in answer["Kept"]]
    if rows:
        out(table(["", "IMAGE", "ID", "SIZE", "LAST USED", "WHY"], rows))
    if answer["Orphans"]:
        out(f"{'Would free' if dry else 'Freed'} {human_size(answer['Orphans'])} that belongs to no image")
    out(f"Total {'reclaimable' if dry else 'reclaimed'} space: {human_size(answer['SpaceReclaimed'])}")
    return 0


def _row(does: str, one: Json) -> list[str]:
    used, _ = parse_moment(one["LastUsed"])
    ago = human_duration(max(0.0, time.time() - used)) + " ago"
    name = ", ".join(one["Names"]) or "<none>"
    return [does, name, one["Id"].partition(":")[2][:12], human_size(one["Bytes"]), ago, one["Reason"]]


COMMAND = Command(
    run,
    "[OPTIONS]",
    "Remove images by the daemon's garbage collection policy",
    (
        flag("dry-run", BOOL, "Remove nothing, and say what would go and why"),
        flag("free-space", STRING, "For once: go on until so much of the disk is free (20g, 10%)"),
        flag("keep-bytes", STRING, "For once: keep so many bytes of images at least"),
        flag("keep-images", STRING, "For once: keep so many images at least"),
        flag("max-age", STRING, "For once: what was not used for longer goes (720h)"),
    ),
    most=0,
)
