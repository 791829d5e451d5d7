"""corten compose cp: files between a service's containers and here."""

from __future__ import annotations

from corten.cli.commands.cp import COMMAND as CP
from corten.cli.compose.choosing import of_service, others
from corten.cli.compose.context import Command
from corten.cli.compose.passing import given, pass_on
from corten.cli.errors import CommandError
from corten.cli.flags import BOOL, INT, flag
from corten.client.quickjson import quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.cli.compose.context import Compose
    from corten.cli.flags import Flags
    from corten.compose.observed import Container


def run(compose: Compose, flags: Flags) -> int:
    source, target = flags.words
    options = given(flags, "archive", "follow-link")
    if (service := _service(source)) is not None:
        if _service(target) is not None:
            raise CommandError("copying between services is not supported")
        container = _containers(compose, service, flags)[0]
        return pass_on(compose, CP, [*options, f"{container.name}:{source.partition(':')[2]}", target])
    service = _service(target)
    if service is None:
        raise CommandError("unknown copy direction: one of both must be SERVICE:PATH")
    for container in _containers(compose, service, flags):
        pass_on(compose, CP, [*options, source, f"{container.name}:{target.partition(':')[2]}"])
    return 0


def _containers(compose: Compose, service: str, flags: Flags) -> list[Container]:
    """Raises CommandError when there is none."""
    found = of_service(compose, service, flags.number("index"), everything=True, oneoffs=flags.on("all"))
    if not found:
        raise CommandError(f"no container found for service {quote(service)}{others(compose, service)}")
    return found


def _service(word: str) -> str | None:
    name, colon, _ = word.partition(":")
    return name if colon and name and not word.startswith(("/", ".", "-")) and "/" not in name else None


COMMAND = Command(
    run,
    "[OPTIONS] SERVICE:SRC_PATH DEST_PATH|-\n        corten compose cp [OPTIONS] SRC_PATH|- SERVICE:DEST_PATH",
    "Copy files between a service's container and here",
    (
        flag("all", BOOL, "Containers of `run` as well"),
        flag("archive", BOOL, "Keep owners", "a"),
        flag("follow-link", BOOL, "Copy what a link as the source leads to", "L"),
        flag("index", INT, "The container with this number"),
    ),
    least=2,
    most=2,
)
