"""Which services of a project are meant, and which resources they need."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Mapping, Sequence

from msgspec.structs import replace

from corten.compose.errors import ComposeError
from corten.compose.model import DependsOn, Project, Service


def with_profiles(project: Project, profiles: Sequence[str]) -> Project:
    """Services without a profile and those with one of these; "*" is all."""
    every = {**project.disabled, **project.services}
    active = {name: service for name, service in every.items() if _active(service, profiles)}
    rest = {name: service for name, service in every.items() if name not in active}
    return replace(project, services=active, disabled=rest, profiles=tuple(profiles))


def _active(service: Service, profiles: Sequence[str]) -> bool:
    return not service.profiles or "*" in profiles or any(each in profiles for each in service.profiles)


def with_equal_scales(project: Project) -> Project:
    """`deploy.replicas` is `scale` where a service has both."""
    services = {name: _scaled(service) for name, service in project.services.items()}
    return replace(project, services=services)


def _scaled(service: Service) -> Service:
    if service.scale is None or service.deploy is None:
        return service
    return replace(service, deploy=replace(service.deploy, replicas=service.scale))


def enabled(project: Project, names: Iterable[str]) -> Project:
    """With the profiles of these services switched on."""
    wanted = [project.disabled[name] for name in names if name in project.disabled]
    if not wanted:
        return project
    more = [profile for service in wanted for profile in service.profiles if profile not in project.profiles]
    return with_profiles(project, (*project.profiles, *dict.fromkeys(more)))


def selected(project: Project, names: Sequence[str]) -> Project:
    """Only these services (patterns as of a shell) and what they depend on.

    Raises ComposeError for one that is not there.
    """
    if not names:
        return project
    found: dict[str, Service] = {}
    waiting = [(name, True) for name in reversed(names)]
    while waiting:
        pattern, required = waiting.pop()
        matching = _matching(project, pattern)
        if not matching and required:
            raise ComposeError(f"no such service: {pattern}", remedy=_near(project))
        for name in matching:
            if name not in found:
                found[name] = project.services[name]
                waiting += [(each, how.required) for each, how in found[name].depends_on.items()]
    services = {name: _limited(service, found) for name, service in found.items()}
    rest = {name: service for name, service in project.services.items() if name not in found}
    return replace(project, services=services, disabled={**project.disabled, **rest})


def _matching(project: Project, pattern: str) -> list[str]:
    if pattern in project.services or not set(pattern) & set("*?["):
        return [pattern] if pattern in project.services else []
    return [name for name in project.services if fnmatch.fnmatchcase(name, pattern)]


def _near(project: Project) -> str:
    return f"services are {', '.join(sorted(project.services)[:20])}" if project.services else ""


def _limited(service: Service, found: Mapping[str, Service]) -> Service:
    """Without dependencies on services that are not meant."""
    kept: dict[str, DependsOn] = {name: how for name, how in service.depends_on.items() if name in found}
    return service if len(kept) == len(service.depends_on) else replace(service, depends_on=kept)


def without_unused(project: Project) -> Project:
    """Only networks, volumes, secrets, configs and models that an active service uses."""
    networks: set[str] = set()
    volumes: set[str] = set()
    secrets: set[str] = set()
    configs: set[str] = set()
    models: set[str] = set()
    for service in project.services.values():
        networks.update(service.networks)
        volumes.update(each.source for each in service.volumes if each.type == "volume")
        secrets.update(each.source for each in service.secrets)
        secrets.update(each.source for each in (service.build.secrets if service.build is not None else ()))
        configs.update(each.source for each in service.configs)
        models.update(service.models)
    return replace(
        project,
        networks={key: each for key, each in project.networks.items() if key in networks},
        volumes={key: each for key, each in project.volumes.items() if key in volumes},
        secrets={key: each for key, each in project.secrets.items() if key in secrets},
        configs={key: each for key, each in project.configs.items() if key in configs},
        models={key: each for key, each in project.models.items() if key in models},
    )


def in_order(project: Project) -> list[str]:
    """Names of services, each behind those that it depends on, else by name."""
    found: dict[str, None] = {}
    for start in sorted(project.services):
        waiting = [(start, False)]
        seen: set[str] = set()
        while waiting:
            name, ready = waiting.pop()
            if ready:
                found.setdefault(name)
            elif name in project.services and name not in found and name not in seen:
                seen.add(name)
                waiting.append((name, True))
                waiting += [(each, False) for each in sorted(project.services[name].depends_on, reverse=True)]
    return list(found)
