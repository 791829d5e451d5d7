"""One -v or --mount, as text or JSON, becomes one mount point; refused in Docker's words."""

from __future__ import annotations

import posixpath
from collections.abc import Callable
from dataclasses import replace

from corten.errors import Invalid
from corten.plan.facts import MountPoint
from corten.plan.paths import clean
from corten.plan.tmpfs import merge_options
from corten.spec.docker.mount import BindOptions, Driver, ImageOptions, Mount, TmpfsOptions, VolumeOptions

PROPAGATIONS = frozenset({"private", "rprivate", "shared", "rshared", "slave", "rslave"})
_MODE_GROUPS = (
    frozenset({"rw", "ro"}),
    frozenset({"z", "Z"}),
    frozenset({"nocopy"}),
    PROPAGATIONS,
    frozenset({"consistent", "cached", "delegated"}),
)
_SUFFIXES = (("g", 1 << 30), ("m", 1 << 20), ("k", 1 << 10))


def parse_volume(text: str, driver: str = "") -> MountPoint:
    """One -v: `/inside`, `name:/inside[:mode]` or `/host:/inside[:mode]`. A bind's propagation may be left open, ""."""
    source, target, mode = _split(text)
    words = set(mode.split(","))
    kind = "bind" if posixpath.isabs(source) else "volume"
    foreign = {"nocopy": "VolumeOptions"} if kind == "bind" else dict.fromkeys(PROPAGATIONS, "BindOptions")
    extra = next((foreign[word] for word in words if word in foreign), "")
    problem = bad_target(target) or (extra and f"field {extra} must not be specified")
    if problem:
        raise Invalid(f"invalid volume specification: '{text}': invalid mount config for type \"{kind}\": {problem}")
    point = MountPoint(kind, clean(target), mode=mode, rw="ro" not in words)
    if kind == "bind":
        propagation = next(iter(words & PROPAGATIONS), "")
        return replace(point, source=clean(source), propagation=propagation, create=True)
    _check_volume_name(source)
    named = replace(point, name=source, anonymous=not source, driver=driver or "local")
    return replace(named, mode=mode or "z", nocopy="nocopy" in words)


def _split(text: str) -> tuple[str, str, str]:
    """(source, target, mode). A mode needs a source: "/x:ro" could only be meant as one and is refused."""
    parts = text.split(":")
    if not parts[0] or len(parts) > 3 or (len(parts) == 2 and (not parts[1] or valid_mode(parts[1]))):
        raise Invalid(f"invalid volume specification: '{text}'")
    source, target = ("", parts[0]) if len(parts) == 1 else (parts[0], parts[1])
    mode = parts[2] if len(parts) == 3 else ""
    if not valid_mode(mode):
        raise Invalid(f"invalid mode: {mode}")
    return source, target, mode


def parse_mount(mount: Mount, exists: Callable[[str], bool] | None = None) -> MountPoint:
    """One entry of HostConfig.Mounts (--mount)."""
    kind, target = mount.type, mount.target
    problem = "field Target must not be empty" if not target else bad_target(target)
    if not problem and kind in _PARSERS:
        return _PARSERS[kind](mount, MountPoint(kind, clean(target), rw=not mount.read_only), exists)
    raise _bad(mount, problem or "mount type unknown")


def _bind(mount: Mount, point: MountPoint, exists: Callable[[str], bool] | None) -> MountPoint:
    source, options = mount.source, mount.bind_options or BindOptions()
    _refuse(mount, "volume_options", "tmpfs_options", "image_options")
    if not source:
        raise _bad(mount, "field Source must not be empty")
    propagation = options.propagation
    if propagation and propagation not in PROPAGATIONS:
        raise _bad(mount, f"invalid propagation mode: {propagation}")
    if not posixpath.isabs(source):
        raise _bad(mount, f"invalid mount path: '{source}' mount path must be absolute")
    create = options.create_mountpoint
    if exists is not None and not create and not exists(source):
        raise _bad(mount, f"bind source path does not exist: {source}")
    return replace(
        point,
        source=clean(source),
        propagation=propagation,
        create=create,
        recursive=not options.non_recursive,
        rro=_recursive_readonly(mount, options, propagation),
    )


