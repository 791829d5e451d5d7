"""--mount (API: HostConfig.Mounts)."""

from __future__ import annotations

import os

from corten.cli.options.texts import csv_fields
from corten.spec.docker.mount import BindOptions, Driver, ImageOptions, Mount, TmpfsOptions, VolumeOptions
from corten.units.booleans import parse_bool

LONE = ("readonly", "ro", "volume-nocopy", "bind-nonrecursive", "bind-create-src")


def parse_mount(text: str) -> Mount:
    """--mount's comma-separated keys. Raises ValueError for what is not one."""
    value = text.strip()
    if not value:
        raise ValueError("value is empty")
    mount = Mount(type="volume")
    for field in csv_fields(value):
        mount = _with_field(mount, field)
    _check(mount)
    return mount


def _with_field(mount: Mount, field: str) -> Mount:
    name, equals, value = field.partition("=")
    key = name.strip().lower()
    if not key:
        raise ValueError(f"invalid field '{field}' must be a key=value pair")
    if not equals and key not in LONE:
        raise ValueError(f"invalid field '{field}' must be a key=value pair")
    changed = _with(mount, key, value if equals else "true")
    if changed is None:
        raise ValueError(f"unexpected key '{key}' in '{field}'")
    return changed


def _with(mount: Mount, key: str, value: str) -> Mount | None:
    """None for a key that is none."""
    match key:
        case "type":
            return mount.replace(type=value.lower())
        case "source" | "src":
            relative = value in (".", "..") or value.startswith(("./", "../"))
            return mount.replace(source=os.path.abspath(value) if relative else value)
        case "target" | "dst" | "destination":
            return mount.replace(target=value)
        case "readonly" | "ro":
            return mount.replace(read_only=True) if _boolean(key, value) else mount
        case "consistency":
            return mount.replace(consistency=value.lower())
    if key.startswith("bind-"):
        bind = _with_bind(mount.bind_options or BindOptions(), key, value)
        return mount.replace(bind_options=bind) if bind else None
    if key.startswith("volume-"):
        volume = _with_volume(mount.volume_options or VolumeOptions(), key, value)
        return mount.replace(volume_options=volume) if volume else None
    if key == "image-subpath":
        return mount.replace(image_options=ImageOptions(subpath=value))
    tmpfs = _with_tmpfs(mount.tmpfs_options or TmpfsOptions(), key, value)
    return mount.replace(tmpfs_options=tmpfs) if tmpfs else None


def _with_bind(options: BindOptions, key: str, value: str) -> BindOptions | None:
    match key:
        case "bind-propagation":
            return options.replace(propagation=value.lower())
        case "bind-nonrecursive":
            return options.replace(non_recursive=_boolean(key, value))
        case "bind-create-src":
            return options.replace(create_mountpoint=_boolean(key, value))
        case "bind-recursive":
            return _with_recursion(options, value)
    return None


def _with_recursion(options: BindOptions, value: str) -> BindOptions:
    """How read-only reaches the mounts below a bind."""
    match value:
        case "disabled":
            return options.replace(non_recursive=True)
        case "writable":
            return options.replace(read_only_non_recursive=True)
        case "readonly":
            return options.replace(read_only_force_recursive=True)
        case "enabled":
            return options
    raise ValueError(
        f'invalid value for bind-recursive: {value} (must be "enabled", "disabled", "writable", or "readonly")'
    )


def _with_volume(options: VolumeOptions, key: str, value: str) -> VolumeOptions | None:
    name, _, rest = value.partition("=")
    driver = options.driver_config or Driver()
    match key:
        case "volume-subpath":
            return options.replace(subpath=value)
        case "volume-nocopy":
            return options.replace(no_copy=_boolean(key, value))
        case "volume-label":
            return options.replace(labels={**(options.labels or {}), name: rest})
        case "volume-driver":
            return options.replace(driver_config=driver.replace(name=value))
        case "volume-opt":
            return options.replace(driver_config=driver.replace(options={**(driver.options or {}), name: rest}))
    return None


def _with_tmpfs(options: TmpfsOptions, key: str, value: str) -> TmpfsOptions | None:
    try:
        if key == "tmpfs-mode":
            return options.replace(mode=int(value, 8))
        if key == "tmpfs-size":
            from corten.units.sizes import parse_bytes

            return options.replace(size_bytes=parse_bytes(value))
    except ValueError:
        raise ValueError(f"invalid value for {key}: {value}") from None
    return None


def _boolean(key: str, value: str) -> bool:
    try:
        return parse_bool(value)
    except ValueError:
        raise ValueError(f"invalid value for {key}: {value}") from None


def _check(mount: Mount) -> None:
    """What contradicts itself is a ValueError."""
    if not mount.target:
        raise ValueError("target is required")
    sections = {
        "bind": mount.bind_options,
        "volume": mount.volume_options,
        "image": mount.image_options,
        "tmpfs": mount.tmpfs_options,
    }
    for owner, options in sections.items():
        if options is not None and mount.type != owner:
            raise ValueError(f"cannot mix '{owner}-*' options with mount type '{mount.type}'")
    bind = mount.bind_options or BindOptions()
    if bind.read_only_non_recursive and not mount.read_only:
        raise ValueError("option 'bind-recursive=writable' requires 'readonly' to be specified in conjunction")
    if bind.read_only_force_recursive:
        if not mount.read_only:
            raise ValueError("option 'bind-recursive=readonly' requires 'readonly' to be specified in conjunction")
        if bind.propagation != "rprivate":
            raise ValueError(
                "option 'bind-recursive=readonly' requires 'bind-propagation=rprivate' to be specified in conjunction"
            )
