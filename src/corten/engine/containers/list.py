"""GET /containers/json: which containers, in which order, in Docker's short shape."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from corten.engine.containers import links
from corten.engine.containers.container import Container
from corten.engine.containers.containers import Containers
from corten.engine.containers.inspect import endpoint_settings, network_id, ports
from corten.engine.containers.records import Record
from corten.errors import Invalid, NotFound
from corten.images.images import Images
from corten.plan.mount_points import inspect_mount
from corten.spec.docker import times
from corten.spec.docker.filters import Filters
from corten.spec.json import Json
from corten.units.durations import SECOND, human_duration

_PORTS = frozenset(("expose", "publish"))
_KEYS = ("ancestor", "before", "expose", "exited", "health", "id", "isolation", "is-task", "label", "name", "network")
KEYS = frozenset((*_KEYS, "publish", "since", "status", "volume"))
_STATES = frozenset(("created", "running", "paused", "restarting", "removing", "exited", "dead"))
_HEALTH = frozenset(("none", "starting", "healthy", "unhealthy"))
_Test = Callable[[Container], bool]


def shown(containers: Containers, every: bool = False, limit: int = 0, filters: Filters | None = None) -> list[Json]:
    """Docker's list, youngest first; see `select`. Raises Invalid for a filter that does not exist."""
    make = summaries(containers)
    return [make(container) for container in select(containers, every, limit, filters or Filters())]


def select(containers: Containers, every: bool, limit: int, filters: Filters) -> list[Container]:
    """Youngest first; running ones only unless `every`, a limit, or a filter on states says otherwise: no other filter
    does, as with dockerd, `before`, `since` and `exited` included."""
    filters.check(KEYS)
    tests = list(_tests(containers, filters))
    every = every or limit > 0 or "status" in filters
    found = [
        container
        for container in containers.by_id.values()
        if (every or container.record.state.running) and all(test(container) for test in tests)
    ]
    found.sort(key=lambda container: container.record.created, reverse=True)
    return found[:limit] if limit > 0 else found


def _tests(containers: Containers, filters: Filters) -> Iterable[_Test]:
    for key, values in filters.items():
        if key not in _PORTS:
            yield _MAKERS[key](containers, values)
    if _PORTS & filters.keys():
        yield _by_port(filters)


def _by_status(containers: Containers, values: frozenset[str]) -> _Test:
    for value in values - _STATES:
        raise Invalid(f"invalid filter 'status={value}'")
    return lambda c: c.status in values


def _by_exited(containers: Containers, values: frozenset[str]) -> _Test:
    try:
        codes = {int(value) for value in values}
    except ValueError:
        raise Invalid(f"invalid filter 'exited={sorted(values)}'") from None
    return lambda c: c.record.state.status == "exited" and c.record.state.exit_code in codes


def _by_health(containers: Containers, values: frozenset[str]) -> _Test:
    for value in values - _HEALTH:
        raise Invalid(f"unrecognised filter value for health: {value}")
    return lambda c: (c.health.status if c.health is not None else "none") in values


def _by_id(containers: Containers, values: frozenset[str]) -> _Test:
    return lambda c: any(c.id.startswith(value) for value in values)


def _by_name(containers: Containers, values: frozenset[str]) -> _Test:
    """With or without its slash; not the names that links give it."""
    named = Filters({"name": values}).pattern("name")
    return lambda c: named("/" + c.record.name) or named(c.record.name)


def _by_label(containers: Containers, values: frozenset[str]) -> _Test:
    wanted = Filters({"label": values})
    return lambda c: wanted.match_labels("label", c.record.labels)


def _by_ancestor(containers: Containers, values: frozenset[str]) -> _Test:
    """Of these images, and of those that were committed from containers of them, and so on."""
    images, ids = containers.stores.images, set()
    for value in values:
        try:
            ids.add(images.resolve(value).id)
        except (NotFound, Invalid):
            continue
    known: dict[str, bool] = {}

    def test(c: Container) -> bool:
        id = c.record.image_id
        if id not in known:
            known[id] = not ids.isdisjoint(images.lineage(id))
        return known[id]

    return test


def _by_network(containers: Containers, values: frozenset[str]) -> _Test:
    def test(c: Container) -> bool:
        ids = [network_id(containers, c, name) for name in c.record.networks]
        return bool(values & c.record.networks.keys()) or any(i.startswith(v) for i in ids for v in values if v)

    return test


def _by_volume(containers: Containers, values: frozenset[str]) -> _Test:
    return lambda c: any(values & {point.name, point.destination, point.source} for point in c.record.mounts)


def _before(containers: Containers, values: frozenset[str]) -> _Test:
    limit = min(containers.get(value).record.created for value in values)
    return lambda c: c.record.created < limit


def _since(containers: Containers, values: frozenset[str]) -> _Test:
    limit = max(containers.get(value).record.created for value in values)
    return lambda c: c.record.created > limit


