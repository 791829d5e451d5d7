"""Whether what a project's parts say of one another holds."""

from __future__ import annotations

from collections.abc import Iterator

from corten.compose.errors import ComposeError
from corten.compose.loader import shortports
from corten.compose.loader.cycles import check_cycles
from corten.compose.model import Project, Service

_INVALID = ": invalid compose project"
_MOST_EXPOSED = 1 << 17  # ports of one service


def check_consistency(project: Project) -> None:
    """Raises ComposeError for the first that does not."""
    for _, service in sorted(project.services.items()):
        for check in _CHECKS:
            check(project, service)
    for name, secret in sorted(project.secrets.items()):
        if not secret.external and not secret.file and not secret.environment:
            said = f'secret "{name}" must declare either `file` or `environment`{_INVALID}'
            raise ComposeError(said, path=f"secrets.{name}")
    check_cycles(project)


def _refused(service: Service, said: str, key: str = "", remedy: str = "") -> ComposeError:
    path = f"services.{service.name}{f'.{key}' if key else ''}"
    return ComposeError(said, path=path, remedy=remedy)


def _source(project: Project, service: Service) -> None:
    if service.build is None and not service.image and service.provider is None:
        said = f'service "{service.name}" has neither an image nor a build context specified{_INVALID}'
        raise _refused(service, said, remedy="give it image or build")


def _build(project: Project, service: Service) -> None:
    build = service.build
    if build is None:
        return
    if build.dockerfile_inline and build.dockerfile:
        said = f'service "{service.name}" declares mutualy exclusive dockerfile and dockerfile_inline{_INVALID}'
        raise _refused(service, said, "build.dockerfile_inline")
    for name, context in sorted(build.additional_contexts.items()):
        if not context.startswith("service:"):
            continue
        target = context.removeprefix("service:")
        other = project.services.get(target)
        if other is None or other.build is None:
            what = "unknown" if other is None else "non-buildable"
            said = f'service "{service.name}" declares {what} service "{target}" as additional contexts {name}'
            raise _refused(service, said, "build.additional_contexts")
    if build.platforms and service.platform and service.platform not in build.platforms:
        said = f'service.build.platforms MUST include service.platform "{service.platform}"{_INVALID}'
        raise _refused(service, said, "build.platforms")


def _networks(project: Project, service: Service) -> None:
    if service.network_mode and service.networks:
        said = f"service {service.name} declares mutually exclusive `network_mode` and `networks`{_INVALID}"
        raise _refused(service, said, "network_mode", "remove one of them")
    for name in sorted(service.networks):
        if name not in project.networks:
            said = f'service "{service.name}" refers to undefined network {name}{_INVALID}'
            raise _refused(service, said, f"networks.{name}", f"add {name} to networks")


def _health(project: Project, service: Service) -> None:
    test = service.healthcheck.test if service.healthcheck is not None else ()
    if test and test[0] not in ("CMD", "CMD-SHELL", "NONE"):
        said = 'healthcheck.test must start either by "CMD", "CMD-SHELL" or "NONE"'
        raise _refused(service, said, "healthcheck.test", 'write it as one text, or begin with "CMD"')


def _dependencies(project: Project, service: Service) -> None:
    for name, dependency in sorted(service.depends_on.items()):
        if name in project.services or (name in project.disabled and not dependency.required):
            continue
        said = f'service "{service.name}" depends on undefined service "{name}"{_INVALID}'
        remedy = ""
        if name in project.disabled:
            remedy = f"it has the profile {project.disabled[name].profiles[0]}: switch it on with --profile"
        raise _refused(service, said, f"depends_on.{name}", remedy)
    shared = service.network_mode.removeprefix("service:")
    if shared != service.network_mode and shared not in project.services:
        said = f"service \"{shared}\" not found for network_mode 'service:{shared}'"
        raise _refused(service, said, "network_mode")


def _resources(project: Project, service: Service) -> None:
    for what, name, known in _references(service, project):
        if not known:
            said = f'service "{service.name}" refers to undefined {what} {name}{_INVALID}'
            section = f"{what.split()[-1]}s"
            raise _refused(service, said, section, f"add {name} to {section}")


