"""The plan of `down`: containers in the opposite of the order in which they were started, then what they shared.

It needs no file: what there is, and what depends on what, is in the labels. Where there is one, it says which networks
and volumes are the project's.
"""

from __future__ import annotations

import msgspec

from corten.compose import labels
from corten.compose.model import Project
from corten.compose.observed import Container, Observed
from corten.compose.plan.graph import Drawing, Graph
from corten.compose.plan.operations import Remove, RemoveImage, RemoveNetwork, RemoveVolume, Stop, TakeBack
from corten.compose.plan.order import ordered

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping


class DownAsked(msgspec.Struct, frozen=True):
    """`services` empty for all; `images` is "", "local" or "all"."""

    services: tuple[str, ...] = ()
    seconds: int | None = None
    volumes: bool = False
    images: str = ""
    remove_orphans: bool = False


def down(project: Project | None, observed: Observed, asked: DownAsked) -> Graph:
    """`project` None: without files, all that has the project's label."""
    drawing = Drawing()
    chosen = [each for each in observed.containers if _is_meant(each, project, asked)]
    removed = stop_and_remove(drawing, chosen, asked.seconds, "down", volumes=True)
    for name in _providers(project, asked.services):
        removed.append(drawing.add(TakeBack(name), "down", removed))
    if project is not None and not asked.remove_orphans and not asked.services:
        known = {*project.services, *project.disabled}
        orphans = [each.name for each in observed.containers if each.service not in known and not each.oneoff]
        if orphans:
            drawing.warnings.append(
                f"Found orphan containers ([{' '.join(orphans)}]) for this project. If you removed or renamed this "
                "service in your compose file, you can run this command with the --remove-orphans flag to clean it up."
            )
    if not asked.services:
        _shared(drawing, project, observed, asked, removed)
    _images(drawing, project, observed, asked, removed)
    return drawing.graph()


def stop_and_remove(
    drawing: Drawing, chosen: Iterable[Container], seconds: int | None, why: str, volumes: bool = False
) -> list[int]:
    """Stop each behind those that depend on it, and remove it; the steps that remove."""
    chosen = list(chosen)
    stops = stop(drawing, chosen, seconds, why)
    removed = []
    for each in chosen:
        needs = [stops[each.id]] if each.id in stops else []
        removed.append(drawing.add(Remove(each.name, each.id, volumes), why, needs))
    return removed


def stop(drawing: Drawing, chosen: Iterable[Container], seconds: int | None, why: str) -> dict[str, int]:
    """Each behind those that depend on it; the steps by id, for what runs."""
    by_service: dict[str, list[Container]] = {}
    for each in chosen:
        by_service.setdefault(each.service, []).append(each)
    needs = needs_of(by_service)
    found: dict[str, int] = {}
    of_service: dict[str, list[int]] = {}
    for name in reversed(ordered(needs)):
        behind = [step for other, each in needs.items() if name in each for step in of_service.get(other, ())]
        of_service[name] = []
        for each in by_service[name]:
            if each.runs:
                found[each.id] = drawing.add(Stop(name, each.name, each.id, seconds), why, behind)
                of_service[name].append(found[each.id])
        if not of_service[name]:
            of_service[name] = behind
    return found


def needs_of(by_service: Mapping[str, Iterable[Container]]) -> dict[str, set[str]]:
    """What each service depends on, as the labels of its containers have it: name:condition:restart, with commas."""
    found: dict[str, set[str]] = {}
    for name, all_ in by_service.items():
        texts = [each.labels.get(labels.DEPENDS_ON, "") for each in all_]
        named = {part.partition(":")[0] for text in texts for part in text.split(",")}
        found[name] = {each for each in named if each in by_service and each != name}
    return found


def _is_meant(container: Container, project: Project | None, asked: DownAsked) -> bool:
    if container.oneoff and not container.hook and not asked.remove_orphans:
        return False  # what `run` has made belongs to its caller
    if asked.services:
        return container.service in asked.services
    if project is None or asked.remove_orphans:
        return True
    return container.service in project.services


def _providers(project: Project | None, services: Collection[str]) -> list[str]:
    if project is None:
        return []
    return [
        name for name, each in project.services.items()
        if each.provider is not None and (not services or name in services)
    ]  # fmt: skip


def _shared(
    drawing: Drawing, project: Project | None, observed: Observed, asked: DownAsked, removed: list[int]
) -> None:
    kept = set() if project is None else {each.name for each in project.networks.values() if each.external}
    for name, network in sorted(observed.networks.items()):
        if name not in kept and labels.PROJECT in network.labels:
            drawing.add(RemoveNetwork(name, network.id), "down", removed)
    if not asked.volumes:
        return
    kept = set() if project is None else {each.name for each in project.volumes.values() if each.external}
    for name, given in sorted(observed.volumes.items()):
        if name not in kept and labels.VOLUME in given:
            drawing.add(RemoveVolume(name), "down --volumes", removed)


def _images(
    drawing: Drawing, project: Project | None, observed: Observed, asked: DownAsked, removed: list[int]
) -> None:
    if not asked.images or project is None:
        return
    names = [
        project.image_of(each) for name, each in project.services.items()
        if each.provider is None and (asked.images == "all" or (each.build is not None and not each.image))
        and (not asked.services or name in asked.services)
    ]  # fmt: skip
    for name in sorted(set(names)):
        if name in observed.images:
            drawing.add(RemoveImage(name), f"down --rmi {asked.images}", removed)
