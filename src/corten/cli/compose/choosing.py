"""Which containers a command is about."""

from __future__ import annotations

from corten.cli.errors import CommandError
from corten.client.quickjson import quote
from corten.compose.observed import Container, project_containers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from corten.cli.compose.context import Compose


def chosen(
    compose: Compose, services: Sequence[str], everything: bool = True, oneoffs: bool = False, orphans: bool = False
) -> list[Container]:
    """Of these services, or of all that the files have (without files all that are there); by service and number.

    Raises CommandError for a service that is not there.
    """
    found = project_containers(compose.client, compose.name, everything, oneoffs)
    project = compose.project_if_any()
    if project is not None and not services and not orphans:
        found = [each for each in found if each.service in project.services]
    known = {each.service for each in found}
    if missing := [name for name in services if name not in known]:
        check_services(compose, missing)
    return sorted(
        (each for each in found if not services or each.service in services),
        key=lambda each: (each.service, each.number, each.created, each.name),
    )


def check_services(compose: Compose, names: Sequence[str]) -> None:
    """Raises CommandError for one that no file has; without files none is known to be wrong."""
    project = compose.project_if_any()
    if project is None:
        return
    for name in names:
        if name not in project.services and name not in project.disabled:
            raise CommandError(f"no such service: {name}")


def one(compose: Compose, service: str, index: int = 0, everything: bool = False) -> Container:
    """The first container of a service that runs, or the one with this number. Raises CommandError."""
    found = of_service(compose, service, index, everything)
    if not found:
        number = f" container #{index}" if index else ""
        raise CommandError(f"service {quote(service)} is not running{number}{others(compose, service)}")
    return found[0]


def of_service(
    compose: Compose, service: str, index: int = 0, everything: bool = False, oneoffs: bool = False
) -> list[Container]:
    """The containers of one service, or the one with this number; none of a service that is not there."""
    found = project_containers(compose.client, compose.name, everything, oneoffs)
    mine = [each for each in found if each.service == service and (not index or each.number == index)]
    return sorted(mine, key=lambda each: (each.number, each.created, each.name))


def others(compose: Compose, service: str) -> str:
    """What is said behind an error about a service that no file has."""
    project = compose.project_if_any()
    if project is None or service in project.services or service in project.disabled:
        return ""
    return f": services are {', '.join(sorted(project.services)[:20])}"