def _by_port(filters: Filters) -> _Test:
    """What runs has ports: `publish` looks at those of the host, `expose` at those inside, and either will do."""
    published, exposed = (
        {port for value in filters.get(key, ()) for port in port_range(value)} for key in ("publish", "expose")
    )

    def test(container: Container) -> bool:
        for port in _summary_ports(container):
            if f"{port.get('PublicPort', 0)}/{port['Type']}" in published:
                return True
            if f"{port['PrivatePort']}/{port['Type']}" in exposed:
                return True
        return False

    return test


def port_range(text: str) -> list[str]:
    """ "8000-8002/udp" as ["8000/udp", ...]. Invalid."""
    numbers, _, protocol = text.partition("/")
    first, dash, last = numbers.partition("-")
    try:
        begin, end = int(first), int(last) if dash else int(first)
    except ValueError:
        raise Invalid(f"invalid port: {text}") from None
    if not 0 <= begin <= end <= 65535:
        raise Invalid(f"invalid port: {text}")
    return [f"{port}/{protocol or 'tcp'}" for port in range(begin, end + 1)]


def _anything(containers: Containers, values: frozenset[str]) -> _Test:
    return lambda c: True


def _is_task(containers: Containers, values: frozenset[str]) -> _Test:
    wanted = Filters({"is-task": values}).flag("is-task")
    return lambda c: not wanted


_MAKERS: dict[str, Callable[[Containers, frozenset[str]], _Test]] = {
    "ancestor": _by_ancestor,
    "before": _before,
    "exited": _by_exited,
    "health": _by_health,
    "id": _by_id,
    "isolation": _anything,
    "is-task": _is_task,
    "label": _by_label,
    "name": _by_name,
    "network": _by_network,
    "since": _since,
    "status": _by_status,
    "volume": _by_volume,
}


def summaries(containers: Containers) -> Callable[[Container], Json]:
    """What makes the rows of one list."""
    images, linked = ImageNames(containers.stores.images), links.names_by_id(containers)
    return lambda container: summary(containers, images, container, linked.get(container.id, ()))


def summary(containers: Containers, names: ImageNames, container: Container, linked: Iterable[str] = ()) -> Json:
    """Docker's ContainerSummary, without sizes; `linked` are the names that links give it."""
    record = container.record
    networks = {name: endpoint_settings(containers, container, name) for name in record.networks}
    return {
        "Id": record.id,
        "Names": sorted(["/" + record.name, *linked]),
        "Image": names.of(record),
        "ImageID": record.image_id,
        "Command": " ".join([record.path, *map(_quoted, record.args)]),
        "Created": record.created // SECOND,
        "Ports": _summary_ports(container),
        "Labels": record.labels,
        "State": container.status,
        "Status": status(container),
        "HostConfig": _host(record),
        "NetworkSettings": {"Networks": networks},
        "Mounts": [inspect_mount(point) for point in record.mounts],
    }


def _host(record: Record) -> Json:
    shown: Json = {"NetworkMode": record.host_config.network_mode or "default"}
    if record.host_config.annotations:
        shown["Annotations"] = record.host_config.annotations
    return shown


def _quoted(word: str) -> str:
    """Docker quotes an argument with a blank, and no other."""
    return f"'{word}'" if " " in word else word


class ImageNames:
    """How images are called in one list: the reference that was used, unless it means another image by now."""

    def __init__(self, images: Images) -> None:
        self._images = images
        self._ids: dict[str, str] = {}

    def of(self, record: Record) -> str:
        if record.image not in self._ids:
            self._ids[record.image] = self._id(record.image)
        return record.image if self._ids[record.image] == record.image_id else record.image_id

    def _id(self, reference: str) -> str:
        try:
            return self._images.resolve(reference).id
        except (NotFound, Invalid):
            return ""


def _summary_ports(container: Container) -> list[Json]:
    shown: list[Json] = []
    for port, bindings in ports(container).items():
        number, _, protocol = port.partition("/")
        base = {"PrivatePort": int(number), "Type": protocol or "tcp"}
        for binding in bindings or ():
            public = {"PublicPort": int(binding["HostPort"])} if binding["HostPort"] else {}
            shown.append({"IP": binding.get("HostIp", ""), **base, **public})
        if not bindings:
            shown.append(base)
    return shown


def status(container: Container) -> str:
    """In people's words, as `docker ps` prints it."""
    state = container.record.state
    match container.status:
        case "running":
            return f"Up {_age(state.started_at)}" + (container.health.suffix() if container.health is not None else "")
        case "paused":
            return f"Up {_age(state.started_at)} (Paused)"
        case "restarting":
            return f"Restarting ({state.exit_code}) {_age(state.finished_at)} ago"
        case "removing":
            return "Removal In Progress"
        case "dead":
            return "Dead"
        case "created":
            return "Created"
        case "exited":
            return f"Exited ({state.exit_code}) {_age(state.finished_at)} ago"


def _age(moment: int) -> str:
    return human_duration((times.now() - moment) / SECOND)
