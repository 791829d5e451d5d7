"""The removal of a container that does not run: its record, writable tree, bundle and anonymous volumes."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import time
from pathlib import Path

from corten.aio.threads import to_disk_thread
from corten.engine.containers import parents, records
from corten.engine.containers.container import Container
from corten.engine.containers.containers import Containers
from corten.engine.volumes import Volumes
from corten.errors import CortenError, NotFound
from corten.tasks.contract import Exit

log = logging.getLogger(__name__)


async def remove_ended(containers: Containers, container: Container) -> None:
    """--rm: anonymous volumes go as well. Nothing happens when a client removed it first."""
    async with container.lock:
        if container.gone or container.record.state.running:
            return
        try:
            await remove_locked(containers, container, volumes=True)
        except BaseException as error:
            container.wake(Exit(container.record.state.exit_code, time.time(), error=str(error)), "removed")
            raise


async def remove_locked(containers: Containers, container: Container, volumes: bool) -> None:
    """The record goes last, so that an interrupted removal is seen and completed at the next start of the daemon."""
    record = container.record
    ending, before = Exit(record.state.exit_code, time.time()), record.state.status
    record.state.status = "removing"
    try:
        containers.save(container)
    except CortenError:
        record.state.status = before  # it can be tried again
        raise
    release_volumes(containers.stores.volumes, container, anonymous=volumes)
    container.close_early()
    container.gone = True
    containers.drop(container)
    containers.stores.images.used(record.image_id)
    if record.host_config.auto_remove and record.state.started_at:
        containers.removed.note(record.id, record.name, ending)
    containers.changing.spawn(_erase(containers, container), f"erasing container {container.id}")
    containers.publish(container, "destroy")
    container.wake(ending, "not-running", "next-exit", "removed")


async def _erase(containers: Containers, container: Container) -> None:
    """Behind the answer: no client can name the container any more."""
    stores = containers.stores
    await container.torn_down()
    if container.record.host_config.cgroup_parent:
        parents.remove_unused(containers)
    stores.snapshots.remove(container.id)
    await asyncio.to_thread(_remove_bundle, container.bundle)
    records.forget(containers.table, container.id)
    try:
        stores.images.resolve(container.record.image_id)
    except NotFound:
        await to_disk_thread(stores.images.collect)


def _remove_bundle(bundle: Path) -> None:
    """A handful of files. OSError when they cannot be removed: the record stays, and the next daemon tries again."""
    try:
        for name in os.listdir(bundle):
            os.unlink(bundle / name)
        bundle.rmdir()
    except FileNotFoundError:
        return
    except OSError:
        shutil.rmtree(bundle)


def release_volumes(volumes: Volumes, container: Container, anonymous: bool) -> None:
    """Named volumes stay; anonymous ones are removed when asked, unless another container shares them."""
    for point in container.record.mounts:
        if point.type == "volume":
            volumes.release(point.name, container.id)
            if anonymous and point.anonymous and not volumes.users(point.name):
                _remove_volume(volumes, container, point.name)


def _remove_volume(volumes: Volumes, container: Container, name: str) -> None:
    """The removal of the container goes on without it: the volume is then listed as one that no container has."""
    try:
        volumes.remove(name, force=True)
    except (CortenError, OSError) as error:
        log.error("volume %s of container %s could not be removed: %s", name, container.id, error)
