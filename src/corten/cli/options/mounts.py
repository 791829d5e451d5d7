"""-v, --tmpfs and --mount (API: HostConfig.Binds, .Tmpfs, .Mounts; Config.Volumes)."""

from __future__ import annotations

import os

from corten.cli.errors import CommandError
from corten.units.booleans import parse_bool

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    Json = dict[str, Any]

# --mount key -> (section of the mount, field in it, how the text becomes its value)
SECTIONS = {
    "bind-propagation": ("BindOptions", "Propagation", "lower"),
    "bind-nonrecursive": ("BindOptions", "NonRecursive", "bool"),
    "bind-create-src": ("BindOptions", "CreateMountpoint", "bool"),
    "volume-subpath": ("VolumeOptions", "Subpath", "text"),
    "volume-nocopy": ("VolumeOptions", "NoCopy", "bool"),
    "image-subpath": ("ImageOptions", "Subpath", "text"),
    "tmpfs-size": ("TmpfsOptions", "SizeBytes", "size"),
    "tmpfs-mode": ("TmpfsOptions", "Mode", "octal"),
}
LONE = ("readonly", "ro", "volume-nocopy", "bind-nonrecursive", "bind-create-src")
OWNER = {"BindOptions": "bind", "VolumeOptions": "volume", "ImageOptions": "image", "TmpfsOptions": "tmpfs"}


def volumes(specs: Iterable[str]) -> tuple[list[str], dict[str, Json]]:
    """(Binds, Volumes): a spec with a source is a bind, one without is an anonymous volume.

    Raises CommandError for a bad one.
    """
    binds, anonymous = [], {}
    for spec in specs:
        source = _source_of(spec)
        if not source:
            anonymous[spec] = dict[str, object]()
        elif source.startswith("."):
            binds.append(os.path.abspath(source) + spec[len(source) :])
        else:
            binds.append(spec)
    return binds, anonymous


def _source_of(spec: str) -> str:
    if not spec:
        raise CommandError("invalid empty volume spec", 125)
    parts = spec.split(":")
    if len(parts) == 1:
        return ""
    if not all(parts):
        raise CommandError(f"invalid spec: {spec}: empty section between colons", 125)
    if len(parts) > 3:
        raise CommandError(f"invalid spec: {spec}: too many colons", 125)
    return parts[0]


def tmpfs(specs: Iterable[str]) -> dict[str, str]:
    return {path: options for path, _, options in (spec.partition(":") for spec in specs)}


def csv_fields(text: str) -> list[str]:
    """One line of comma-separated values, quoted ones in double quotes (RFC 4180).

    Raises ValueError for an open quote.
    """
    fields, current, quoted, at = [], "", False, 0
    while at < len(text):
        char = text[at]
        if quoted and char == '"' and text[at + 1 : at + 2] == '"':
            current += '"'
            at += 1
        elif char == '"' and (quoted or not current):
            quoted = not quoted
        elif char == "," and not quoted:
            fields.append(current)
            current = ""
        else:
            current += char
        at += 1
    if quoted:
        raise ValueError(f'parse error on line 1, column {len(text) + 1}: extraneous or missing " in quoted-field')
    return [*fields, current]


def parse_mount(text: str) -> Json:
    """--mount's comma-separated keys to Docker's Mount. Raises ValueError for a bad key or value."""
    value = text.strip()
    if not value:
        raise ValueError("value is empty")
    mount: Json = {"Type": "volume"}
    for field in csv_fields(value):
        _take_field(mount, field)
    return _checked(mount)


def _take_field(mount: Json, field: str) -> None:
    name, equals, value = field.partition("=")
    key = name.strip().lower()
    if not key:
        raise ValueError(f"invalid field '{field}' must be a key=value pair")
    if not equals and key not in LONE:
        raise ValueError(f"invalid field '{field}' must be a key=value pair")
    _store(mount, key, value if equals else "true", field)


def _store(mount: Json, key: str, value: str, field: str) -> None:
    if key == "type":
        mount["Type"] = value.lower()
    elif key in ("source", "src"):
        relative = value in (".", "..") or value.startswith(("./", "../"))
        mount["Source"] = os.path.abspath(value) if relative else value
    elif key in ("target", "dst", "destination"):
        mount["Target"] = value
    elif key in ("readonly", "ro"):
        if _boolean(key, value):
            mount["ReadOnly"] = True
    elif key == "consistency":
        mount["Consistency"] = value.lower()
    elif key == "bind-recursive":
        _recursive(mount.setdefault("BindOptions", {}), value)
    elif key in ("volume-label", "volume-driver", "volume-opt"):
        _volume_driver(mount.setdefault("VolumeOptions", {}), key, value)
    elif key in SECTIONS:
        section, name, kind = SECTIONS[key]
        mount.setdefault(section, {})[name] = _converted(key, kind, value)
    else:
        raise ValueError(f"unexpected key '{key}' in '{field}'")


def _boolean(key: str, value: str) -> bool:
    try:
        return parse_bool(value)
    except ValueError:
        raise ValueError(f"invalid value for {key}: {value}") from None


def _converted(key: str, kind: str, value: str) -> Any:
    if kind == "bool":
        return _boolean(key, value)
    if kind == "lower":
        return value.lower()
    if kind == "text":
        return value
    try:
        if kind == "octal":
            return int(value, 8)
        from corten.units.sizes import parse_bytes

        return parse_bytes(value)
    except ValueError:
        raise ValueError(f"invalid value for {key}: {value}") from None


def _recursive(options: Json, value: str) -> None:
    """How read-only reaches the mounts below a bind."""
    if value == "disabled":
        options["NonRecursive"] = True
    elif value == "writable":
        options["ReadOnlyNonRecursive"] = True
    elif value == "readonly":
        options["ReadOnlyForceRecursive"] = True
    elif value != "enabled":
        raise ValueError(
            f'invalid value for bind-recursive: {value} (must be "enabled", "disabled", "writable", or "readonly")'
        )


def _volume_driver(options: Json, key: str, value: str) -> None:
    name, _, rest = value.partition("=")
    if key == "volume-label":
        options.setdefault("Labels", {})[name] = rest
    elif key == "volume-driver":
        options.setdefault("DriverConfig", {})["Name"] = value
    else:
        options.setdefault("DriverConfig", {}).setdefault("Options", {})[name] = rest


def _checked(mount: Json) -> Json:
    if not mount.get("Target"):
        raise ValueError("target is required")
    for section, owner in OWNER.items():
        if section in mount and mount["Type"] != owner:
            raise ValueError(f"cannot mix '{owner}-*' options with mount type '{mount['Type']}'")
    bind = mount.get("BindOptions", {})
    if bind.get("ReadOnlyNonRecursive") and not mount.get("ReadOnly"):
        raise ValueError("option 'bind-recursive=writable' requires 'readonly' to be specified in conjunction")
    if bind.get("ReadOnlyForceRecursive"):
        if not mount.get("ReadOnly"):
            raise ValueError("option 'bind-recursive=readonly' requires 'readonly' to be specified in conjunction")
        if bind.get("Propagation", "") != "rprivate":
            raise ValueError(
                "option 'bind-recursive=readonly' requires 'bind-propagation=rprivate' to be specified in conjunction"
            )
    return mount
