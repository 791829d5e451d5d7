"""Images of services that are built: the `build` of each as a target of a bake, all in one.

An engine that is not ours gets each context as a tar by POST /build, which all engines have; what that cannot say is
refused by name.
"""

from __future__ import annotations

from corten.cli import baking, buildprogress
from corten.cli.baketargets import Chosen
from corten.cli.errors import CommandError
from corten.cli.output import STDERR
from corten.compose import labels

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from corten.cli.compose.context import Compose
    from corten.client.api import Json
    from corten.compose.execute.reports import Report
    from corten.compose.model import Build, Project, Service

_SERVICE = "service:"


def build(
    compose: Compose, project: Project, services: Sequence[str], options: Sequence[str], quiet: bool, shown: Report
) -> None:
    """`options` are words of `corten build` for all. Raises CommandError, ApiError."""
    chosen = Chosen(list(services))
    for name in _with_needs(project, services):
        chosen.targets[name] = target(project, project.services[name])
    for name in services:
        shown.event("Service", name, "Building")
    if compose.client.ours:
        view = buildprogress.view("quiet" if quiet else _view(compose), STDERR)
        baking.Baking(compose.session, chosen, list(options)).run(view)
    else:
        from corten.cli.compose import classic

        for name in chosen.targets:
            classic.build(compose.client, project.services[name], chosen.targets[name], options, quiet)
    for name in services:
        shown.event("Service", name, "Built")


def _view(compose: Compose) -> str:
    return compose.progress if compose.progress in ("auto", "tty", "plain", "quiet") else "plain"


def _with_needs(project: Project, names: Sequence[str]) -> list[str]:
    """Each behind the services whose images are contexts of its own. Raises CommandError for one that is not built."""
    found: list[str] = []
    waiting: list[tuple[str, tuple[str, ...]]] = [(name, ()) for name in names]
    while waiting:
        name, within = waiting.pop(0)
        service = project.services.get(name)
        if service is None or service.build is None:
            raise CommandError(f"service {name} has no build section, and is a context of {within[-1]}")
        needs = [
            value.removeprefix(_SERVICE)
            for value in service.build.additional_contexts.values()
            if value.startswith(_SERVICE)
        ]
        if name in needs or any(need in within for need in needs):
            raise CommandError(f"the image of service {name} is a context of itself")
        if name in found:
            found.remove(name)
        found.insert(0, name)
        waiting += [(need, (*within, name)) for need in needs]
    return found


def target(project: Project, service: Service) -> Json:
    """As a bake file has it."""
    given = service.build
    assert given is not None
    found: dict[str, Any] = {
        "context": given.context,
        "dockerfile": given.dockerfile,
        "dockerfile-inline": given.dockerfile_inline,
        "args": _arguments(project, given),
        "labels": {**given.labels, **_labels(project, service)},
        "contexts": {name: _context(value) for name, value in given.additional_contexts.items()},
        "target": given.target,
        "tags": [project.image_of(service), *given.tags],
        "network": given.network,
        "shm-size": str(int(given.shm_size)) if given.shm_size else "",
        "ulimits": [f"{name}={each.single or each.soft}:{each.single or each.hard}"
                    for name, each in given.ulimits.items()],
        "cache-from": list(given.cache_from),
        "cache-to": list(given.cache_to),
        "no-cache": given.no_cache,
        "pull": given.pull,
        "platforms": list(given.platforms) or ([service.platform] if service.platform else []),
        "ssh": [f"{each.id}={each.path}" if each.path else each.id for each in given.ssh],
        "secret": [_secret(project, each.source, each.target) for each in given.secrets],
        "extra-hosts": {name: address for name, all_ in given.extra_hosts.items() for address in all_},
        "entitlements": [*given.entitlements, *(["security.insecure"] if given.privileged else [])],
        "attest": _attested(given),
    }  # fmt: skip
    return {key: value for key, value in found.items() if value}


def _arguments(project: Project, given: Build) -> dict[str, str]:
    found = {}
    for name, value in given.args.items():
        value = project.environment.get(name) if value is None else value
        if value is not None:
            found[name] = value
    return found


def _labels(project: Project, service: Service) -> dict[str, str]:
    return {
        labels.PROJECT: project.name,
        labels.SERVICE: service.name,
        labels.VERSION: labels.SPOKEN,
    }


def _context(value: str) -> str:
    return f"target:{value.removeprefix(_SERVICE)}" if value.startswith(_SERVICE) else value


def _secret(project: Project, source: str, id: str) -> Json:
    known = project.secrets[source]
    if known.environment:
        return {"id": id or source, "type": "env", "env": known.environment}
    return {"id": id or source, "src": known.file}


def _attested(given: Build) -> list[str]:
    found = []
    for kind in ("provenance", "sbom"):
        value = getattr(given, kind)
        if value and value not in ("false", "0"):
            found.append(f"type={kind}" + ("" if value in ("true", "1") else f",{value}"))
    return found
