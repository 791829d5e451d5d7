"""The plan of `up`, `create`, `start` of a whole project: what is missing is made, what differs is made anew.

The steps, in this order: networks and volumes; containers, each service's behind those whose namespaces it shares; then
their starts, each behind the conditions of what its service depends on. Steps that are not behind one another are done
side by side.
"""

from __future__ import annotations

import msgspec

from corten.compose import hashes, labels
from corten.compose.loader.effects import check_possible, without_effect
from corten.compose.model import Project, Service
from corten.compose.names import container_name
from corten.compose.observed import CREATED, Container, Observed
from corten.compose.plan import divergence
from corten.compose.plan.asked import Asked
from corten.compose.plan.graph import Drawing, Graph
from corten.compose.plan.operations import (
    HEALTHY,
    READY,
    STARTED,
    Await,
    Create,
    Leave,
    Prepare,
    Remove,
    Rename,
    Start,
    Stop,
)
from corten.compose.plan.order import ordered
from corten.compose.plan.shared import Shared, shared
from corten.compose.refusals import Refused
from corten.compose.requests.endpoints import sharing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Hash = Callable[[Service, Mapping[str, str]], str]


_MOST = 10_000  # containers of one `up`: each has steps in memory, and a file from elsewhere says how many


class _Planned(msgspec.Struct):
    """One container as it will be: `ref` is its id, or its name where it is made; `made` the steps after which it is
    there, `starts` whether it has to be started, `fresh` whether it has never been; `healthy` that it runs and is."""

    name: str
    ref: str
    number: int
    made: tuple[int, ...]
    starts: bool
    why: str
    fresh: bool = True
    healthy: bool = False


