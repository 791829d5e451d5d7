"""Where a container mounts what: -v, --mount, --volumes-from and an image's VOLUMEs become one list of mount points."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from corten.errors import Invalid
from corten.plan.facts import MountPoint
from corten.plan.mount_parse import PROPAGATIONS, bad_target, parse_mount, parse_volume, valid_mode
from corten.plan.paths import ancestors, clean
from corten.spec.docker.config import Config
from corten.spec.docker.host_config import HostConfig
from corten.spec.json import Json

MAX_MOUNTS, MAX_VOLUMES = 1_000, 200  # of one container, with what its image and --volumes-from add
_LXCFS = frozenset(
    "cpuinfo diskstats loadavg meminfo slabinfo stat swaps uptime "
    "sys/kernel/ns_last_pid sys/crypto/fips_enabled".split()
)


def mount_points(
    config: Config,
    host_config: HostConfig,
    volumes_from: Mapping[str, Sequence[MountPoint]] | None = None,
    exists: Callable[[str], bool] | None = None,
    recursive_readonly: bool = True,
    data_root: str = "",
) -> list[MountPoint]:
    """All mount points of a new container; `config` is already merged with its image's.

    volumes_from  the mount points of each container that HostConfig.VolumesFrom names, by name without ":ro"
    exists        says whether a bind source of --mount is there; None does not ask
    recursive_readonly  what a read-only bind means that does not say whether what is mounted below it is meant
    data_root     the daemon's; "" is nowhere

    Volumes come back without a `source`, anonymous ones also without a `name`: the engine makes them. Raises Invalid in
    Docker's words, also for two mounts at one place.
    """
    points: dict[str, MountPoint] = {}
    for text in host_config.volumes_from or ():
        points.update(_borrowed(text, volumes_from or {}))
    own = {clean(path) for path in host_config.tmpfs or {}}
    for path in own:
        _check_not_in_proc(MountPoint("tmpfs", path))
    driver = host_config.volume_driver
    asked = [parse_volume(text, driver) for text in host_config.binds or ()]
    asked += [parse_mount(mount, exists) for mount in host_config.mounts or ()]
    for point in (_propagated(point, data_root) for point in asked):
        if point.destination in own:
            raise Invalid(f"Duplicate mount point: {point.destination}")
        own.add(point.destination)
        flat = point.type == "bind" and point.rro == "if-possible" and not recursive_readonly
        points[point.destination] = replace(point, rro="no") if flat else point
    _add_image_volumes(points, own, config.volumes or {}, driver)
    _check_number(points.values(), len(host_config.tmpfs or {}))
    for point in points.values():
        _check_not_in_proc(point)
    return list(points.values())


def volumes_from(text: str) -> tuple[str, str]:
    """(container, mode) of one --volumes-from; the mode is "rw" or "ro" with the options of -v."""
    container, _, mode = text.partition(":")
    if not container:
        raise Invalid("volumes-from specification cannot be an empty string")
    if not valid_mode(mode) or set(mode.split(",")) & (PROPAGATIONS | {"nocopy"}):
        raise Invalid(f"invalid mode: {mode}")
    return container, mode or "rw"


def inspect_mount(point: MountPoint) -> Json:
    """The entry that inspect and ps show under Mounts."""
    shown: Json = {"Type": point.type}
    if point.type in ("volume", "image"):
        shown["Name"] = point.name
    shown["Source"] = point.source
    shown["Destination"] = point.destination
    if point.driver:
        shown["Driver"] = point.driver
    return {**shown, "Mode": point.mode, "RW": point.rw, "Propagation": point.propagation}


def _propagated(point: MountPoint, data_root: str) -> MountPoint:
    """A bind with the propagation that it was left open. What the daemon has mounted below its data root must not be
    kept by a container: there it has to hear when that is unmounted."""
    if point.type != "bind":
        return point
    if not data_root or not _overlap(point.source, data_root):
        return replace(point, propagation=point.propagation or "rprivate")
    if point.propagation not in ("", "rslave", "rshared"):
        raise Invalid(
            'invalid mount config: must use either propagation mode "rslave" or "rshared" when mount source is within '
            f'the daemon root, daemon root: "{data_root}", bind mount source: "{point.source}", '
            f'propagation: "{point.propagation}"'
        )
    return replace(point, propagation=point.propagation or "rslave")


def _overlap(one: str, other: str) -> bool:
    """Whether one of the two is the other, or above it."""
    return one in ("/", *ancestors(other)) or other in ancestors(one)


def _borrowed(text: str, known: Mapping[str, Sequence[MountPoint]]) -> dict[str, MountPoint]:
    container, mode = volumes_from(text)
    writable = "ro" not in mode.split(",")
    points = (replace(point, rw=point.rw and writable, nocopy=True, create=False) for point in known[container])
    return {point.destination: point for point in points}


def _add_image_volumes(points: dict[str, MountPoint], own: set[str], volumes: Mapping[str, Any], driver: str) -> None:
    """A VOLUME is an anonymous volume unless something of the user's is there already."""
    for path in volumes:
        problem = bad_target(path)
        if problem:
            raise Invalid(f"invalid volume specification: '{path}': {problem}")
        destination = clean(path)
        if destination not in points and destination not in own:
            points[destination] = MountPoint("volume", destination, driver=driver or "local", anonymous=True)


def _check_number(points: Collection[MountPoint], tmpfs: int) -> None:
    """Each mount is a descriptor until it is in place, and each volume may be a record and a directory to make."""
    volumes = sum(point.type == "volume" for point in points)
    for noun, number, most in (("mounts", len(points) + tmpfs, MAX_MOUNTS), ("volumes", volumes, MAX_VOLUMES)):
        if number > most:
            raise Invalid(f"too many {noun}: {number}, at most {most} are taken")


def _check_not_in_proc(point: MountPoint) -> None:
    """/proc is the kernel's: files mounted there would choose what the runtime reads and writes (CVE-2019-19921).

    lxcfs is allowed where it mounts, and the host's own /proc over the container's.
    """
    place = point.destination
    if place == "/proc" and not (point.type == "bind" and point.source == "/proc"):
        raise Invalid(f'"{place}" cannot be mounted because it is not of type proc')
    if place.startswith("/proc/") and (point.type != "bind" or place.removeprefix("/proc/") not in _LXCFS):
        raise Invalid(f'"{place}" cannot be mounted because it is inside "/proc"')
