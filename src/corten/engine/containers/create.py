"""Making a container: what the client asked for over what its image says, checked, and recorded."""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

from corten.aio.threads import answered
from corten.engine.containers import boot_order, emulated, guests, links, names, records, work_directory
from corten.engine.containers import secrets as secrets_of
from corten.engine.containers.container import Container
from corten.engine.containers.containers import Containers
from corten.engine.containers.names import check_name
from corten.engine.containers.removal import release_volumes
from corten.engine.containers.stores import Stores
from corten.engine.containers.wanted import networks_of, with_ids
from corten.engine.volume_content import fill_volumes
from corten.errors import Invalid, NotFound
from corten.images.image import Image
from corten.plan.facts import MountPoint
from corten.plan.isolation import facts_for, guest_of, in_guest
from corten.plan.merge import merge_config
from corten.plan.mount_points import mount_points, volumes_from
from corten.plan.validate.create import check_create
from corten.plan.validate.defaults import normalize_host_config
from corten.plan.validate.guest import check_points
from corten.spec import platform as platforms
from corten.spec.docker import times
from corten.spec.docker.config import Config, NetworkingConfig
from corten.spec.docker.host_config import HostConfig

MOST_MOUNTS = 1000
_AT_ONCE = 10  # volumes that are made before others have a turn


async def create(
    containers: Containers,
    name: str,
    config: Config,
    host_config: HostConfig,
    networking: NetworkingConfig,
    platform: str = "",
    recursive_readonly: bool = True,
    pod: records.Membership | None = None,
) -> tuple[Container, list[str]]:
    """A new container in state "created", and warnings. Invalid, NotFound (image), Conflict (name).

    `recursive_readonly`: a read-only bind is so for what is mounted below its source as well, where it does not say.
    `pod`: the one that it belongs to."""
    stores, facts = containers.stores, facts_for(host_config, containers.configuration.facts)
    if pod is not None:
        facts = replace(facts, uid_map=tuple(pod.uids), gid_map=tuple(pod.gids))
    checked_name = check_name(name) if name else ""
    image = await stores.images.provide(config.image, platforms.parse(platform) if platform else None)
    config = merge_config(image.defaults, config)
    check = partial(check_create, config, host_config, networking, facts)
    warnings = await answered(check, "a device") if host_config.devices else check()
    await guests.check(stores, host_config, facts, emulated.machine(image.config.platform))
    warnings += await emulated.warnings(image.config.platform, bool(platform), in_guest(host_config, facts))
    host_config = with_ids(containers, normalize_host_config(host_config, facts))
    if checked_name:
        containers.check_free(checked_name)
    linked = links.resolve(containers, host_config)
    warnings += boot_order.warnings(containers, host_config)
    secrets_of.check(containers, host_config)
    record = _record(containers, checked_name, image, config, host_config.replace(links=None), networking)
    record.links, record.pod = linked, pod
    warnings += links.unused(host_config, record.networks)
    container = Container(record, stores.bundle(record.id))
    with containers.reserved(container):
        try:
            await _prepare(containers, container, host_config, recursive_readonly)
            if not guest_of(host_config):  # whose own disk nothing of this host mounts: its runtime makes it there
                await work_directory.make(stores, facts, container)
            await fill_volumes(stores, facts, container)
            containers.save(container)
        except BaseException:
            unprepare(stores, container)
            raise
        containers.add(container)  # from here on verbs find it
    stores.images.used(image.id)
    containers.publish(container, "create")
    return container, warnings


def _record(
    containers: Containers,
    name: str,
    image: Image,
    config: Config,
    host_config: HostConfig,
    networking: NetworkingConfig,
) -> records.Record:
    id = secrets.token_hex(32)
    while id[:12].isdigit():  # a hostname of digits only is taken for a number by some programs
        id = secrets.token_hex(32)
    words = config.command_line()
    if not config.hostname:
        config = config.replace(hostname=os.uname().nodename if host_config.network_mode == "host" else id[:12])
    return records.Record(
        id=id,
        name=name or names.unused(containers.has_name),
        created=times.now(),
        image=config.image or image.id,
        image_id=image.id,
        chain_id=image.chain_id,
        machine=emulated.machine(image.config.platform),
        path=words[0],
        args=words[1:],
        config=config,
        host_config=host_config,
        networks=networks_of(containers.networks, config, host_config, networking),
    )


async def _prepare(
    containers: Containers, container: Container, host_config: HostConfig, recursive_readonly: bool
) -> None:
    stores, record = containers.stores, container.record
    borrowed = {}
    for text in host_config.volumes_from or ():
        name, _ = volumes_from(text)
        try:
            borrowed[name] = containers.get(name).record.mounts
        except NotFound as error:  # a 404 would make clients pull the image, and try again
            raise Invalid(str(error)) from error
    data_root = str(containers.configuration.settings.data_root)
    points = await _mount_points(record.config, host_config, borrowed, recursive_readonly, data_root)
    if guest_of(host_config):
        check_points(points)
    for number, point in enumerate(points, 1):  # one by one: what was held when one fails is released by `unprepare`
        record.mounts.append(_with_source(stores, container, point))
        if number % _AT_ONCE == 0:
            await asyncio.sleep(0)
    stores.mkdir(container.bundle, 0o700)
    stores.snapshots.prepare(record.id, record.chain_id)


async def _mount_points(
    config: Config,
    host_config: HostConfig,
    borrowed: Mapping[str, Sequence[MountPoint]],
    recursive_readonly: bool,
    data_root: str,
) -> list[MountPoint]:
    """Raises Invalid, also for more of them than a container can have, and Unavailable when the source of a bind is on
    a file system that does not answer."""

    def find() -> list[MountPoint]:
        return mount_points(config, host_config, borrowed, os.path.exists, recursive_readonly, data_root)

    points = await answered(find, "the source of a bind mount") if host_config.binds or host_config.mounts else find()
    if len(points) > MOST_MOUNTS:
        raise Invalid(f"a container can have {MOST_MOUNTS} mounts and volumes, not {len(points)}")
    return points


def _with_source(stores: Stores, container: Container, point: MountPoint) -> MountPoint:
    """Volumes are made now, and held. NotFound for an image that is not there."""
    if point.type == "volume":
        volume = stores.volumes.create(point.name, point.driver, point.driver_options, point.labels)
        source = str(stores.volumes.path(volume.name))  # Conflict for one that cannot be mounted, which is not held
        stores.volumes.hold(volume.name, container.id)
        return replace(point, name=volume.name, source=source)
    if point.type == "image":
        return replace(point, source=stores.images.resolve(point.name).id)
    return point


def unprepare(stores: Stores, container: Container) -> None:
    """Take away what an unsuccessful create had made."""
    release_volumes(stores.volumes, container, anonymous=True)
    stores.snapshots.remove(container.id)
    shutil.rmtree(container.bundle, ignore_errors=True)
