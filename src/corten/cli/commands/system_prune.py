"""corten system prune: remove whatever nothing uses."""

from __future__ import annotations

from corten.cli.command import Command
from corten.cli.errors import CommandError
from corten.cli.flags import BOOL, FILTER, flag
from corten.cli.output import out
from corten.cli.pruning import confirmed, filters, image_lines
from corten.client import containers, images, networks, system, volumes
from corten.units.sizes import human_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.cli.flags import Flags
    from corten.cli.session import Session
    from corten.client.api import Json


def run(session: Session, flags: Flags) -> int:
    wanted = filters(session, flags.many("filter"))
    specs = [f"{name}={value}" for name, values in wanted.items() for value in values]
    everything, volumes_too = flags.on("all"), flags.on("volumes")
    if volumes_too and "until" in wanted:
        raise CommandError('ERROR: The "until" filter is not supported with "--volumes"')
    if not flags.on("force") and not confirmed(_warning(session, everything, volumes_too, sorted(specs))):
        return 0
    freed = _prune(session, wanted, everything, volumes_too)
    out(f"Total reclaimed space: {human_size(freed)}")
    return 0


def _prune(session: Session, wanted: dict[str, list[str]], everything: bool, volumes_too: bool) -> int:
    """Containers first: what only they used is unused then. Bytes."""
    client = session.client
    answer = containers.prune(client, wanted)
    _listed("Deleted Containers:", answer.get("ContainersDeleted"))
    freed = _bytes(answer)
    _listed("Deleted Networks:", networks.prune(client, wanted).get("NetworksDeleted"))
    if volumes_too:
        answer = volumes.prune(client, wanted)
        _listed("Deleted Volumes:", answer.get("VolumesDeleted"))
        freed += _bytes(answer)
    answer = images.prune(client, {"dangling": ["false" if everything else "true"], **wanted})
    _listed("Deleted Images:", image_lines(answer))
    freed += _bytes(answer)
    if client.at_least("1.31"):
        answer = system.prune_builds(client, everything, wanted)
        _listed("Deleted build cache objects:", answer.get("CachesDeleted"))
        freed += _bytes(answer)
    return freed


def _listed(title: str, lines: list[str] | None) -> None:
    if lines:
        out("\n".join([title, *lines, ""]))


def _bytes(answer: Json) -> int:
    return int(answer.get("SpaceReclaimed") or 0)


def _warning(session: Session, everything: bool, volumes_too: bool, specs: list[str]) -> str:
    lines = ["all stopped containers", "all networks not used by at least one container"]
    if volumes_too:
        which = "anonymous volumes" if session.client.at_least("1.42") else "volumes"
        lines.append(f"all {which} not used by at least one container")
    unused = "all images without at least one container associated to them"
    lines += [unused, "all build cache"] if everything else ["all dangling images", "unused build cache"]
    text = "This will remove:\n" + "".join(f"  - {line}\n" for line in lines)
    if specs:
        text += "\n  Items to be pruned will be filtered with:\n" + "".join(f"  - {spec}\n" for spec in specs)
    return text


COMMAND = Command(
    run,
    "[OPTIONS]",
    "Remove whatever nothing uses",
    (
        flag("all", BOOL, "All images that no container uses, not only those without a name", "a"),
        flag("filter", FILTER, "Only those that match (until=TIME, label=NAME)"),
        flag("force", BOOL, "Do not ask", "f"),
        flag("volumes", BOOL, "Anonymous volumes as well"),
    ),
    most=0,
)