def _references(service: Service, project: Project) -> Iterator[tuple[str, str, bool]]:
    for volume in service.volumes:
        if volume.type == "volume" and volume.source:
            yield "volume", volume.source, volume.source in project.volumes
    for secret in service.build.secrets if service.build is not None else ():
        yield "build secret", secret.source, secret.source in project.secrets
    for config in service.configs:
        yield "config", config.source, config.source in project.configs
    for model in sorted(service.models):
        yield "model", model, model in project.models
    for secret in service.secrets:
        yield "secret", secret.source, secret.source in project.secrets


def _scale(project: Project, service: Service) -> None:
    replicas = service.deploy.replicas if service.deploy is not None else None
    where = f"services.{service.name}"
    if service.scale is not None and replicas is not None and service.scale != replicas:
        said = f"{where}: can't set distinct values on 'scale' and 'deploy.replicas'{_INVALID}"
        raise _refused(service, said, "scale", "remove one of them")
    if service.scale is not None and service.scale < 0:
        raise _refused(service, f"{where}.scale: must be greater than or equal to 0", "scale")
    if replicas is not None and replicas < 0:
        raise _refused(service, f"{where}.deploy.replicas: must be greater than or equal to 0", "deploy.replicas")
    if service.replicas > 1 and service.container_name:
        key = "deploy.replicas" if service.scale is None else "scale"
        said = f"services.{key}: can't set container_name and {service.name} as container name must be unique{_INVALID}"
        raise _refused(service, said, "container_name", "remove container_name")


def _exposed(project: Project, service: Service) -> None:
    found = 0
    for at, text in enumerate(service.expose):
        try:
            first, last = shortports.exposed(text)
        except ValueError as error:
            raise _refused(service, str(error), f"expose.{at}", "write 80, 8000-8010 or 53/udp") from None
        found += last - first + 1
        if found > _MOST_EXPOSED:
            raise _refused(service, f"more than {_MOST_EXPOSED} ports are exposed", f"expose.{at}")


def _limits(project: Project, service: Service) -> None:
    if service.deploy is None:
        return
    limits, reservations = service.deploy.resources.limits, service.deploy.resources.reservations
    pairs = (
        ("cpus", "limits.cpus", service.cpus, limits and limits.cpus),
        ("mem_limit", "limits.memory", service.mem_limit, limits and limits.memory),
        ("mem_reservation", "reservations.memory", service.mem_reservation, reservations and reservations.memory),
        ("pids_limit", "limits.pids", service.pids_limit, limits and limits.pids),
    )
    for key, other, value, wanted in pairs:
        if value and wanted is not None and value != wanted:
            said = f"services.{service.name}: can't set distinct values on '{key}' and 'deploy.resources.{other}'"
            raise _refused(service, said + _INVALID, key, f"remove {key}")


def _watch(project: Project, service: Service) -> None:
    for trigger in service.develop.watch if service.develop is not None else ():
        if not trigger.target and trigger.action not in ("rebuild", "restart"):
            said = f"services.{service.name}.develop.watch: target is required for non-rebuild actions{_INVALID}"
            raise _refused(service, said, "develop.watch", "give a target")


def _mounts(project: Project, service: Service) -> None:
    mounts: dict[str, str] = {}
    places = [("tmpfs", at, each.partition(":")[0]) for at, each in enumerate(service.tmpfs)]
    places += [("volumes", at, each.target) for at, each in enumerate(service.volumes)]
    for key, at, target in places:
        where = f"services.{service.name}.{key}[{at}]"
        if target in mounts:
            raise _refused(service, f"{where}: target {target} already mounted as {mounts[target]}", f"{key}.{at}")
        mounts[target] = where


def check_container_names(project: Project) -> None:
    """Raises ComposeError when two services give the same name."""
    names: dict[str, str] = {}
    for name, service in sorted(project.services.items()):
        chosen = service.container_name
        if chosen and names.setdefault(chosen, name) != name:
            said = f'services.{name}: container name "{chosen}" is already in use by service {names[chosen]}'
            raise _refused(service, said + _INVALID, "container_name")


_CHECKS = (
    *(_source, _build, _networks, _health, _dependencies, _resources, _scale, _limits, _watch, _mounts, _exposed),
)
