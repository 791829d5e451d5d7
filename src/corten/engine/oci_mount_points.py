"""Where a container mounts what: -v, --mount, --volumes-from and an image's VOLUMEs become one list of mount points."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from corten.engine.oci_facts import Json, MountPoint
from corten.engine.oci_paths import clean
from corten.errors import Invalid, Unsupported

PROPAGATIONS = frozenset({"private", "rprivate", "shared", "rshared", "slave", "rslave"})
_MODE_GROUPS = (
    frozenset({"rw", "ro"}),
    frozenset({"z", "Z"}),
    frozenset({"nocopy"}),
    PROPAGATIONS,
    frozenset({"consistent", "cached", "delegated"}),
)
_SUFFIXES = (("g", 1 << 30), ("m", 1 << 20), ("k", 1 << 10))


def mount_points(
    config: Mapping[str, Any],
    host_config: Mapping[str, Any],
    volumes_from: Mapping[str, Sequence[MountPoint]] | None = None,
    exists: Callable[[str], bool] | None = None,
) -> list[MountPoint]:
    """All mount points of a new container; `config` is already merged with its image's.

    volumes_from  the mount points of each container that HostConfig.VolumesFrom names, by name without ":ro"
    exists        says whether a bind source of --mount is there; None does not ask

    Volumes come back without a `source`, anonymous ones also without a `name`: the engine makes them. Raises Invalid in
    Docker's words, also for two mounts at one place.
    """
    points: dict[str, MountPoint] = {}
    for text in host_config.get("VolumesFrom") or ():
        points.update(_borrowed(text, volumes_from or {}))
    own = {clean(path) for path in host_config.get("Tmpfs") or {}}
    driver = host_config.get("VolumeDriver") or ""
    asked = [parse_volume(text, driver) for text in host_config.get("Binds") or ()]
    asked += [parse_mount(mount, exists) for mount in host_config.get("Mounts") or ()]
    for point in asked:
        if point.destination in own:
            raise Invalid(f"Duplicate mount point: {point.destination}")
        own.add(point.destination)
        points[point.destination] = point
    _add_image_volumes(points, own, config.get("Volumes") or {}, driver)
    return list(points.values())


def parse_volume(text: str, driver: str = "") -> MountPoint:
    """One -v: `/inside`, `name:/inside[:mode]` or `/host:/inside[:mode]`."""
    parts = text.split(":")
    if not parts[0] or len(parts) > 3 or (len(parts) == 2 and (not parts[1] or _valid_mode(parts[1]))):
        raise Invalid(f"invalid volume specification: '{text}'")
    source, target = ("", parts[0]) if len(parts) == 1 else (parts[0], parts[1])
    mode = parts[2] if len(parts) == 3 else ""
    if not _valid_mode(mode):
        raise Invalid(f"invalid mode: {mode}")
    words = set(mode.split(","))
    problem = _bad_target(target)
    if problem:
        raise Invalid(f"invalid volume specification: '{text}': {problem}")
    point = MountPoint(type="volume", destination=clean(target), mode=mode, rw="ro" not in words)
    if posixpath.isabs(source):
        propagation = next(iter(words & PROPAGATIONS), "rprivate")
        return replace(point, type="bind", source=clean(source), propagation=propagation, create=True)
    if words & PROPAGATIONS:
        raise Invalid(
            f"invalid volume specification: '{text}': "
            'invalid mount config for type "volume": field BindOptions must not be specified'
        )
    _check_volume_name(source)
    return replace(
        point,
        name=source,
        anonymous=not source,
        driver=driver or "local",
        nocopy="nocopy" in words,
    )


def parse_mount(mount: Mapping[str, Any], exists: Callable[[str], bool] | None = None) -> MountPoint:
    """One entry of HostConfig.Mounts (--mount)."""
    kind, target = mount.get("Type") or "", mount.get("Target") or ""
    problem = "field Target must not be empty" if not target else _bad_target(target)
    if not problem and kind in _PARSERS:
        return _PARSERS[kind](mount, MountPoint(kind, clean(target), rw=not mount.get("ReadOnly")), exists)
    if kind == "image":
        raise Unsupported('mounts of type "image" are not supported by this engine')
    raise _bad(mount, problem or "mount type unknown")


def _bind(mount: Mapping[str, Any], point: MountPoint, exists: Callable[[str], bool] | None) -> MountPoint:
    source, options = mount.get("Source") or "", mount.get("BindOptions") or {}
    _refuse(mount, "VolumeOptions", "TmpfsOptions", "ImageOptions")
    if not source:
        raise _bad(mount, "field Source must not be empty")
    propagation = options.get("Propagation") or "rprivate"
    if propagation not in PROPAGATIONS:
        raise _bad(mount, f"invalid propagation mode: {propagation}")
    if not posixpath.isabs(source):
        raise _bad(mount, f"invalid mount path: '{source}' mount path must be absolute")
    create = bool(options.get("CreateMountpoint"))
    if exists is not None and not create and not exists(source):
        raise _bad(mount, f"bind source path does not exist: {source}")
    return replace(
        point,
        source=clean(source),
        propagation=propagation,
        create=create,
        recursive=not options.get("NonRecursive"),
        rro=_recursive_readonly(mount, options, propagation),
    )


def _recursive_readonly(mount: Mapping[str, Any], options: Mapping[str, Any], propagation: str) -> str:
    if options.get("ReadOnlyForceRecursive"):
        if options.get("ReadOnlyNonRecursive"):
            raise _bad(mount, "ReadOnlyForceRecursive and ReadOnlyNonRecursive must not be set together")
        if not mount.get("ReadOnly"):
            raise _bad(mount, "ReadOnlyForceRecursive needs ReadOnly")
        if propagation not in ("private", "rprivate"):
            raise _bad(mount, "ReadOnlyForceRecursive needs a private propagation")
        return "required"
    return "no" if options.get("ReadOnlyNonRecursive") else "if-possible"


def _volume(mount: Mapping[str, Any], point: MountPoint, exists: Callable[[str], bool] | None) -> MountPoint:
    name, options = mount.get("Source") or "", mount.get("VolumeOptions") or {}
    _refuse(mount, "BindOptions", "TmpfsOptions", "ImageOptions")
    if not name and mount.get("ReadOnly"):
        raise _bad(mount, "must not set ReadOnly mode when using anonymous volumes")
    subpath = options.get("Subpath") or ""
    if subpath.startswith("/") or ".." in subpath.split("/"):
        raise _bad(mount, "subpath must be a relative path within the volume")
    _check_volume_name(name)
    driver = options.get("DriverConfig") or {}
    return replace(
        point,
        name=name,
        anonymous=not name,
        driver=driver.get("Name") or "local",
        driver_options=dict(driver.get("Options") or {}),
        labels=dict(options.get("Labels") or {}),
        nocopy=bool(options.get("NoCopy")),
        subpath=subpath,
    )


def _tmpfs(mount: Mapping[str, Any], point: MountPoint, exists: Callable[[str], bool] | None) -> MountPoint:
    options = mount.get("TmpfsOptions") or {}
    _refuse(mount, "BindOptions", "VolumeOptions", "ImageOptions")
    if mount.get("Source"):
        raise _bad(mount, "field Source must not be specified")
    words = ["ro"] if mount.get("ReadOnly") else []
    if options.get("Mode"):
        words.append(f"mode={options['Mode']:o}")
    if options.get("SizeBytes"):
        words.append("size=" + _size(options["SizeBytes"]))
    for pair in options.get("Options") or ():
        words.append("=".join(pair))
    return replace(point, options=",".join(words))


_PARSERS: dict[str, Callable[[Mapping[str, Any], MountPoint, Callable[[str], bool] | None], MountPoint]] = {
    "bind": _bind,
    "volume": _volume,
    "tmpfs": _tmpfs,
}


def volumes_from(text: str) -> tuple[str, str]:
    """(container, mode) of one --volumes-from; the mode is "rw" or "ro" with the options of -v."""
    container, _, mode = text.partition(":")
    if not container:
        raise Invalid(f"malformed volumes-from specification: '{text}'")
    if not _valid_mode(mode) or set(mode.split(",")) & (PROPAGATIONS | {"nocopy"}):
        raise Invalid(f"invalid mode: {mode}")
    return container, mode or "rw"


def inspect_mount(point: MountPoint) -> Json:
    """The entry that inspect and ps show under Mounts."""
    shown: Json = {"Type": point.type}
    if point.type == "volume":
        shown["Name"] = point.name
    shown["Source"] = point.source
    shown["Destination"] = point.destination
    if point.driver:
        shown["Driver"] = point.driver
    return {**shown, "Mode": point.mode, "RW": point.rw, "Propagation": point.propagation}


def _borrowed(text: str, known: Mapping[str, Sequence[MountPoint]]) -> dict[str, MountPoint]:
    container, mode = volumes_from(text)
    writable = "ro" not in mode.split(",")
    points = (replace(point, rw=point.rw and writable, nocopy=False, create=False) for point in known[container])
    return {point.destination: point for point in points}


def _add_image_volumes(points: dict[str, MountPoint], own: set[str], volumes: Mapping[str, Any], driver: str) -> None:
    """A VOLUME is an anonymous volume unless something of the user's is there already."""
    for path in volumes:
        problem = _bad_target(path)
        if problem:
            raise Invalid(f"invalid volume specification: '{path}': {problem}")
        destination = clean(path)
        if destination not in points and destination not in own:
            points[destination] = MountPoint("volume", destination, driver=driver or "local", anonymous=True)