class _Up:
    def __init__(self, project: Project, observed: Observed, asked: Asked, hash: Hash) -> None:
        self.project = project
        self.observed = observed
        self.asked = asked
        self.hash = hash
        self.drawing = Drawing()
        self.shared: Shared = shared(project, observed, asked, self.drawing)
        self.planned: dict[str, list[_Planned]] = {}
        self.started: dict[str, list[int]] = {}
        self.awaited: dict[tuple[str, str], int] = {}
        self.recreated = set[str]()
        self.wanted = 0

    def graph(self) -> Graph:
        check_possible(self.project, lambda name: name in self.observed.secrets)
        self.drawing.warnings += without_effect(self.project)
        services = self.project.services
        order = ordered({name: service.depends_on for name, service in services.items()})
        for name in order:
            if name in self.asked.pinned:
                self.planned[name] = []
            elif services[name].provider is None:
                self._converge(services[name])
        self._restart_dependents(order)
        if self.asked.start:
            for name in order:
                self._start(services[name])
        if self.asked.wait:
            self._wait(order)
        self._orphans()
        return self.drawing.graph()

    # ------------------------------------------------------------------------------------------------ containers

    def _converge(self, service: Service) -> None:
        wanted = self.asked.scales.get(service.name, service.replicas)
        if wanted > 1 and service.container_name:
            raise Refused(
                f'the "{service.name}" service has the container name "{service.container_name}", which only one '
                f"container can have: remove container_name to have {wanted}"
            )
        if wanted > 1 and not self.observed.balances and (ports := service.balanced):
            raise Refused(
                f"service {service.name} publishes port {ports[0].published} for {wanted} containers (endpoint_mode: "
                "vip), which this engine cannot balance: use Corten's, have one container, or give a range of ports"
            )
        self.wanted += wanted
        if self.wanted > _MOST:
            raise Refused(f"service {service.name}: {wanted} containers make more than {_MOST}, which are the most")
        present = self.observed.of(service.name)
        causes = {each.id: self._cause(service, each) for each in present}
        # What differs is the first to go, then what has the highest number.
        kept = sorted(present, key=lambda each: (bool(causes[each.id]), each.number))
        self.planned[service.name] = planned = []
        removed = {}
        for each in kept[wanted:]:
            why = f"{service.name} has {wanted} container{'' if wanted == 1 else 's'}"
            stopped = self._stop(service.name, each, why) if each.runs else []
            removed[each.number] = self.drawing.add(Remove(each.name, each.id), why, stopped)
        for each in kept[:wanted]:
            if causes[each.id]:
                planned.append(self._replace(service, each, causes[each.id]))
            else:
                planned.append(self._keep(service, each, removed))
        taken = {each.number for each in kept[:wanted]}
        free = (number for number in range(1, len(taken) + wanted + 1) if number not in taken)
        for number in [next(free) for _ in range(wanted - len(planned))]:
            planned.append(self._create(service, number))

    def _cause(self, service: Service, container: Container) -> str:
        ids = {}
        for name in sharing(service):
            if name in self.recreated:
                return f"it shares what {name} has, which is made anew"
            first = self.planned.get(name) or []
            ids[name] = first[0].ref if first else name
        return divergence.cause(
            self.project,
            service,
            container,
            self.observed,
            self.hash(service, ids),
            self.asked.recreation(service.name),
            self.shared.changed_networks,
        )

    def _keep(self, service: Service, container: Container, removed: Mapping[int, int]) -> _Planned:
        name, why = container.name, f"it is {container.state}"
        made: tuple[int, ...] = ()
        if container.labels.get(labels.REPLACE) and name.endswith(f"_{self._name(service, container.number)}"):
            # What made it was interrupted before the name was free.
            name = self._name(service, container.number)
            behind = [removed[container.number]] if container.number in removed else []
            made = (
                self.drawing.add(
                    Rename(name, container.name, container.id), "it has taken the place of another", behind
                ),
            )
        elif container.runs:
            self.drawing.add(Leave(name), "it is as it should be")
        fresh = container.state == CREATED
        return _Planned(name, container.id, container.number, made, not container.runs, why, fresh, container.healthy)

    def _name(self, service: Service, number: int) -> str:
        return container_name(self.project, service, number)

    def _needs(self, service: Service) -> list[int]:
        found = self.shared.needs(self.project, service)
        linked = [text.partition(":")[0] for text in service.links]
        for name in (*sharing(service), *linked):
            for each in self.planned.get(name, []):
                found += each.made
        return found

    def _create(self, service: Service, number: int) -> _Planned:
        name = self._name(service, number)
        why = f"{service.name} has no container with number {number}"
        made = self.drawing.add(Create(service.name, name, number), why, self._needs(service))
        return _Planned(name, name, number, (made,), True, "it is new")

    def _replace(self, service: Service, old: Container, why: str) -> _Planned:
        self.recreated.add(service.name)
        name = self._name(service, old.number)
        if old.id in self.shared.gone:
            made = self.drawing.add(Create(service.name, name, old.number), why, self._needs(service))
            return _Planned(name, name, old.number, (made,), True, "it is made anew")
        create = Create(service.name, name, old.number, old.id)
        made = self.drawing.add(create, why, self._needs(service))
        stopped = [made]
        if old.runs and old.id not in self.shared.stopped:
            stopped = self._stop(service.name, old, why, [made], quiet=True)
        removed = self.drawing.add(Remove(old.name, old.id, force=False, quiet=True), why, stopped)
        renamed = self.drawing.add(Rename(name, create.temporary), why, [removed])
        return _Planned(name, name, old.number, (renamed,), True, "it is made anew")

    def _stop(
        self, service: str, container: Container, why: str, needs: list[int] | None = None, quiet: bool = False
    ) -> list[int]:
        stop = Stop(service, container.name, container.id, self.asked.seconds, quiet)
        return [self.drawing.add(stop, why, needs or [])]

    def _restart_dependents(self, order: list[str]) -> None:
        """Those with `restart: true` for something that is made anew."""
        for name in order:
            causes = [
                other for other, each in self.project.services[name].depends_on.items()
                if each.restart and other in self.recreated
            ]  # fmt: skip
            for each in self.planned.get(name, []) if causes else []:
                if not each.starts:
                    why = f"{causes[0]} is made anew"
                    stop = Stop(name, each.name, each.ref, self.asked.seconds)
                    each.made = (*each.made, self.drawing.add(stop, why))
                    each.starts, each.why = True, why

    # ---------------------------------------------------------------------------------------------------- starts

    def _start(self, service: Service) -> None:
        self.started[service.name] = []
        if service.provider is not None:
            return  # it was run before: what it says is in the services
        needs = self._conditions(service)
        prepared = self._prepare(service, needs)
        for each in self.planned[service.name]:
            if each.starts:
                start = Start(service.name, each.name, each.ref)
                behind = [*each.made, *needs, *prepared.get(each.name, ())]
                self.started[service.name].append(self.drawing.add(start, each.why, behind))

    def _prepare(self, service: Service, needs: list[int]) -> dict[str, list[int]]:
        """The steps of `pre_start` that each container is started behind, by its name.

        Hooks of the whole service are run once, with the first container, when all are made or have never been
        started: not when more are added to those that are there.
        """
        fresh = [each for each in self.planned[service.name] if each.starts and each.fresh]
        if not service.pre_start or not fresh:
            return {}
        whole = len(fresh) == len(self.planned[service.name])
        found: dict[str, list[int]] = {}
        first: list[int] = []
        for at, each in enumerate(fresh):
            hooks = tuple(
                index for index, hook in enumerate(service.pre_start) if hook.per_replica or (whole and at == 0)
            )
            found[each.name] = [*first]
            if hooks:
                step = Prepare(service.name, each.name, each.ref, each.number, hooks)
                number = self.drawing.add(step, each.why, [*each.made, *needs, *first])
                found[each.name].append(number)
                first = first or [number]
        return found

    def _conditions(self, service: Service) -> list[int]:
        found = []
        for name, each in service.depends_on.items():
            if name not in self.project.services:
                continue
            if each.condition in ("", STARTED) or self.project.services[name].provider is not None:
                found += self.started[name]
                continue
            why = f"{service.name} depends on {name}: {each.condition}"
            for container in self.planned[name]:
                found.append(self._await(name, container, each.condition, each.required, why))
        return found

    def _await(self, service: str, container: _Planned, condition: str, required: bool, why: str) -> int:
        key = (container.ref, condition + str(required))
        if key not in self.awaited:
            met = container.healthy and not container.starts and condition in (HEALTHY, READY)
            step = Await(service, container.name, container.ref, condition, required, met)
            self.awaited[key] = self.drawing.add(step, why, [*container.made, *self.started[service]])
        return self.awaited[key]

    def _wait(self, order: list[str]) -> None:
        completed = {
            other for service in self.project.services.values() for other, each in service.depends_on.items()
            if each.condition not in ("", STARTED, HEALTHY)
        }  # fmt: skip
        for name in order:
            if name in completed or (self.asked.named and name not in self.asked.named):
                continue
            for container in self.planned.get(name, []):
                self._await(name, container, READY, True, "it was asked for (--wait)")

    # --------------------------------------------------------------------------------------------------- orphans

    def _orphans(self) -> None:
        known = {*self.project.services, *self.project.disabled}
        found = [each for each in self.observed.containers if each.service not in known and not each.oneoff]
        if not found:
            return
        if not self.asked.remove_orphans:
            if not self.asked.ignore_orphans:
                names = " ".join(each.name for each in found)
                self.drawing.warnings.append(
                    f"Found orphan containers ([{names}]) for this project. If you removed or renamed this service in "
                    "your compose file, you can run this command with the --remove-orphans flag to clean it up."
                )
            return
        for each in found:
            why = f"the files have no service {each.service} (--remove-orphans)"
            stopped = self._stop(each.service, each, why) if each.runs else []
            self.drawing.add(Remove(each.name, each.id), why, stopped)


def up(project: Project, observed: Observed, asked: Asked, hash: Hash = hashes.resolved) -> Graph:
    """`project` has the services that are asked for, and those that they depend on. Raises ComposeError for what one
    machine cannot do, Refused for what the engine's state forbids."""
    return _Up(project, observed, asked, hash).graph()
