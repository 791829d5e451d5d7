"""The plans of a replacement: the new container beside the old one, then either of them alone."""

from __future__ import annotations

import msgspec

from corten.compose import hashes
from corten.compose.model import Port, Project, Service
from corten.compose.names import container_name
from corten.compose.observed import Container, Observed
from corten.compose.plan import divergence
from corten.compose.plan.asked import Asked
from corten.compose.plan.graph import Drawing, Graph
from corten.compose.plan.operations import READY, Await, Create, Prepare, Remove, Rename, Start, Stop
from corten.compose.plan.order import ordered
from corten.compose.refusals import Refused
from corten.compose.requests.endpoints import sharing


class Replacement(msgspec.Struct, frozen=True):
    """`name` is what the new container is called in the end, `hooks` what runs before it: places in pre_start."""

    service: str
    name: str
    old: Container
    cause: str
    hooks: tuple[int, ...] = ()

    @property
    def temporary(self) -> str:
        return self.create.temporary

    @property
    def create(self) -> Create:
        return Create(self.service, self.name, self.old.number, self.old.id)


def replacements(project: Project, observed: Observed, asked: Asked) -> list[Replacement]:
    """In the order in which they are done. Raises Refused for a service that cannot have two containers at once."""
    found: list[Replacement] = []
    for name in ordered({each: service.depends_on for each, service in project.services.items()}):
        service = project.services[name]
        if service.provider is not None:
            continue
        for each in observed.of(name):
            policy = asked.recreation(name)
            ids = {other: _first(observed, other) for other in sharing(service)}
            why = divergence.cause(project, service, each, observed, hashes.resolved(service, ids), policy)
            if why and each.runs:
                _check(service, service.balanced if observed.balances else ())
                final = container_name(project, service, each.number)
                first = all(other.service != name for other in found)
                hooks = (at for at, hook in enumerate(service.pre_start) if first or hook.per_replica)
                found.append(Replacement(name, final, each, why, tuple(hooks)))
    return found


def _first(observed: Observed, service: str) -> str:
    found = observed.of(service)
    return found[0].id if found else service


def _check(service: Service, shared: tuple[Port, ...]) -> None:
    fixed = [
        each.published for each in service.ports if each.published and "-" not in each.published and each not in shared
    ]
    if fixed:
        raise Refused(
            f"service {service.name} publishes port {fixed[0]}, which two containers cannot have at once: "
            "give a range or no port of the host for --rollout, or use up without it"
        )


def begin(each: Replacement) -> Graph:
    drawing = Drawing()
    behind = [drawing.add(each.create, each.cause)]
    if each.hooks:
        prepare = Prepare(each.service, each.name, each.name, each.old.number, each.hooks)
        behind.append(drawing.add(prepare, each.cause, behind))
    started = drawing.add(Start(each.service, each.name, each.name), each.cause, behind)
    drawing.add(Await(each.service, each.name, each.name, READY), "the old one stays until then", [started])
    return drawing.graph()


def finish(each: Replacement, new: str, seconds: int | None) -> Graph:
    """`new` is the id of the container that is ready."""
    drawing = Drawing()
    stopped = drawing.add(Stop(each.service, each.old.name, each.old.id, seconds), "the new one is ready")
    removed = drawing.add(Remove(each.old.name, each.old.id, force=False), "the new one is ready", [stopped])
    drawing.add(Rename(each.name, each.temporary, new), "its name is free", [removed])
    return drawing.graph()


def abandon(each: Replacement, new: str) -> Graph:
    """`new` is "" when it could not even be made."""
    drawing = Drawing()
    if new:
        drawing.add(Remove(each.temporary, new, volumes=False), "it did not become ready")
    return drawing.graph()