def _recursive_readonly(mount: Mount, options: BindOptions, propagation: str) -> str:
    if options.read_only_force_recursive:
        if options.read_only_non_recursive:
            raise _bad(mount, "ReadOnlyForceRecursive and ReadOnlyNonRecursive must not be set together")
        if not mount.read_only:
            raise _bad(mount, "ReadOnlyForceRecursive needs ReadOnly")
        if propagation not in ("", "private", "rprivate"):
            raise _bad(mount, "ReadOnlyForceRecursive needs a private propagation")
        return "required"
    return "no" if options.read_only_non_recursive else "if-possible"


def _volume(mount: Mount, point: MountPoint, exists: Callable[[str], bool] | None) -> MountPoint:
    name, options = mount.source, mount.volume_options or VolumeOptions()
    _refuse(mount, "bind_options", "tmpfs_options", "image_options")
    if not name and mount.read_only:
        raise _bad(mount, "must not set ReadOnly mode when using anonymous volumes")
    subpath = _subpath(mount, options.subpath, "volume")
    _check_volume_name(name)
    driver = options.driver_config or Driver()
    return replace(
        point,
        mode="z",
        name=name,
        anonymous=not name,
        driver=driver.name or "local",
        driver_options=dict(driver.options or {}),
        labels=dict(options.labels or {}),
        nocopy=options.no_copy,
        subpath=subpath,
    )


def _image(mount: Mount, point: MountPoint, exists: Callable[[str], bool] | None) -> MountPoint:
    """Always read-only: the image's layers are shared."""
    _refuse(mount, "bind_options", "volume_options", "tmpfs_options")
    if not mount.source:
        raise _bad(mount, "field Source must not be empty")
    options = mount.image_options or ImageOptions()
    return replace(point, name=mount.source, rw=False, subpath=_subpath(mount, options.subpath, "image"))


def _subpath(mount: Mount, path: str, noun: str) -> str:
    if path.startswith("/") or ".." in path.split("/") or "\0" in path or "," in path:
        raise _bad(mount, f"subpath must be a relative path within the {noun}")
    return path


def _tmpfs(mount: Mount, point: MountPoint, exists: Callable[[str], bool] | None) -> MountPoint:
    options = mount.tmpfs_options or TmpfsOptions()
    if options.size_bytes < 0:
        raise _bad(mount, f"invalid tmpfs size: {options.size_bytes}")
    _refuse(mount, "bind_options", "volume_options", "image_options")
    if mount.source:
        raise _bad(mount, "field Source must not be specified")
    words = ["ro"] if mount.read_only else []
    if options.mode:
        words.append(f"mode={options.mode:o}")
    if options.size_bytes:
        words.append("size=" + _size(options.size_bytes))
    words += ["=".join(pair) for pair in options.options or ()]
    merge_options(words)
    return replace(point, options=",".join(words))


_PARSERS: dict[str, Callable[[Mount, MountPoint, Callable[[str], bool] | None], MountPoint]] = {
    "bind": _bind,
    "volume": _volume,
    "tmpfs": _tmpfs,
    "image": _image,
}


def valid_mode(mode: str) -> bool:
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


def check_tmpfs(path: str, options: str) -> None:
    """One entry of HostConfig.Tmpfs."""
    problem = bad_target(path)
    if problem:
        raise Invalid(problem)
    merge_options(filter(None, options.split(",")))


def bad_target(target: str) -> str:
    if clean("/" + target) == "/":
        return "invalid specification: destination can't be '/'"
    if not posixpath.isabs(target):
        return f"invalid mount path: '{target}' mount path must be absolute"
    return "a mount path must not contain a NUL" if "\0" in target else ""


def _check_volume_name(name: str) -> None:
    allowed = name.isascii() and all(c.isalnum() or c in "_.-" for c in name)
    if len(name) == 1:
        raise Invalid(f"create {name}: volume name is too short, names should be at least two alphanumeric characters")
    if name and (not allowed or not name[0].isalnum()):
        raise Invalid(
            f'create {name}: "{name}" includes invalid characters for a local volume name, only '
            '"[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed. If you intended to pass a host directory, use absolute path'
        )


def _refuse(mount: Mount, *fields: str) -> None:
    for field in fields:
        if getattr(mount, field) is not None:
            raise _bad(mount, f"field {Mount.FIELDS[field].key} must not be specified")


def _bad(mount: Mount, problem: str) -> Invalid:
    return Invalid(f'invalid mount config for type "{mount.type}": {problem}')


def _size(size: int) -> str:
    for suffix, unit in _SUFFIXES:
        if size % unit == 0:
            return f"{size // unit}{suffix}"
    return str(size)
