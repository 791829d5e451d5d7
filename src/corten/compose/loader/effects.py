"""What one machine makes nothing of (said once), and what it cannot do (refused before anything is made)."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterator

from corten.compose.errors import ComposeError
from corten.compose.model import Deploy, FileReference, Project, Service

_SWARM = "has no effect without a cluster"


def without_effect(project: Project) -> tuple[str, ...]:
    """One line for each key that is accepted and not used: "FILE:LINE: services.web.deploy.mode ..."."""
    found: list[str] = []
    for _, service in sorted(project.services.items()):
        for key, why in (*_deploy(service), *_files(project, service), *_windows(service)):
            path = f"services.{service.name}.{key}"
            position = project.position(path)
            found.append(f"{f'{position}: ' if position is not None else ''}{path} {why}")
    return tuple(found)


def _deploy(service: Service) -> Iterator[tuple[str, str]]:
    deploy = service.deploy or Deploy()
    if deploy.mode not in ("", "replicated"):
        yield "deploy.mode", f"{deploy.mode} {_SWARM}: the service has {service.replicas} container"
    for key in ("endpoint_mode", "update_config", "rollback_config"):
        if getattr(deploy, key) and not (key == "endpoint_mode" and service.balanced):
            yield f"deploy.{key}", _SWARM
    if deploy.placement != Deploy().placement:
        yield "deploy.placement", _SWARM
    if deploy.resources.reservations is not None and deploy.resources.reservations.generic_resources:
        yield "deploy.resources.reservations.generic_resources", _SWARM


def _files(project: Project, service: Service) -> Iterator[tuple[str, str]]:
    """Files are mounted as they are on the host."""
    for at, secret in enumerate(service.secrets):
        if secret.source in project.secrets and project.secrets[secret.source].file and _owned(secret):
            yield f"secrets.{at}", "uid, gid and mode have no effect on a file: it is mounted as it is"
    for at, config in enumerate(service.configs):
        if config.source in project.configs and project.configs[config.source].file and _owned(config):
            yield f"configs.{at}", "uid, gid and mode have no effect on a file: it is mounted as it is"


def _owned(reference: FileReference) -> bool:
    return bool(reference.uid or reference.gid or reference.mode is not None)


def _windows(service: Service) -> Iterator[tuple[str, str]]:
    if service.credential_spec is not None:
        yield "credential_spec", "has no effect: it is of Windows"
    if service.isolation not in ("", "default", "vm"):
        yield "isolation", f"{service.isolation} has no effect: it is of Windows"
    for key in ("cpu_count", "cpu_percent"):
        if getattr(service, key):
            yield key, "has no effect: it is of Windows"


def check_possible(project: Project, stored: Callable[[str], bool] = lambda name: False) -> None:
    """Raises ComposeError with the remedy. `stored` says whether the engine keeps a secret of that name."""
    for _, service in sorted(project.services.items()):
        for key, said, remedy in _refusals(project, service, stored):
            path = f"services.{service.name}.{key}"
            raise ComposeError(said, path=path, remedy=remedy).located(project.positions)


def _refusals(project: Project, service: Service, stored: Callable[[str], bool]) -> Iterator[tuple[str, str, str]]:
    """(key, what is refused, remedy)."""
    for at, each in enumerate(service.secrets):
        secret = project.secrets.get(each.source)
        if secret is not None and secret.external and not stored(secret.name):
            remedy = f"store it (corten secret create {secret.name}), or give it file or environment"
            yield f"secrets.{at}", f"unsupported external secret {each.source}", remedy
        elif secret is not None and secret.external and posixpath.dirname(each.target) not in ("", "/run/secrets"):
            said = f"the target of the stored secret {each.source} is {each.target}"
            yield f"secrets.{at}", said, "stored secrets are files of /run/secrets"
        elif secret is not None and secret.driver:
            said = f"unsupported secret driver {secret.driver} of {each.source}"
            yield f"secrets.{at}", said, "give it file or environment"
    for at, each in enumerate(service.configs):
        config = project.configs.get(each.source)
        if config is not None and config.external:
            said = f"unsupported external config {each.source}"
            yield f"configs.{at}", said, "give it file, content or environment"
    for at, volume in enumerate(service.volumes):
        if volume.type in ("npipe", "cluster"):
            said = f"unsupported volume type {volume.type}"
            yield f"volumes.{at}", said, "use bind, volume, tmpfs or image"