def _valid_mode(mode: str) -> bool:
    if not mode:
        return True
    counts = [0] * len(_MODE_GROUPS)
    for word in mode.split(","):
        for index, group in enumerate(_MODE_GROUPS):
            if word in group:
                counts[index] += 1
                break
        else:
            return False
    return max(counts) <= 1


def _bad_target(target: str) -> str:
    if clean("/" + target) == "/":
        return "invalid specification: destination can't be '/'"
    if not posixpath.isabs(target):
        return f"invalid mount path: '{target}' mount path must be absolute"
    return "a mount path must not contain a NUL" if "\0" in target else ""


def _check_volume_name(name: str) -> None:
    allowed = name.isascii() and all(c.isalnum() or c in "_.-" for c in name)
    if len(name) == 1:
        raise Invalid("volume name is too short, names should be at least two alphanumeric characters")
    if name and (not allowed or not name[0].isalnum()):
        raise Invalid(
            f'"{name}" includes invalid characters for a local volume name, only "[a-zA-Z0-9][a-zA-Z0-9_.-]" '
            "are allowed. If you intended to pass a host directory, use absolute path"
        )


def _refuse(mount: Mapping[str, Any], *fields: str) -> None:
    for field in fields:
        if mount.get(field) is not None:
            raise _bad(mount, f"field {field} must not be specified")


def _bad(mount: Mapping[str, Any], problem: str) -> Invalid:
    return Invalid(f'invalid mount config for type "{mount.get("Type") or ""}": {problem}')


def _size(size: int) -> str:
    for suffix, unit in _SUFFIXES:
        if size % unit == 0:
            return f"{size // unit}{suffix}"
    return str(size)
