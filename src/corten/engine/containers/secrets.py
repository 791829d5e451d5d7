"""Secrets of containers: files of a read-only file system in memory at /run/secrets."""

from __future__ import annotations

import os
from contextlib import AsyncExitStack

from corten.engine.containers.container import Container
from corten.engine.containers.containers import Containers
from corten.errors import Conflict, Invalid, NotFound, Unsupported
from corten.kernel import memfd
from corten.plan import runtimes
from corten.plan.bundle import root_owner
from corten.runtime.host_mounts import CONTENT, HOST
from corten.spec.docker.host_config import HostConfig
from corten.spec.json import Json

PLACE = "/run/secrets"


def check(containers: Containers, host: HostConfig) -> None:
    """Invalid for a secret that does not exist: a 404 would make clients pull the image. Unsupported for a runtime that
    is not ours."""
    settings = containers.configuration.settings
    if host.stored_secrets and runtimes.find(host.runtime, settings.runtimes).external:
        raise Unsupported("stored secrets are for our own runtime alone")
    for mount in host.stored_secrets or ():
        try:
            containers.stores.secrets.get(mount.secret)
        except NotFound as error:
            raise Invalid(str(error)) from error


async def mount(containers: Containers, container: Container, held: AsyncExitStack) -> list[Json]:
    """Entries of a specification's "mounts"; the texts are in a file in memory that `held` closes. NotFound,
    Unavailable."""
    host = container.record.host_config
    if not host.stored_secrets:
        return []
    owner = root_owner(host, containers.configuration.facts)
    content = await containers.stores.secrets.content(host.stored_secrets, owner)
    fd = memfd.holding("secrets", content)
    held.callback(os.close, fd)
    options = [HOST, f"{CONTENT}/proc/{os.getpid()}/fd/{fd}"]
    return [{"destination": PLACE, "type": "tmpfs", "source": "tmpfs", "options": options}]


def remove(containers: Containers, reference: str) -> None:
    """NotFound; Conflict for one that a container has."""
    secret = containers.stores.secrets.get(reference)
    for container in containers.every():
        for mounted in container.record.host_config.stored_secrets or ():
            if mounted.secret == secret.name or secret.id.startswith(mounted.secret):
                raise Conflict(f"secret {secret.name} is in use by container {container.record.name}")
    containers.stores.secrets.remove(secret)
